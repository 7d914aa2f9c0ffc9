//! The control socket.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use colocate::admin::control::{Control, ControlError, send};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::support::eventually;
use crate::support::scripted::Fault;

/// A bench whose tasks are run by others, and what stops that.
struct Served {
    bench: Bench,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Served {
    async fn new() -> Self {
        let limits = CacheLimits { finish_abandoned: FinishAbandoned::Never, ..CacheLimits::default() };
        let bench = Bench::with(limits, Duration::from_secs(20)).await;
        let control = Control::bind(bench.directory.path()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let tasks = bench.tasks().clone();
        let running = tokio::spawn(control.run(tasks, async move { drop(stopped.await) }));
        Self { bench, stop, running }
    }

    fn path(&self) -> &Path {
        self.bench.directory.path()
    }

    /// Everything there is to say over the socket, and then what comes back.
    async fn say(&self, text: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.path().join("control")).await.unwrap();
        stream.write_all(text).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn warm() -> Task {
    Task::Warm { references: vec!["acme/app:v1".to_owned()], platforms: vec!["linux/arm/v7".parse().unwrap()] }
}

#[tokio::test]
async fn tells_what_a_task_tells() {
    let served = Served::new().await;
    served.bench.put(&Bundle::image("one"), Some("v1"));
    for task in [warm(), Task::Stats, Task::List, Task::Unpin { references: vec!["acme/app:v1".to_owned()] }] {
        let (here, mut remote) = (served.bench.run(task.clone()).await, send(served.path(), &task).await.unwrap());
        let mut told = Vec::new();
        while let Some(event) = remote.next().await.unwrap() {
            told.push(event);
        }
        assert_eq!(told.last(), here.0.last());
        let results = |told: &[Event]| -> Vec<Event> {
            told.iter().filter(|event| !matches!(event, Event::Progress(_) | Event::Stats(_))).cloned().collect()
        };
        assert_eq!(results(&told), results(&here.0), "{task:?}");
    }
}

#[tokio::test]
async fn refuses_what_is_no_task() {
    let served = Served::new().await;
    for text in ["{}\n", "\n", "\"dance\"\n", "{\"warm\":{\"references\":[],\"platforms\":[],\"more\":1}}\n"] {
        let answer = served.say(text.as_bytes()).await;
        assert!(answer.contains("does not know this task") && answer.ends_with("\"problems\":1}\n"), "{answer}");
    }
    // Neither a task's worth of bytes without an end, nor half a line, is kept for long.
    let mut endless = UnixStream::connect(served.path().join("control")).await.unwrap();
    let _ = endless.write_all(&vec![b'x'; 2 << 20]).await;
    assert_eq!(endless.read(&mut [0]).await.unwrap_or(0), 0);
    let huge = Task::Unpin { references: vec!["x".repeat(2 << 20)] };
    assert!(matches!(send(served.path(), &huge).await, Err(ControlError::TaskTooLarge)));
    assert!(served.say(b"\"stats\"\n").await.contains("\"event\":\"stats\""));
}

#[tokio::test]
async fn hanging_up_stops_the_task() {
    let served = Served::new().await;
    let image = large_image(1, 1_000_000);
    served.bench.put(&image, Some("v1"));
    served.bench.upstream.on(&blob_path(&image.layer_digest())).get().fails(Fault::StallAt(500_000));
    let remote = send(served.path(), &warm()).await.unwrap();
    let arriving = || served.bench.cache().usage().arriving;
    let patience = Duration::from_secs(20);
    eventually("it arrives", patience, async || arriving() >= 500_000).await;
    assert!(served.bench.cache().is_pinned(&image.digest()));
    drop(remote);
    eventually("nobody waits for it any more", patience, async || arriving() == 0).await;
    assert!(!served.bench.cache().is_pinned(&image.digest()));
}

#[tokio::test]
async fn stopping_stops_tasks_and_takes_the_socket_away() {
    let served = Served::new().await;
    let image = large_image(1, 1_000_000);
    served.bench.put(&image, Some("v1"));
    served.bench.upstream.on(&blob_path(&image.layer_digest())).get().fails(Fault::StallAt(500_000));
    let mut remote = send(served.path(), &warm()).await.unwrap();
    let (arriving, patience) = (|| served.bench.cache().usage().arriving, Duration::from_secs(20));
    eventually("it arrives", patience, async || arriving() >= 500_000).await;
    served.stop.send(()).unwrap();
    served.running.await.unwrap();
    let stopped = loop {
        match remote.next().await {
            Ok(event) => assert!(matches!(event, Some(Event::Progress(_))), "{event:?}"),
            Err(err) => break err,
        }
    };
    assert!(matches!(stopped, ControlError::Stopped), "{stopped:?}");
    let directory = served.bench.directory.path();
    assert!(!directory.join("control").exists());
    assert!(matches!(send(directory, &warm()).await, Err(ControlError::NotServed(_))));
}

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_replaces_what_was_left() {
    let scratch = tempfile::tempdir().unwrap();
    let long = scratch.path().join("a".repeat(120)).join("b".repeat(120));
    for directory in [scratch.path().join("short"), long] {
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        let socket = directory.join("control");
        fs::write(&socket, "not a socket").unwrap();
        for _ in 0..2 {
            // Not taken away when dropped: as after a crash.
            drop(Control::bind(&directory).unwrap());
            let found = fs::symlink_metadata(&socket).unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.permissions().mode() & 0o777, 0o600);
            assert!(matches!(send(&directory, &warm()).await, Err(ControlError::NotServed(_))));
        }
        // What is left of it makes no foreign directory of an empty one.
        let store = LocalStore::open(&directory).unwrap();
        let cache = Cache::new(Arc::new(store), Arc::new(SystemClock), CacheLimits::default(), Metrics::new());
        let control = Control::bind(&directory).unwrap();
        let running = tokio::spawn(control.run(Tasks::new(cache, None, Arc::new(read)), std::future::pending()));
        let mut remote = send(&directory, &Task::Stats).await.unwrap();
        assert!(matches!(remote.next().await.unwrap(), Some(Event::Stats(_))));
        running.abort();
    }
}
