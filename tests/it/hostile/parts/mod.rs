//! What the tests have in common: a proxy in this process, the ways in which it tells its clients apart, and upstreams
//! that want to be shown something.

mod mode;
mod servers;
mod world;

pub(super) use mode::{Mode, Setup, basic};
pub(super) use servers::{TOKEN, acceptor, challenge, guard, image, own_realm};
pub(super) use world::{Answer, ENDPOINT, World};
