//! Pushes and deletes, as far as they are forwarded.
//!
//! What a client sends streams through, to the upstream that its repository is in and nowhere else; nothing of it is kept here
//! but small manifests, once the upstream took them. An `upload` goes on under a name of this proxy's (`session`). A `manifest`
//! goes to the upstream whole: what this proxy answers for without the upstream having it goes before it (`supply`), or in
//! its place; and where the upstream lists no referrers, the list is kept there for it (`subjects`). What was said before of a repository is then forgotten as far as it may have changed (`changed`).

mod changed;
mod error;
mod manifest;
mod session;
mod subjects;
mod supply;
mod upload;

pub use error::PushError;
pub use manifest::Put;
pub(super) use session::Sessions;
pub(super) use subjects::SubjectTurns;
pub use upload::{Begun, Mount, Piece, Uploading};
