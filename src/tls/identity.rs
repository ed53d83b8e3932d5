use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate with its chain and its key: what the server can prove to be.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    /// The DNS names of the leaf in lower case, wildcards as they stand.
    pub(super) names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

/// Why a certificate and a key cannot be used together.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIdentity {
    /// The PEM text is broken, or another kind of text.
    #[error("the {0} cannot be read as PEM: {1}")]
    Pem(&'static str, String),
    /// There is none in the text.
    #[error("there is no {0} in it")]
    Missing(&'static str),
    /// A certificate is no X.509.
    #[error("certificate {0} of the chain is broken: {1}")]
    Certificate(usize, String),
    /// rustls cannot use the key.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// The key is another certificate's.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

impl Identity {
    /// Reads a chain, leaf first, and the leaf's key (PKCS#8, PKCS#1 or SEC1) from PEM text.
    ///
    /// # Errors
    /// When they cannot be used together. Dates and the chain's order are not looked at.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, InvalidIdentity> {
        let broken = |what| {
            move |error: rustls::pki_types::pem::Error| {
                InvalidIdentity::Pem(what, error.to_string())
            }
        };
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(broken("certificate"))?;
        let key = PrivateKeyDer::pem_slice_iter(key).next();
        let key = key.transpose().map_err(broken("key"))?;
        let key = key.ok_or(InvalidIdentity::Missing("private key"))?;
        let leaf = chain.first().ok_or(InvalidIdentity::Missing("certificate"))?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| InvalidIdentity::Certificate(1, error.to_string()))?;
        let names = dns_names(&parsed);
        let validity = parsed.validity();
        let (not_before, not_after) =
            (validity.not_before.timestamp(), validity.not_after.timestamp());
        let key =
            any_supported_type(&key).map_err(|error| InvalidIdentity::Key(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| InvalidIdentity::Mismatch)?;
        Ok(Self { certified: Arc::new(certified), names, not_before, not_after })
    }

    /// The leaf's first and last second, counted from 1970.
    pub const fn validity(&self) -> (i64, i64) {
        (self.not_before, self.not_after)
    }

    /// The DNS names of the leaf, in lower case.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}
