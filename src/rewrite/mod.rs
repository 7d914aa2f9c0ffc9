//! A bundle relocated: another lock in its layer, and what hashes over it.
//!
//! The layer is never unpacked and never compressed again. [`LayerRewriter`] takes the original's bytes as they
//! arrive; inside, a member reader inflates them, a lock editor scans the tar, changes the lock and hashes the
//! new tar, and a splice finds the two places in the compressed stream between which new bits have to stand.
//! What comes out is a [`Recipe`]: ranges of the original and a few bytes between them. [`relocate_config`] and
//! [`relocate_manifest`] then put the new digests where the old ones were.
//!
//! The result depends on the original bytes and on the new lock alone: not on how the input was split, nor on
//! any library's choices, since digests are made of it. Everything that cannot be rewritten has a typed reason,
//! [`Unchanged`], and is served as it stands.
//!
//! [`compare`] goes the other way: it tells whether a bundle that someone serves is an original relocated, and where
//! it is not.
//!
//! Pure and sans-IO, but for [`compare`], which reads from whatever it is given. What the new lock says, and whether it may be served, is decided above.

mod back;
mod bundle;
pub mod compare;
mod document;
mod json;
mod kept;
mod layer;
mod lock_editor;
mod member;
mod recipe;
mod splice;
mod stretch;
mod unchanged;

pub use bundle::{Candidate, candidate};
pub use document::{MAX_CONFIG_BYTES, Replacement, diff_id, relocate_config, relocate_manifest};
pub use layer::{LayerRewriter, RelocatedLayer};
pub use lock_editor::{FoundLock, LockChange};
pub use recipe::{Recipe, RecipeError, Segment};
pub use unchanged::Unchanged;
