//! What the tests have in common: a proxy in this process, the ways in which it tells its clients apart, and upstreams
//! that want to be shown something.

mod mode;
mod servers;
mod world;

pub(crate) use mode::{Mode, Setup, basic};
pub(crate) use servers::{TOKEN, acceptor, challenge, guard, image, own_realm};
pub(crate) use world::{Answer, ENDPOINT, World};
