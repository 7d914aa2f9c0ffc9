//! Schedules of faults: a proxy over an upstream, a disk and a clock that all belong to the test.
//!
//! A seed decides everything: what clients ask for, when they leave, what the upstream answers and when, what the disk
//! refuses, what is evicted, when the process is killed and what the kill does to unfinished files. Each schedule is a
//! few lives of a process on one store, with a kill between them, and a last one in which nothing goes wrong. What
//! must hold throughout, whatever happened:
//!
//! - a body that ends cleanly has the bytes of its digest, and so has everything in the store;
//! - nobody waits for ever, and nothing is "not there" that is;
//! - what was stored stays, unless it was evicted or damaged, and a bound is kept;
//! - nothing is shown in a repository that does not have it;
//! - a bundle is relocated to the same bytes in every life;
//! - in the end everything can be pulled, and nothing is left over: no download, no reader, no unfinished file.
//!
//! `COLOCATE_SIMULATIONS` sets how many schedules are run, `COLOCATE_SEED` where they begin. A schedule that fails
//! prints what repeats it.
//!
//! Bugs planted by hand, to see that these tests see them: handing out the tail before the digest was verified (a clean
//! end of wrong bytes), believing what was on the disk before this process (the same), and asking no repository whether it
//! has what is cached (something private is shown). Each was caught within the first dozen schedules. Writing these tests
//! also found bugs that nobody had planted, such as a verdict on one file that was believed of another of its digest.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod client;
mod content;
mod disk;
mod life;
mod upstream;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many schedules `cargo test` runs.
const SCHEDULES: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

#[test]
#[expect(clippy::print_stderr, reason = "the harness shows it with the failing test")]
fn every_schedule_ends_well() {
    let first = number("COLOCATE_SEED").unwrap_or_default();
    let end = first + number("COLOCATE_SIMULATIONS").unwrap_or(SCHEDULES);
    content::prepare();
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::SeqCst);
                        if seed >= end {
                            return;
                        }
                        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| life::run(seed))) {
                            eprintln!("COLOCATE_SEED={seed} COLOCATE_SIMULATIONS=1 repeats this schedule");
                            resume_unwind(panic);
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}
