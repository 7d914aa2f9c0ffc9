//! The cache against scripted sources, over both stores.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod check;
mod durable;
mod faults;
mod fills;
mod flaky;
mod resume;
mod room;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use colocate::body::{self, Body, BoxError, BoxFuture, SystemClock, find_source};
use colocate::cache::{
    Cache, CacheLimits, Content, FillError, LocalStore, Lookup, Member, MemoryStore, OpenError, Operation, ReadError,
    Reader, RecordKey, Source, SourceBody, SourceError, Store, TAIL_BYTES,
};
use colocate::oci::{Algorithm, Digest, Hasher, Repository};
use colocate::telemetry::Metrics;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Larger than tail, batch and chunk, and a multiple of none.
const LARGE: usize = 1_000_003;

fn sample(len: usize) -> Bytes {
    // Not periodic in any buffer's size, so that a piece at the wrong place shows.
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A source that gives what the test sends it, when the test sends it.
struct Scripted {
    opened: AtomicUsize,
    size: Option<u64>,
    origin: &'static str,
    /// How further bodies end, which have no bytes: in an error, or as if they were whole.
    end: Option<io::ErrorKind>,
    bodies: Mutex<Vec<mpsc::UnboundedReceiver<Result<Bytes, BoxError>>>>,
}

type Script = mpsc::UnboundedSender<Result<Bytes, BoxError>>;

impl Scripted {
    fn new(size: Option<u64>) -> (Arc<Self>, Script) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let bodies = Mutex::new(vec![receiver]);
        (Arc::new(Self { opened: AtomicUsize::new(0), size, origin: "", end: None, bodies }), sender)
    }

    /// Gives `bytes` in pieces of `piece` bytes, and ends.
    fn whole(bytes: &Bytes, piece: usize) -> Arc<Self> {
        let (source, script) = Self::new(Some(bytes.len() as u64));
        for chunk in bytes.chunks(piece) {
            script.send(Ok(Bytes::copy_from_slice(chunk))).unwrap();
        }
        source
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl Source for Scripted {
    fn open(&self, offset: u64) -> BoxFuture<'_, Result<SourceBody, SourceError>> {
        Box::pin(async move {
            self.opened.fetch_add(1, Ordering::SeqCst);
            let body = match self.bodies.lock().unwrap().pop() {
                Some(pieces) => Piped(pieces).boxed(),
                None if offset == 0 => return Err(SourceError::Final("the script has no further body".into())),
                // As it ended before, for good.
                None => match self.end {
                    None => body::empty(),
                    Some(kind) => body::sized(1, (), move |()| async move { Err(io::Error::from(kind).into()) }),
                },
            };
            Ok(SourceBody { offset, size: self.size, body })
        })
    }

    fn origin(&self) -> &str {
        self.origin
    }
}

struct Piped(mpsc::UnboundedReceiver<Result<Bytes, BoxError>>);

impl http_body::Body for Piped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|next| next.map(|piece| piece.map(http_body::Frame::data)))
    }
}

/// A store and what is needed to look behind it.
struct Bench {
    cache: Cache,
    store: Arc<dyn Store>,
    memory: Option<MemoryStore>,
    directory: Option<tempfile::TempDir>,
}

impl Bench {
    fn both() -> [Self; 2] {
        let directory = tempfile::tempdir().unwrap();
        let local = Arc::new(LocalStore::open(directory.path()).unwrap());
        let memory = MemoryStore::default();
        [
            Self { cache: over(Arc::clone(&local) as _), store: local, memory: None, directory: Some(directory) },
            Self {
                cache: over(Arc::new(memory.clone())),
                store: Arc::new(memory.clone()),
                memory: Some(memory),
                directory: None,
            },
        ]
    }

    fn local() -> Self {
        let [local, _] = Self::both();
        local
    }

    fn path(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    /// A new process on what the old one left.
    async fn restart(self) -> Self {
        let Self { cache, store, memory, directory } = self;
        drop((cache, store));
        let Some(directory) = directory else {
            let store: Arc<dyn Store> = Arc::new(memory.clone().unwrap());
            return Self { cache: over(Arc::clone(&store)), store, memory, directory };
        };
        // The directory stays locked until removals under way on the blocking pool are done.
        let local = eventually(|| match LocalStore::open(directory.path()) {
            Err(OpenError::InUse { .. }) => None,
            other => Some(other.unwrap()),
        })
        .await;
        let store: Arc<dyn Store> = Arc::new(local);
        Self { cache: over(Arc::clone(&store)), store, memory, directory: Some(directory) }
    }

    /// Nothing is left of content that was being written.
    async fn assert_no_partials(&self) {
        match (&self.memory, &self.directory) {
            (Some(memory), _) => eventually(|| (memory.partials() == 0).then_some(())).await,
            (_, Some(directory)) => {
                eventually(|| files(&directory.path().join("partial")).is_empty().then_some(())).await
            }
            _ => unreachable!(),
        }
    }
}

fn over(store: Arc<dyn Store>) -> Cache {
    Cache::new(store, Arc::new(SystemClock), CacheLimits::default(), Metrics::new())
}

async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..5_000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await.unwrap();
    }
    panic!("it never came to be");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
}

async fn read_all(reader: &Reader) -> Result<Bytes, BoxError> {
    collect(reader.body(0..reader.size())).await
}

async fn collect(body: Body) -> Result<Bytes, BoxError> {
    match body::collect(body, 1 << 30).await {
        Ok(bytes) => Ok(bytes),
        Err(body::CollectError::Body(err)) => Err(err),
        Err(err) => Err(err.into()),
    }
}

/// What a body gives before it has to wait; on a paused clock a wait is over as soon as nothing can move.
async fn until_it_stalls(body: &mut Body) -> Vec<u8> {
    let mut got = Vec::new();
    while let Ok(frame) = timeout(Duration::from_secs(60), body.frame()).await {
        let Some(frame) = frame else { panic!("the body ended") };
        got.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    got
}

fn truncate(path: &Path, to: impl Fn(u64) -> u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(to(file.metadata().unwrap().len())).unwrap();
}
