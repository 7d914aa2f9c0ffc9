//! Clients that pull all the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;

use crate::support::access::Access;
use crate::support::eventually;
use crate::support::http::{ACCEPT, send_by};

/// How many at one time.
const CLIENTS: usize = 4;

/// Pulls of some URLs by several clients, each over connections that it keeps.
pub(super) struct Load {
    going: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    clients: JoinSet<()>,
}

impl Load {
    /// Begins. Each of `urls` is to be answered with 200 and a whole body, whenever it is asked for.
    pub(super) fn start(access: &Access, urls: &[String]) -> Self {
        let (going, answered) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
        let failed = Arc::<Mutex<Vec<String>>>::default();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (going, answered, failed) = (Arc::clone(&going), Arc::clone(&answered), Arc::clone(&failed));
            let (access, mut urls) = (access.clone(), urls.to_vec());
            let turn = number % urls.len();
            urls.rotate_left(turn);
            clients.spawn(async move {
                // Some keep their connections, others make one for each request.
                let client = access.connecting(number % 2);
                let authorization = access.authorization();
                let own = authorization.iter().map(|value| ("authorization", value.as_str()));
                let headers: Vec<_> = own.chain([("accept", ACCEPT)]).collect();
                while going.load(Ordering::Relaxed) {
                    for url in &urls {
                        match send_by(&client, Method::GET, url, &headers, "").await {
                            Ok(answer) if answer.status == 200 && answer.broken.is_none() => {}
                            other => failed.lock().expect("no panic").push(format!("{url}: {other:?}")),
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        Self { going, answered, failed, clients }
    }

    /// Waits until so many more requests were answered.
    pub(super) async fn goes_on(&self, requests: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        let goes_on = async || self.answered.load(Ordering::Relaxed) >= before + requests;
        eventually("clients go on", Duration::from_secs(60), goes_on).await;
    }

    /// Ends it: no request has failed.
    pub(super) async fn stop(mut self) {
        self.going.store(false, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        let failed = self.failed.lock().expect("no panic");
        assert!(failed.is_empty(), "{} requests failed, the first: {}", failed.len(), failed[0]);
    }
}
