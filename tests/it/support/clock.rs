//! A clock whose hands a test can move.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use colocate::body::{BoxFuture, Clock, SystemClock};

/// The real clock, and what a test has added to it.
#[derive(Default)]
pub(crate) struct TestClock(Mutex<Duration>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().expect("no panic holds it") += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemClock.now() + *self.0.lock().expect("no panic holds it")
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
