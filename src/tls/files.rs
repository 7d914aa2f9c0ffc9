//! The files a server's TLS is made of: read together, checked together.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use super::names::Summary;

/// The largest file read; a bundle of every public CA has a quarter of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain in PEM, the server's own first.
    pub certificate: PathBuf,
    /// Its private key in PEM: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// Clients are asked for a certificate; `None` asks for none.
    pub clients: Option<ClientFiles>,
}

/// How clients show who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities whose certificates count, in PEM; the system's do not.
    pub ca: PathBuf,
    /// Whether a client without a certificate is refused. One with a certificate that does not hold always is.
    pub required: bool,
}

/// Why clients cannot be served with these files.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// The system says so.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pipe or a device would give its bytes once, or never end.
    #[error("{} is no regular file", .0.display())]
    Irregular(PathBuf),
    /// Larger than anything of the kind.
    #[error("{} is larger than {} KiB; it should hold certificates or a key in PEM form and nothing else",
        .0.display(), MAX_FILE_BYTES >> 10)]
    TooLarge(PathBuf),
    /// Not PEM, or damaged.
    #[error("{} is damaged PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where it is damaged.
        source: pem::Error,
    },
    /// No certificate in it.
    #[error("{} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    /// No key in it, or a damaged one. Without a source: a parser's error may quote the file.
    #[error("{} holds no whole private key in PEM form (-----BEGIN PRIVATE KEY-----); an encrypted key has to be \
        decrypted first", .0.display())]
    NoKey(PathBuf),
    /// A key that cannot be worked with.
    #[error("the key in {} is of a kind that cannot be used; use an RSA, ECDSA or Ed25519 key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A certificate that cannot be worked with.
    #[error("the first certificate in {} cannot be used", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Two files that do not go together.
    #[error("the key in {} is not that of the first certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A client CA that cannot be worked with.
    #[error("a certificate in {} cannot be a client CA", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The cryptographic provider lacks something.
    #[error("TLS cannot be set up")]
    Provider(#[source] rustls::Error),
}

/// The files' bytes at one look.
pub(super) struct Material {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Tells two looks apart without keeping a second copy of the key.
pub(super) type Fingerprint = [u8; 32];

/// Files that go together.
pub(super) struct Checked {
    pub(super) config: Arc<ServerConfig>,
    /// `None` for a certificate that only rustls can read.
    pub(super) certificate: Option<Summary>,
}

impl Material {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, ServerTlsError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.clients.as_ref().map(|clients| read(&clients.ca)).transpose()?,
        })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in [&self.certificate, &self.key, self.client_ca.as_ref().unwrap_or(&Vec::new())] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    pub(super) fn check(&self, files: &TlsFiles) -> Result<Checked, ServerTlsError> {
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| ServerTlsError::NoKey(files.key.clone()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = match (&files.clients, &self.client_ca) {
            (Some(clients), Some(pem)) => Some(verifier(pem, clients, &provider)?),
            _ => None,
        };
        let paths = (files.certificate.as_path(), files.key.as_path());
        build(chain, key, verifier, provider, paths)
    }
}

/// Puts the parts together; `paths` are the chain's and the key's, for errors.
fn build(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
    (certificate_path, key_path): (&Path, &Path),
) -> Result<Checked, ServerTlsError> {
    let certificate = chain.first().and_then(|own| Summary::read(own));
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|source| ServerTlsError::Key { path: key_path.to_owned(), source })?;
    let own = CertifiedKey::new(chain, key);
    match own.keys_match() {
        // A key that does not tell its public half cannot be compared.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let (certificate, key) = (certificate_path.to_owned(), key_path.to_owned());
            return Err(ServerTlsError::Mismatch { certificate, key });
        }
        Err(source) => return Err(ServerTlsError::Certificate { path: certificate_path.to_owned(), source }),
    }
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(ServerTlsError::Provider)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    // Sessions to resume are kept in the configuration, so none outlives the client CA it was opened under.
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Checked { config: Arc::new(config), certificate })
}

fn verifier(
    pem: &[u8],
    clients: &ClientFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ServerTlsError> {
    let unusable = |source| ServerTlsError::ClientCa { path: clients.ca.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, &clients.ca)? {
        roots.add(certificate).map_err(unusable)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|err| unusable(rustls::Error::General(err.to_string())))
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|source| ServerTlsError::Pem { path: path.to_owned(), source })?;
    if found.is_empty() { Err(ServerTlsError::NoCertificate(path.to_owned())) } else { Ok(found) }
}

/// Follows symbolic links, as Kubernetes makes a mounted secret of them.
fn read(path: &Path) -> Result<Vec<u8>, ServerTlsError> {
    let failed = |source| ServerTlsError::Read { path: path.to_owned(), source };
    // Before it is opened, which may wait for ever with a pipe.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ServerTlsError::Irregular(path.to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(ServerTlsError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}
