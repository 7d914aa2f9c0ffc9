//! What a pull survives: a crowd, connections that break, registries that lie, SIGKILL, damaged files, full disks.
//!
//! Everything here is seen from outside: the program as it is started, an upstream that follows a script and counts
//! what it sends, clients that compare every byte, and the cache directory, read by other code than wrote it.

mod crash;
mod crowd;
mod cuts;
mod damage;
mod disks;
mod oversized;
