//! The lines of a password file: `user:hash`, as Apache's `htpasswd` writes them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use super::password_hash::{HashFault, MAX_COST, PasswordHash};

/// What `htpasswd` takes for a name, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// A line that cannot be used. Never shows the line, which may hold a password in plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

/// Why a line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Bytes that are no text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// No `user:hash`.
    #[error("it has no colon between user and hash; `htpasswd -B` writes such lines")]
    NoColon,
    /// An empty name, one that no client can send, or one that fills the log.
    #[error("the user's name is empty, longer than {MAX_NAME_BYTES} bytes, or holds a control character")]
    Name,
    /// Another kind of hash.
    #[error("its hash is not of bcrypt, the only kind taken; `htpasswd -B` makes that kind")]
    NotBcrypt,
    /// A hash that was cut or edited.
    #[error("its bcrypt hash is damaged; `htpasswd -B` makes a new one")]
    Damaged,
    /// More work than a client should be able to ask for.
    #[error(
        "its bcrypt cost is {0}, and 4 to {MAX_COST} are taken, as anyone can have this proxy do that work; \
         `htpasswd -B -C 10` makes a cheaper hash"
    )]
    Cost(u32),
    /// Two passwords for one user.
    #[error("its user is in line {0} already")]
    Duplicate(usize),
}

/// Users and the hashes of their passwords; or every line that cannot be used. Empty lines and those that begin
/// with `#` are skipped, space around a line is not part of it, and what follows a second colon is for others.
pub(super) fn parse(content: &[u8]) -> Result<HashMap<String, PasswordHash>, Vec<LineProblem>> {
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
    let mut users: HashMap<String, (usize, PasswordHash)> = HashMap::new();
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let kept = user_and_hash(line).and_then(|(user, hash)| match users.entry(user) {
            Entry::Occupied(first) => Err(LineFault::Duplicate(first.get().0)),
            Entry::Vacant(place) => {
                place.insert((number, hash));
                Ok(())
            }
        });
        problems.extend(kept.err().map(|fault| LineProblem { line: number, fault }));
    }
    if problems.is_empty() {
        return Ok(users.into_iter().map(|(user, (_, hash))| (user, hash)).collect());
    }
    Err(problems)
}

fn user_and_hash(line: &[u8]) -> Result<(String, PasswordHash), LineFault> {
    let line = str::from_utf8(line).map_err(|_| LineFault::NotUtf8)?;
    let (user, rest) = line.split_once(':').ok_or(LineFault::NoColon)?;
    if user.is_empty() || user.len() > MAX_NAME_BYTES || user.contains(char::is_control) {
        return Err(LineFault::Name);
    }
    let hash = rest.split_once(':').map_or(rest, |(hash, _)| hash);
    let hash = PasswordHash::parse(hash).map_err(|fault| match fault {
        HashFault::Kind => LineFault::NotBcrypt,
        HashFault::Broken => LineFault::Damaged,
        HashFault::Cost(cost) => LineFault::Cost(cost),
    })?;
    Ok((user.to_owned(), hash))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "$2y$04$p8kK8mJRTFKw3DlKy4rIJ.B313Tjwsjns/ReXJClmiya7iiu0N6yC";

    fn names(content: &str) -> Vec<String> {
        let mut names: Vec<_> = parse(content.as_bytes()).unwrap().into_keys().collect();
        names.sort();
        names
    }

    #[test]
    fn users() {
        let content = format!(
            "\u{feff}alice:{HASH}\n# of the team\n\n \t\r\n bob:{HASH}\r\n#carol:plain\njos\u{e9} p:{HASH}:more:fields\n\
             anonymous:{HASH}"
        );
        assert_eq!(names(&content), ["alice", "anonymous", "bob", "jos\u{e9} p"]);
        for nobody in ["", "\n\n", "# nobody\n"] {
            assert!(names(nobody).is_empty(), "{nobody:?}");
        }
    }

    #[test]
    fn every_line_that_cannot_be_used_is_told_and_never_shown() {
        let content = [
            format!("alice:{HASH}").into_bytes(),
            b"hunter2".to_vec(),
            format!(":{HASH}").into_bytes(),
            format!("{}:{HASH}", "x".repeat(256)).into_bytes(),
            format!("a\tb:{HASH}").into_bytes(),
            b"bob:hunter2".to_vec(),
            b"bob:$2y$05$hunter2".to_vec(),
            format!("carol:$2y$17{}", &HASH[6..]).into_bytes(),
            b"dave:\xff".to_vec(),
            format!("alice:{HASH}").into_bytes(),
        ]
        .join(&b'\n');
        let problems = parse(&content).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| (problem.line, problem.fault.clone())).collect();
        let expected = [
            (2, LineFault::NoColon),
            (3, LineFault::Name),
            (4, LineFault::Name),
            (5, LineFault::Name),
            (6, LineFault::NotBcrypt),
            (7, LineFault::Damaged),
            (8, LineFault::Cost(17)),
            (9, LineFault::NotUtf8),
            (10, LineFault::Duplicate(1)),
        ];
        assert_eq!(found, expected);
        let shown = format!("{problems:?}") + &problems.iter().map(ToString::to_string).collect::<String>();
        for secret in ["hunter2", &HASH[7..], "alice", "bob"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(problems[4].to_string().contains("htpasswd -B"), "{}", problems[4]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&content);
        }

        #[test]
        fn any_line_is_read(user in ".{0,20}", hash in "\\$2[aby]\\$[0-9]{2}\\$.{40,60}") {
            let _ = parse(format!("{user}:{hash}").as_bytes());
        }
    }
}
