//! Why the proxy does not know who it is to an upstream.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why credentials could not be obtained: always something on this machine. Nothing that a file or program said is
/// repeated here, as it may hold a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file that cannot be used.
    #[error("{} {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, to be read after its name.
        what: String,
    },
    /// A credential helper that gave nothing.
    #[error("the credential helper docker-credential-{name} {problem}")]
    Helper {
        /// Its name, as `config.json` has it.
        name: String,
        /// What it did.
        problem: HelperProblem,
    },
}

/// What is wrong with a credential helper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperProblem {
    /// A name with other characters than `A-Za-z0-9_.-`.
    #[error("is not run: its name may only have letters, digits, `_`, `.` and `-`")]
    Name,
    /// It is not there, or must not be run.
    #[error("cannot be run ({0}); it must be an executable file on this program's PATH")]
    Start(std::io::ErrorKind),
    /// It did not finish.
    #[error("did not finish within {0:?} and was stopped")]
    TooSlow(Duration),
    /// It printed more than anyone's credentials have.
    #[error("printed more than {0} bytes")]
    TooLong(usize),
    /// It failed, and not because it has nothing for this registry.
    #[error("failed ({0}); run it by hand to see why")]
    Failed(ExitStatus),
    /// What it printed are no credentials.
    #[error("printed something else than a JSON object with Username and Secret")]
    Garbage,
    /// Talking to it failed.
    #[error("could not be talked to ({0})")]
    Io(std::io::ErrorKind),
}
