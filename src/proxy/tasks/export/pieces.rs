//! The bytes of an archive, as they are told.

use std::mem;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::plan::{Content, Entry};
use crate::proxy::contents::body_cause;
use crate::proxy::error::ProxyError;
use crate::proxy::tasks::event::Event;
use crate::proxy::tasks::pull::Puller;
use crate::proxy::tasks::teller::Teller;
use crate::tar::{END_BYTES, padded};

/// The most bytes in one event. Over the control socket each is a line of JSON.
const MAX_PIECE_BYTES: usize = 128 << 10;

/// Tells an archive, in pieces that are neither too large nor too many.
pub(super) struct Pieces<'a> {
    teller: &'a Teller,
    waiting: BytesMut,
}

/// Why a file was not told to its end.
pub(super) enum Broken {
    /// It is not as long as it has to be.
    Length { actual: u64 },
    /// It cannot be had.
    Blob(ProxyError),
}

impl<'a> Pieces<'a> {
    pub(super) fn new(teller: &'a Teller) -> Self {
        Self { teller, waiting: BytesMut::new() }
    }

    /// Tells a file with its header.
    pub(super) async fn entry(&mut self, entry: &Entry) -> Result<(), Broken> {
        match &entry.content {
            Content::Bytes(bytes) => {
                self.put(entry.header().into()).await;
                self.put(bytes.clone()).await;
            }
            Content::Blob(puller) => self.blob(puller, entry).await?,
        }
        self.zeros(padded(entry.size) - entry.size).await;
        self.teller.tally().done.count += 1;
        Ok(())
    }

    /// Tells the end.
    pub(super) async fn finish(mut self) {
        self.zeros(END_BYTES as u64).await;
        self.flush().await;
    }

    /// Tells a blob while it arrives. It never comes to its end before it was found right.
    async fn blob(&mut self, puller: &Puller, entry: &Entry) -> Result<(), Broken> {
        let (reader, _, _) = puller.contents.held_blob(&entry.digest).await.map_err(Broken::Blob)?;
        if reader.size() != entry.size {
            return Err(Broken::Length { actual: reader.size() });
        }
        self.put(entry.header().into()).await;
        let mut body = reader.body(0..entry.size);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|cause| Broken::Blob(body_cause(&*cause)))?;
            if let Ok(data) = frame.into_data() {
                self.put(data).await;
            }
        }
        Ok(())
    }

    async fn zeros(&mut self, count: u64) {
        // The cast holds: they fill a block, or two.
        self.put(Bytes::from_static(&[0; END_BYTES]).slice(..count as usize)).await;
    }

    async fn put(&mut self, mut bytes: Bytes) {
        if self.waiting.len() + bytes.len() > MAX_PIECE_BYTES {
            self.flush().await;
        }
        while bytes.len() >= MAX_PIECE_BYTES / 2 {
            let piece = bytes.split_to(bytes.len().min(MAX_PIECE_BYTES));
            self.flush().await;
            self.tell(piece).await;
        }
        self.waiting.extend_from_slice(&bytes);
    }

    /// Tells what waits for more.
    pub(super) async fn flush(&mut self) {
        if !self.waiting.is_empty() {
            let waiting = mem::take(&mut self.waiting).freeze();
            self.tell(waiting).await;
        }
    }

    async fn tell(&self, bytes: Bytes) {
        self.teller.tally().done.add_bytes(bytes.len() as u64);
        self.teller.tell(Event::Piece { bytes }).await;
    }
}
