//! Archives as they are: served from where they lie, by their offsets, whatever is in them and whatever becomes of them.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod bad;
mod called;
mod changes;
mod directories;
mod golden;
mod kept;
mod layouts;
mod lies;
mod parts;
mod relocation;
mod rights;
mod serving;
