//! A source that breaks off, refuses and lies as it is told, and notes where it was asked to begin.

use std::collections::VecDeque;

use super::*;

pub(super) struct Flaky {
    bytes: Bytes,
    acts: Mutex<VecDeque<Act>>,
    asked: Mutex<Vec<u64>>,
    sent: AtomicUsize,
}

/// What becomes of one request; without any, the rest is sent.
#[derive(Clone)]
pub(super) enum Act {
    /// So many bytes, and then the connection breaks.
    Cut(usize),
    /// From the start, whatever was asked for; then so many bytes and a break.
    NoRange(usize),
    /// From the start, and other bytes.
    Other,
    /// No answer for now.
    Refuse,
    /// No answer for good.
    Gone,
}

impl Flaky {
    pub(super) fn new(bytes: &Bytes, acts: impl IntoIterator<Item = Act>) -> Arc<Self> {
        let acts = Mutex::new(acts.into_iter().collect());
        Arc::new(Self { bytes: bytes.clone(), acts, asked: Mutex::default(), sent: AtomicUsize::new(0) })
    }

    /// Where it was asked to begin, each time.
    pub(super) fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }

    /// How many bytes it gave.
    pub(super) fn sent(self: &Arc<Self>) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Source for Flaky {
    fn open(&self, offset: u64) -> BoxFuture<'_, Result<SourceBody, SourceError>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(offset);
            let start = offset as usize;
            let act = self.acts.lock().unwrap().pop_front();
            let (from, to, bytes) = match act {
                None => (start, self.bytes.len(), self.bytes.clone()),
                Some(Act::Cut(count)) => (start, start + count, self.bytes.clone()),
                Some(Act::NoRange(count)) => (0, count, self.bytes.clone()),
                Some(Act::Other) => (0, self.bytes.len(), self.bytes.iter().map(|byte| !byte).collect()),
                Some(Act::Refuse) => {
                    let retry_after = Some(Duration::from_secs(1));
                    return Err(SourceError::Transient { cause: "503".into(), retry_after });
                }
                Some(Act::Gone) => return Err(SourceError::Final("404".into())),
            };
            let to = to.min(bytes.len());
            self.sent.fetch_add(to - from, Ordering::SeqCst);
            let (sender, pieces) = mpsc::unbounded_channel();
            for piece in bytes[from..to].chunks(10_007) {
                sender.send(Ok(Bytes::copy_from_slice(piece))).unwrap();
            }
            if to < bytes.len() {
                sender.send(Err(io::Error::from(io::ErrorKind::ConnectionReset).into())).unwrap();
            }
            Ok(SourceBody { offset: from as u64, size: Some(bytes.len() as u64), body: Piped(pieces).boxed() })
        })
    }
}
