//! Uploads: their bytes stream through, and where they go on is the upstream's secret.

use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use super::PushError;
use super::session::{Session, Sessions};
use crate::body::{Body, BoxError};
use crate::oci::{Digest, RepositoryName};
use crate::proxy::error::ProxyError;
use crate::proxy::sources::Sources;
use crate::proxy::{Proxy, View};
use crate::telemetry::carry;
use crate::upstream::{Change, Changed, Sent, Upload, UpstreamError};

/// An upload that goes on.
#[derive(Clone, Debug)]
pub struct Uploading {
    /// Its name, to be said with the next request for it.
    pub session: String,
    /// How many of its bytes the upstream has, if it said so.
    pub held: Option<u64>,
    /// How long each part but the last has to be, in the upstream's words (`OCI-Chunk-Min-Length`).
    pub min_chunk: Option<HeaderValue>,
    /// What the upstream calls it (`Docker-Upload-UUID`), which says nothing of where it is.
    pub id: Option<HeaderValue>,
}

/// What came of the wish to upload.
#[derive(Clone, Debug)]
pub enum Begun {
    /// The upload can go on.
    Uploading(Uploading),
    /// The blob is there.
    Done(Digest),
}

/// A blob that another repository may have.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Which.
    pub digest: Digest,
    /// The repository, as the same registry names it; without, the registry may know one.
    pub from: Option<RepositoryName>,
}

/// A part of a blob on its way.
pub struct Piece {
    /// Its first and last byte in the blob, if the client says so.
    pub range: Option<(u64, u64)>,
    /// The bytes.
    pub body: Body,
}

impl Piece {
    fn check(&self) -> Result<(), PushError> {
        let said = self.range.map(|(first, last)| last.saturating_sub(first).saturating_add(1));
        match (said, self.body.size_hint().exact()) {
            (Some(said), Some(actual)) if said != actual => Err(PushError::Length { said, actual }),
            _ => Ok(()),
        }
    }

    fn sent(self) -> Sent {
        if self.body.is_end_stream() { Sent::Nothing } else { Sent::Stream(self.body) }
    }
}

impl Proxy {
    /// Begins an upload.
    ///
    /// # Errors
    /// What the upstream says, or why it cannot be asked.
    pub async fn begin_upload(
        &self,
        view: &View,
        owner: Option<&str>,
        mount: Option<&Mount>,
    ) -> Result<Begun, ProxyError> {
        let contents = self.contents(view).await?;
        let mounted = mount.map(|mount| (&mount.digest, mount.from.as_ref()));
        let changed = self.change(&contents, Change::Begin { mount: mounted }).await?;
        match (&changed.upload, mount) {
            (Some(upload), _) => {
                let (repository, owner) = (view.repository.clone(), owner.map(str::to_owned));
                let upload = upload.clone();
                let session = Session { id: Sessions::id()?, repository, owner, upload, held: None, is_newest: true };
                self.goes_on(&session, changed, Some(0)).await.map(Begun::Uploading)
            }
            (None, Some(mount)) if changed.status == StatusCode::CREATED => Ok(Begun::Done(mount.digest)),
            (None, _) => Err(no_place()),
        }
    }

    /// Uploads a whole blob. Not all upstreams take one with the request that begins an upload, and what is then lost comes
    /// only once: so it goes with a second.
    ///
    /// # Errors
    /// As [`finish_upload`](Self::finish_upload).
    pub async fn upload(&self, view: &View, digest: &Digest, body: Body) -> Result<(), ProxyError> {
        let contents = self.contents(view).await?;
        let begun = self.change(&contents, Change::Begin { mount: None }).await?;
        let upload = begun.upload.ok_or_else(no_place)?;
        self.finish(&contents, &upload, digest, Piece { range: None, body }).await
    }

    /// Sends a part of an upload.
    ///
    /// # Errors
    /// When there is no such upload, the part is not the next one, or the upstream does not take it.
    pub async fn upload_part(
        &self,
        view: &View,
        owner: Option<&str>,
        session: &str,
        part: Piece,
    ) -> Result<Uploading, ProxyError> {
        let contents = self.contents(view).await?;
        let session = self.session(view, owner, session).await?;
        part.check()?;
        self.in_order(&contents, &session, part.range).await?;
        // Goes on when the client is gone: then what has come of the part ends it, and the upload can go on from there.
        let this = self.clone();
        let taken = tokio::spawn(carry(async move { this.take_part(&contents, &session, part).await }));
        taken.await.map_err(io::Error::other)?
    }

    async fn take_part(&self, contents: &Sources, session: &Session, part: Piece) -> Result<Uploading, ProxyError> {
        let (progress, range) = (Arc::new(Progress::default()), part.range);
        let body = Sent::Stream(Tolerant { inner: part.body, progress: Arc::clone(&progress) }.boxed());
        let mut changed = self.change(contents, Change::Chunk { upload: &session.upload, range, body }).await?;
        // One that says no other place goes on where it was.
        changed.upload.get_or_insert_with(|| session.upload.clone());
        let before = range.map(|(first, _)| first).or(session.held);
        let came = progress.bytes.load(Ordering::Relaxed);
        let uploading = self.goes_on(session, changed, before.map(|before| before.saturating_add(came))).await?;
        if progress.broken.load(Ordering::Relaxed) { Err(UpstreamError::Aborted.into()) } else { Ok(uploading) }
    }

