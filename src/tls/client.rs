//! The client's end of TLS: whom it trusts, and what it says when it does not.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    Error, RootCertStore, SignatureScheme,
};

use super::chain::system_bundle;

/// Whose certificates a client accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that this system's roots vouch for.
    System,
    /// Those that the certificates in this file vouch for, and no others.
    Authorities(PathBuf),
    /// Anybody's: for tests of something else.
    Anyone,
}

impl Trust {
    /// The certificates that vouch for servers; `None` when nobody has to.
    pub(super) fn roots(&self) -> Result<Option<RootCertStore>, NoClient> {
        match self {
            Self::System => {
                system_bundle().as_deref().and_then(roots).ok_or(NoClient::NoRoots).map(Some)
            }
            Self::Authorities(path) => roots_in(path).map(Some),
            Self::Anyone => Ok(None),
        }
    }
}

/// What the connections to one server have in common. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    /// This system has no root certificates.
    #[error(
        "this system has no root certificates (Debian: package ca-certificates): \
         name a file with those that vouch for the server"
    )]
    NoRoots,
    /// The file cannot be read.
    #[error("{}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// There is no certificate in the file.
    #[error("{}: there is no certificate in it that could vouch for a server (PEM)", .0.display())]
    Empty(PathBuf),
    /// No certificate can have such a name.
    #[error("{0:?} is no name that a certificate could have")]
    Name(String),
    /// The library cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] Error),
}

impl Client {
    /// A client for the server that is called `host`: a DNS name or an address, as in its URI.
    ///
    /// # Errors
    /// See [`NoClient`].
    pub fn new(trust: &Trust, host: &str) -> Result<Self, NoClient> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| NoClient::Name(host.to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = match trust.roots()? {
            Some(roots) => config.with_root_certificates(roots),
            None => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone { provider, look: () })),
        };
        let mut config = config.with_no_client_auth();
        // What is tried and measured is a whole handshake.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name })
    }

    /// The beginning of a connection.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn connect(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }

    /// For a connection that is driven by another crate.
    pub(crate) const fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The name that the server's certificate has to be for.
    pub(crate) const fn name(&self) -> &ServerName<'static> {
        &self.name
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, NoClient> {
    let text = fs::read(path).map_err(|error| NoClient::Unreadable(path.to_owned(), error))?;
    roots(&text).ok_or_else(|| NoClient::Empty(path.to_owned()))
}

pub(super) fn roots(text: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    (added > 0).then_some(roots)
}

/// What a client has against a server, in words.
#[derive(Clone, Debug)]
pub struct Dislike(Error);

/// The kinds of what a client has against a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Nobody who is trusted vouches for its certificate.
    Issuer,
    /// Its certificate's time is over.
    Expired,
    /// Its certificate's time has not come.
    Early,
    /// Its certificate is for other names.
    Name,
    /// It speaks something else.
    NotTls,
    /// It knows none of the client's protocols (ALPN).
    Protocol,
    /// Something else.
    Other,
}

impl Dislike {
    /// Something that another library than this room's has said.
    pub fn other(words: impl Into<String>) -> Self {
        Self(Error::General(words.into()))
    }

    /// Of what kind it is.
    pub const fn objection(&self) -> Objection {
        use CertificateError as Because;
        match &self.0 {
            Error::InvalidCertificate(why) => match why {
                Because::UnknownIssuer | Because::BadSignature => Objection::Issuer,
                Because::Expired | Because::ExpiredContext { .. } => Objection::Expired,
                Because::NotValidYet | Because::NotValidYetContext { .. } => Objection::Early,
                Because::NotValidForName | Because::NotValidForNameContext { .. } => {
                    Objection::Name
                }
                _ => Objection::Other,
            },
            Error::InvalidMessage(_) => Objection::NotTls,
            Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Objection::Protocol,
            _ => Objection::Other,
        }
    }
}

impl From<Error> for Dislike {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Dislike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match (self.objection(), &self.0) {
            (Objection::Issuer, _) => {
                "nobody who is trusted here vouches for the server's certificate: \
                 its chain is incomplete, or its root is one of your own"
            }
            (Objection::Expired, _) => "the server's certificate has expired",
            (Objection::Early, _) => {
                "the server's certificate is not good yet: is this host's clock right?"
            }
            (Objection::Name, _) => "the server's certificate is for other names",
            (Objection::NotTls, _) => "what the server speaks there is not TLS",
            (_, Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
                "the server has no certificate or cipher for this client"
            }
            (_, Error::General(words)) => words,
            (_, other) => return write!(f, "TLS: {other}"),
        };
        f.write_str(words)
    }
}

impl std::error::Error for Dislike {}

/// What somebody thinks of a certificate that is accepted in any case.
pub(super) trait Look: std::fmt::Debug + Send + Sync {
    /// A server shows this certificate, with the rest of its chain.
    fn look(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _now: UnixTime,
    ) {
    }
}

/// Nobody looks.
impl Look for () {}

/// Accepts any certificate, and checks that the server has its key.
#[derive(Debug)]
pub(super) struct Anyone<L = ()> {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) look: L,
}

impl<L: Look> ServerCertVerifier for Anyone<L> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.look.look(leaf, others, name, now);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_client_is_told_in_words() {
        let missing = Trust::Authorities("/no/such/file.pem".into());
        let error = Client::new(&missing, "localhost").unwrap_err().to_string();
        assert!(error.contains("/no/such/file.pem: No such file"), "{error}");
        let error = Client::new(&Trust::Authorities("Cargo.toml".into()), "localhost");
        assert!(matches!(error, Err(NoClient::Empty(_))));
        assert!(matches!(Client::new(&Trust::Anyone, "a b"), Err(NoClient::Name(_))));
        for name in ["turn.example.org", "127.0.0.1", "::1"] {
            Client::new(&Trust::Anyone, name).unwrap().connect().unwrap();
        }
    }
}
