//! The `colocate` binary: see [`colocate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    colocate::cli::run()
}
