//! What a client may do with a repository: who it is, by the configured mode, and what the rules or the upstream say.
//!
//! Where the proxy knows its clients, that is settled here, before anything is looked up. Where the upstream is what
//! knows them, a client's own credential goes with its request, as far as the [`Passage`] of the name lets it, and the
//! upstream's answer is what the client gets: its own challenges, where names and host are as the upstream would have
//! them, else a challenge of the proxy's for user and password.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::access::{AccessRules, Credential, Gate, Identity, Refusal};
use super::client::ClientAddress;
use super::directory::{NoSuchName, Passage, Place};
use super::error::RequestError;
use super::peer::Peer;
use crate::config::Action;
use crate::oci::{RegistryName, Repository, RepositoryName};
use crate::proxy::{Payer, Proxy, ProxyError, Reader, Rights, View};
use crate::upstream::{ClientCredential, Credentials, UpstreamError};

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Access {
    /// How clients are told apart.
    pub mode: Mode,
    /// What they may do.
    pub rules: Arc<AccessRules>,
}

/// How clients are told apart.
#[derive(Clone, Debug)]
pub enum Mode {
    /// By the proxy, or not at all.
    Own(Gate),
    /// By the upstream, by their own credentials.
    Upstream,
}

/// Who asks, and with what.
pub(super) struct Visitor {
    identity: Identity,
    credential: Credential,
    address: ClientAddress,
}

/// A client that may do what it asks for, as far as the proxy is to say that.
pub(super) struct Admitted {
    pub(super) view: View,
    /// Whose an upload is, where the proxy tells clients apart. What the upstream judges it judges each time.
    pub(super) owner: Option<String>,
    passage: Option<(Passage, bool)>,
}

/// A client that may see which repositories there are, as far as it may pull them.
pub(super) struct Browser {
    pub(super) reader: Option<Reader>,
    rights: Rights,
    passage: Option<(Passage, bool)>,
}

impl Visitor {
    /// As the log shows it; nothing for those who gave no name.
    pub(super) fn name(&self) -> Option<String> {
        (self.identity != Identity::Anonymous).then(|| self.identity.to_string())
    }

    /// What the client may cost is reckoned by: its name, else the address; of IPv6, the network that one customer has.
    fn payer(&self) -> Payer {
        match (&self.identity, self.address.ip()) {
            (Identity::Anonymous, None) => Payer::Local,
            (Identity::Anonymous, Some(IpAddr::V6(address))) => {
                let [a, b, c, d, ..] = address.segments();
                Payer::Address(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            (Identity::Anonymous, Some(address)) => Payer::Address(address),
            (identity, _) => Payer::Named(identity.to_string().into()),
        }
    }
}

impl Access {
    /// Finds out who asks.
    ///
    /// # Errors
    /// When that was not shown as it has to be.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        address: ClientAddress,
    ) -> Result<Visitor, Refusal> {
        let credential = Credential::from_headers(headers);
        let identity = match &self.mode {
            Mode::Own(gate) => gate.identify(&credential, peer.certificate.as_ref()).await?,
            Mode::Upstream => {
                if let Credential::Malformed(problem) = credential {
                    return Err(Refusal::Malformed(problem));
                }
                Identity::Anonymous
            }
        };
        Ok(Visitor { identity, credential, address })
    }

    /// What a visitor is told of a name that leads nowhere: one who has yet to say who it is, only that.
    pub(super) fn told_nowhere(&self, visitor: &Visitor, nowhere: NoSuchName) -> RequestError {
        match &self.mode {
            Mode::Own(gate) if gate.wants_names() && visitor.identity == Identity::Anonymous => {
                Refusal::CredentialsNeeded.into()
            }
            _ => nowhere.into(),
        }
    }

    /// Lets a visitor do something with the repository of a place, or not.
    ///
    /// # Errors
    /// When the rules do not allow it, which depends on names alone and on nothing that is there.
    pub(super) fn admit(&self, visitor: &Visitor, place: Place, action: Action) -> Result<Admitted, Refusal> {
        let Place { mut view, credentials, takes_writes } = place;
        let Repository { registry, name } = &view.repository;
        let (registry, name) = (registry.as_str(), name.as_str());
        let passage = match &self.mode {
            Mode::Own(gate) => {
                gate.authorize(&self.rules, &visitor.identity, registry, name, action)?;
                None
            }
            Mode::Upstream => {
                Gate::Open.authorize(&self.rules, &visitor.identity, registry, name, action)?;
                let reader = reader(&visitor.credential, credentials)?;
                let named = matches!(&reader.credential, ClientCredential::Exchanged(Some(_)));
                view.reader = Some(reader);
                Some((credentials, named))
            }
        };
        let may_push = self.rules.allows(&visitor.identity, registry, name, Action::Push);
        view.is_pushing = takes_writes && may_push;
        if !self.rules.is_empty() {
            view.rights = Some(self.rights(&visitor.identity));
        }
        view.payer = Some(visitor.payer());
        Ok(Admitted { view, owner: visitor.name(), passage })
    }

    /// Lets a visitor see which repositories a registry has, or not: who should say who it is has to, as at the root.
    ///
    /// # Errors
    /// With a challenge for who should, and a refusal for who may not come in.
    pub(super) fn browse(&self, visitor: &Visitor, passage: Passage) -> Result<Browser, Refusal> {
        let rights = self.rights(&visitor.identity);
        match &self.mode {
            Mode::Own(gate) if gate.wants_names() && visitor.identity == Identity::Anonymous => {
                Err(Refusal::CredentialsNeeded)
            }
            Mode::Own(_) => Ok(Browser { reader: None, rights, passage: None }),
            Mode::Upstream => {
                let reader = reader(&visitor.credential, passage)?;
                let named = matches!(&reader.credential, ClientCredential::Exchanged(Some(_)));
                Ok(Browser { reader: Some(reader), rights, passage: Some((passage, named)) })
            }
        }
    }

    /// Whether what clients may do is for the upstream to say.
    pub(super) fn is_judged_upstream(&self) -> bool {
        matches!(self.mode, Mode::Upstream)
    }

    /// What else the rules let a visitor read.
    fn rights(&self, identity: &Identity) -> Rights {
        let (rules, identity) = (Arc::clone(&self.rules), identity.clone());
        Rights::new(move |repository| {
            let Repository { registry, name } = repository;
            rules.allows(&identity, registry.as_str(), name.as_str(), Action::Pull)
        })
    }

    /// Answers for the API's root, by which clients find out how to log in.
    ///
    /// # Errors
    /// With a challenge for who should, and a refusal for who may not come in.
    pub(super) async fn enter(
        &self,
        visitor: &Visitor,
        proxy: &Proxy,
        at: Option<(&RegistryName, Passage)>,
    ) -> Result<(), RequestError> {
        let (registry, passage) = match (&self.mode, at) {
            (Mode::Own(gate), _) => {
                return match visitor.identity {
                    Identity::Anonymous if gate.wants_names() => Err(Refusal::CredentialsNeeded.into()),
                    _ => Ok(()),
                };
            }
            // Nobody's credential goes anywhere, so none is asked for.
            (Mode::Upstream, None | Some((_, Passage::Closed))) => return Ok(()),
            (Mode::Upstream, Some(at)) => at,
        };
        if passage == Passage::Exchange && matches!(visitor.credential, Credential::Anonymous) {
            return Err(Refusal::CredentialsNeeded.into());
        }
        let reader = reader(&visitor.credential, passage)?;
        match proxy.ping(registry, &reader).await {
            Ok(()) => Ok(()),
            // What the client may read is judged when it reads; an upstream in trouble is no reason to turn it away here.
            Err(ProxyError::Upstream(error)) if error.is_transient() && visitor.credential.header().is_some() => Ok(()),
            Err(error) => Err(challenged(error, Some((passage, true)))),
        }
    }
}

impl Admitted {
    /// What the client is told of an error: an upstream's "who are you" is for it to answer if it can.
    pub(super) fn told(&self, error: ProxyError) -> RequestError {
        challenged(error, self.passage)
    }
}

impl Browser {
    /// Whether the rules let it pull this repository.
    pub(super) fn may_pull(&self, registry: &RegistryName, name: &RepositoryName) -> bool {
        self.rights.may_read(&Repository { registry: registry.clone(), name: name.clone() })
    }

