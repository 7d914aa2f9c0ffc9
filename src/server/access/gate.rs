//! How clients are told apart, by mode.

use std::sync::Arc;

use super::credential::Credential;
use super::htpasswd::{Htpasswd, Verified};
use super::identity::Identity;
use super::refusal::Refusal;
use super::rules::AccessRules;
use crate::config::Action;
use crate::tls::CertificateNames;

/// How clients are told apart.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Not at all: everyone is anonymous, whatever they send.
    Open,
    /// By user and password. Who sends none is anonymous, for the rules to judge.
    Htpasswd(Htpasswd),
    /// By the certificate of their TLS connection.
    Certificate,
}

impl Gate {
    /// Who a request is by. `certificate` is the client's, which TLS has verified.
    ///
    /// # Errors
    /// When the client has not shown who it is, or cannot be told.
    pub(in crate::server) async fn identify(
        &self,
        credential: &Credential,
        certificate: Option<&Arc<CertificateNames>>,
    ) -> Result<Identity, Refusal> {
        match self {
            Self::Open => Ok(Identity::Anonymous),
            Self::Htpasswd(users) => by_password(users, credential).await,
            Self::Certificate => {
                let names = certificate.ok_or(Refusal::CertificateNeeded)?;
                Ok(Identity::Certificate(Arc::clone(names)))
            }
        }
    }

    /// Whether those who give no name are to be asked for one at `/v2/`, even where others may read something without:
    /// it is from there that clients learn how to log in. One that has no password then goes on without and is judged
    /// by the rules. (A 200 would tell go-containerregistry that no credentials are wanted anywhere.)
    pub(in crate::server) fn wants_names(&self) -> bool {
        matches!(self, Self::Htpasswd(_))
    }

    /// Whether `rules` allow it. To be asked before anything is looked up, so that a refusal is the same whether
    /// the repository exists or not.
    ///
    /// # Errors
    /// A challenge for the anonymous where a password could help, a denial for all others.
    pub(in crate::server) fn authorize(
        &self,
        rules: &AccessRules,
        identity: &Identity,
        registry: &str,
        repository: &str,
        action: Action,
    ) -> Result<(), Refusal> {
        if rules.allows(identity, registry, repository, action) {
            return Ok(());
        }
        if *identity == Identity::Anonymous && self.wants_names() {
            return Err(Refusal::CredentialsNeeded);
        }
        Err(Refusal::Denied { identity: identity.to_string(), action })
    }
}

async fn by_password(users: &Htpasswd, credential: &Credential) -> Result<Identity, Refusal> {
    let (user, refusal) = match credential {
        Credential::Anonymous => return Ok(Identity::Anonymous),
        Credential::Basic(basic) => match users.verify(basic.user(), basic.password()).await {
            Verified::Yes => return Ok(Identity::User(basic.user().to_owned())),
            Verified::No => (Some(basic.user()), Refusal::Wrong),
            Verified::Busy => (Some(basic.user()), Refusal::Busy),
        },
        Credential::Bearer(_) => (None, Refusal::Bearer),
        Credential::Malformed(problem) => (None, Refusal::Malformed(*problem)),
    };
    users.attempts().failed(user, &refusal);
    Err(refusal)
}

#[cfg(test)]
mod tests;
