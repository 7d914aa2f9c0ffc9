//! What can be wrong with a password file.

use std::path::PathBuf;

use super::password_lines::LineProblem;
use crate::config::FileError;

/// How many unusable lines an error names.
const MAX_NAMED: usize = 20;

/// Why there are no users to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    /// It cannot be read, or is no such file.
    #[error("the password file cannot be used")]
    File(#[from] FileError),
    /// A file without a user shuts everyone out, which is nothing anyone asks for in this way.
    #[error("the password file {} has no users; add one with `htpasswd -B`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Lines that cannot be used: all of the file is refused, so that nobody is left out without a word.
    #[error("the password file {} cannot be used: {}", path.display(), named(problems))]
    Lines {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Vec<LineProblem>,
    },
}

fn named(problems: &[LineProblem]) -> String {
    let mut named: Vec<String> = problems.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = problems.len().checked_sub(MAX_NAMED) {
        named.push(format!("and {more} more lines"));
    }
    named.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::password_lines::LineFault;
    use super::*;

    #[test]
    fn an_error_names_so_many_lines() {
        let problem = |line| LineProblem { line, fault: LineFault::NoColon };
        assert!(!named(&(1..=20).map(problem).collect::<Vec<_>>()).contains("more lines"));
        let many = named(&(1..=22).map(problem).collect::<Vec<_>>());
        assert!(
            many.contains("line 20: ") && !many.contains("line 21") && many.ends_with("and 2 more lines"),
            "{many}"
        );
    }
}