    /// What the client is told of an error, as [`Admitted::told`].
    pub(super) fn told(&self, error: ProxyError) -> RequestError {
        challenged(error, self.passage)
    }
}

/// What a client is to the upstream.
fn reader(credential: &Credential, passage: Passage) -> Result<Reader, Refusal> {
    let anonymous = Credential::Anonymous;
    let (credential, shown) = match (passage, credential) {
        (Passage::Open, _) => (credential, ClientCredential::PassedOn(credential.header().cloned())),
        (Passage::Exchange, Credential::Basic(basic)) => {
            let (user, password) = (basic.user().to_owned(), basic.password().expose().to_owned());
            (credential, ClientCredential::Exchanged(Some(Credentials { user, password })))
        }
        // Whoever issued it, it was not this proxy, whose challenge was for a password.
        (Passage::Exchange, Credential::Bearer(_)) => return Err(Refusal::Bearer),
        (Passage::Exchange | Passage::Closed, _) => (&anonymous, ClientCredential::Exchanged(None)),
    };
    Ok(Reader { id: credential.fingerprint().bytes(), credential: shown })
}

/// `passage` says how the client's credential went upstream, if it did, and whether there was one to be exchanged.
fn challenged(error: ProxyError, passage: Option<(Passage, bool)>) -> RequestError {
    // Also where it stopped the work on a bundle: a credential that has run out is the client's to renew.
    let Some(upstream) = error.upstream_error() else { return error.into() };
    let challenges: Vec<HeaderValue> = match (passage, upstream) {
        (Some((Passage::Open, _)), UpstreamError::Unauthorized { challenges }) => match challenges.for_clients() {
            Ok(challenges) => challenges.to_vec(),
            Err(foreign) => return ProxyError::Upstream(foreign.into()).into(),
        },
        (Some((Passage::Exchange, _)), UpstreamError::Unauthorized { .. })
        // Who has not said who they are may have a name that helps.
        | (Some((Passage::Exchange, false)), UpstreamError::Denied) => {
            Refusal::CredentialsNeeded.challenge().into_iter().collect()
        }
        _ => Vec::new(),
    };
    // Every 401 has a challenge (RFC 9110, section 15.5.2); without one, it is a 403.
    if challenges.is_empty() { error.into() } else { RequestError::Unauthorized { challenges } }
}