    /// Ends an upload, perhaps with a last part.
    ///
    /// # Errors
    /// As [`upload_part`](Self::upload_part), and when the blob is not what it is said to be.
    pub async fn finish_upload(
        &self,
        view: &View,
        owner: Option<&str>,
        session: &str,
        digest: Option<&Digest>,
        part: Piece,
    ) -> Result<Digest, ProxyError> {
        let contents = self.contents(view).await?;
        let session = self.session(view, owner, session).await?;
        let digest = digest.ok_or(PushError::NoDigest)?;
        part.check()?;
        // Nothing more is in order by any name.
        if !part.body.is_end_stream() {
            self.in_order(&contents, &session, part.range).await?;
        }
        self.finish(&contents, &session.upload, digest, part).await?;
        self.0.shared.sessions.forget(&session).await;
        Ok(*digest)
    }

    pub(super) async fn finish(
        &self,
        contents: &Sources,
        upload: &Upload,
        digest: &Digest,
        part: Piece,
    ) -> Result<(), ProxyError> {
        let range = part.range;
        let changed = self.change(contents, Change::Finish { upload, digest, range, body: part.sent() }).await?;
        match changed.digest {
            Some(actual) if actual.algorithm() == digest.algorithm() && actual != *digest => {
                Err(UpstreamError::DigestMismatch { expected: Box::new(*digest), actual: Box::new(actual) }.into())
            }
            _ => Ok(()),
        }
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// When there is no such upload, or the upstream does not say.
    pub async fn upload_status(
        &self,
        view: &View,
        owner: Option<&str>,
        session: &str,
    ) -> Result<Uploading, ProxyError> {
        let contents = self.contents(view).await?;
        let session = self.session(view, owner, session).await?;
        self.status(&contents, &session).await.map(|(uploading, _)| uploading)
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// When there is no such upload, or the upstream does not let it go.
    pub async fn cancel_upload(&self, view: &View, owner: Option<&str>, session: &str) -> Result<(), ProxyError> {
        let contents = self.contents(view).await?;
        let session = self.session(view, owner, session).await?;
        self.change(&contents, Change::Cancel { upload: &session.upload }).await?;
        self.0.shared.sessions.forget(&session).await;
        Ok(())
    }

    async fn session(&self, view: &View, owner: Option<&str>, name: &str) -> Result<Session, ProxyError> {
        let session = self.0.shared.sessions.open(name, &view.repository, owner).await;
        session.ok_or_else(|| PushError::UnknownUpload.into())
    }

    /// Whether a part begins where the upstream is. Not all upstreams look, and what is sent twice is wrong for good.
    async fn in_order(
        &self,
        contents: &Sources,
        session: &Session,
        range: Option<(u64, u64)>,
    ) -> Result<(), ProxyError> {
        // A client that lost the last answer has an older name. What it sends without saying what may have come already.
        let first = match range {
            Some((first, _)) if session.held == Some(first) => return Ok(()),
            Some((first, _)) => Some(first),
            None if session.is_newest => return Ok(()),
            None => None,
        };
        let (uploading, held) = self.status(contents, session).await?;
        let in_order = first.is_some_and(|first| held.is_none_or(|held| held.contains(&first)));
        if in_order { Ok(()) } else { Err(PushError::OutOfOrder(Box::new(uploading)).into()) }
    }

    /// How far an upload is, and how many bytes of it the upstream may have.
    async fn status(
        &self,
        contents: &Sources,
        session: &Session,
    ) -> Result<(Uploading, Option<RangeInclusive<u64>>), ProxyError> {
        let mut changed = self.change(contents, Change::Status { upload: &session.upload }).await?;
        changed.upload.get_or_insert_with(|| session.upload.clone());
        let held = changed.last_byte.map(|last| match last {
            // What registries say that have nothing, as well as those that have one byte.
            0 => 0..=1,
            last => last.saturating_add(1)..=last.saturating_add(1),
        });
        let uploading = self.goes_on(session, changed, session.held).await?;
        Ok((uploading, held))
    }

    /// What the client is told of an upload that goes on. `held` is how much of it is there where the upstream does not say.
    async fn goes_on(&self, session: &Session, changed: Changed, held: Option<u64>) -> Result<Uploading, ProxyError> {
        let held = match changed.last_byte {
            Some(last @ 1..) => Some(last.saturating_add(1)),
            Some(0) => held.filter(|held| *held < 2),
            None => held,
        };
        let Changed { upload, min_chunk, id, .. } = changed;
        let session = Session { upload: upload.ok_or_else(no_place)?, held, ..session.clone() };
        Ok(Uploading { session: self.0.shared.sessions.name(&session).await?, held, min_chunk, id })
    }

    /// Has the upstream change the repository.
    pub(super) async fn change(&self, contents: &Sources, change: Change<'_>) -> Result<Changed, ProxyError> {
        Ok(contents.upstream.change(&contents.repository.name, change).await?)
    }
}

fn no_place() -> ProxyError {
    UpstreamError::Malformed { what: "took an upload and says nothing of where it goes on".to_owned() }.into()
}

/// How a part is getting on.
#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    broken: AtomicBool,
}

/// A part of an upload that ends where the client leaves. It does not say how long it is, so that the upstream takes what came:
/// most forget an upload with a part that breaks off.
struct Tolerant {
    inner: Body,
    progress: Arc<Progress>,
}

impl http_body::Body for Tolerant {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match polled {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.progress.bytes.fetch_add(length, Ordering::Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                self.progress.broken.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
            None => Poll::Ready(None),
        }
    }
}
