//! Who may do what: identification of clients, and the rules about them.
//!
//! The way of a request: its headers become a `Credential`; the [`Gate`] of the configured mode makes an
//! `Identity` of that, or of the client certificate's names, or a `Refusal`; the [`AccessRules`] say what that
//! identity may do with a repository of a registry. All of it is decided from the request and the configuration
//! alone, before anything is looked up: a refusal cannot tell whether a repository exists.
//!
//! With passwords, [`Htpasswd`] knows the users: `password_lines` reads their file's lines, `password_file` says what
//! can be wrong with it, `password_hash` is where bcrypt is run, by `workers` that bound how much of it there is, and
//! `attempts` keeps a flood of wrong passwords out of the log. Verdicts are kept by `fingerprint`, so that no password
//! is.
//!
//! Left out: TLS, which says what a client certificate's names are and checked who signed it; sessions and tokens,
//! of which there are none; HTTP, apart from the status, document and headers that a refusal asks for.

mod attempts;
mod credential;
mod fingerprint;
mod gate;
mod htpasswd;
mod identity;
mod password_file;
mod password_hash;
mod password_lines;
mod refusal;
mod rules;
mod workers;

pub use gate::Gate;
pub use htpasswd::Htpasswd;
pub use identity::{Identity, IdentityError};
pub use password_file::HtpasswdError;
pub use rules::{AccessRules, AccessRuling, WithoutRules};

pub(super) use credential::Credential;
pub(super) use refusal::Refusal;
