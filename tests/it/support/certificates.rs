//! A certificate authority that nobody knows, and whom it vouches for.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The authority. Its certificate is a file for as long as its directory is there.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
    directory: PathBuf,
}

/// A certificate and its key, as files in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A new one; what it makes goes into `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Colocate test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let file = write(directory, "authority.pem", &issuer.pem());
        Self { issuer, file, directory: directory.to_owned() }
    }

    /// Its certificate.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// A certificate for a server on loopback, which may also go by these names.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        let names = ["localhost", "127.0.0.1", "127.0.0.2"].iter().chain(names).map(|name| (*name).to_owned());
        self.vouch("server", CertificateParams::new(names.collect::<Vec<_>>()).expect("parameters"))
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        self.vouch(name, params)
    }

    fn vouch(&self, name: &str, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: write(&self.directory, &format!("{name}.pem"), &certificate.pem()),
            key: write(&self.directory, &format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, text).expect("a file");
    file
}
