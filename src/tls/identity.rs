//! One certificate with its chain and key: read from PEM, in words if it cannot be used. What clients may dislike about
//! a good one is in `chain`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

#[cfg(feature = "dtls")]
use super::dtls::Credentials;

/// A certificate with its chain and its key: what the server can prove to be. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    /// The same for OpenSSL.
    #[cfg(feature = "dtls")]
    pub(super) credentials: Credentials,
    leaf: Arc<Leaf>,
}

/// What the leaf says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// DNS names in lower case, wildcards as they stand, then addresses.
    pub(super) names: Vec<String>,
    /// The name in its subject, which clients no longer look at.
    common_name: Option<String>,
    serial: String,
    not_before: i64,
    not_after: i64,
}

/// Why a certificate and a key cannot be used together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// The text of the certificate file is broken.
    #[error("is broken: {0}")]
    ChainText(String),
    /// No certificate is in the text.
    #[error("has no certificate in it{}", if *.0 {
        ", but a private key: are the two files exchanged?"
    } else {
        ": expected PEM with -----BEGIN CERTIFICATE-----"
    })]
    NoCertificate(bool),
    /// One of the certificates, counted from 1, is no X.509.
    #[error("is broken at certificate {0}: {1}")]
    Certificate(usize, String),
    /// The text of the key file is broken.
    #[error("is broken: {0}")]
    KeyText(String),
    /// No key is in the text.
    #[error("has no private key in it{}", if *.0 {
        ", but a certificate: are the two files exchanged, or is its key in another file (tls.keys, --key)?"
    } else {
        ": expected PEM with -----BEGIN PRIVATE KEY-----"
    })]
    NoKey(bool),
    /// The key is under a passphrase.
    #[error(
        "is encrypted with a passphrase, which nobody is there to type in: \
         `openssl pkey -in KEY -out PLAIN` takes it off"
    )]
    Encrypted,
    /// An RSA key that is too short, in bits.
    #[error(
        "has an RSA key of {0} bits, which no client accepts any more: \
         make one of 2048 bits at least, or an ECDSA key on P-256"
    )]
    Short(usize),
    /// Another kind of key.
    #[error("has a key that cannot be used ({0}): RSA, ECDSA on P-256 or P-384, and Ed25519 can")]
    Key(String),
    /// The key is that of another certificate, which may stand further behind in the chain.
    #[error("does not belong to the {}", match .0 {
        None => "certificate: one of the two files is another one's, or not renewed".to_owned(),
        Some(place) => format!(
            "first certificate of the chain, but to number {place}: the leaf has to stand first"
        ),
    })]
    Mismatch(Option<usize>),
}

impl InvalidIdentity {
    /// Whether it is the key's text that is at fault, and not the chain's.
    pub(super) const fn is_about_key(&self) -> bool {
        !matches!(self, Self::ChainText(_) | Self::NoCertificate(_) | Self::Certificate(..))
    }
}

impl Identity {
    /// Reads a chain, leaf first, and the leaf's key (PKCS#8, PKCS#1 or SEC1) from PEM text.
    ///
    /// # Errors
    /// When they cannot be used together. What only makes clients refuse them (dates, gaps in the
    /// chain) is no error; [`Self::doubts`] tells it.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, InvalidIdentity> {
        let certificates = certificates(chain)?;
        let leaf = leaf(&certificates)?;
        let key = private_key(key)?;
        let signing = any_supported_type(&key)
            .map_err(|error| unusable_key(&certificates, &error.to_string()))?;
        let certified = CertifiedKey::new(certificates, signing);
        if certified.keys_match().is_err() {
            let place = owner(&certified.cert, certified.key.public_key());
            return Err(InvalidIdentity::Mismatch(place));
        }
        #[cfg(feature = "dtls")]
        let credentials = Credentials::new(&certified.cert, &key)
            .map_err(|errors| InvalidIdentity::Key(errors.to_string()))?;
        Ok(Self {
            certified: Arc::new(certified),
            #[cfg(feature = "dtls")]
            credentials,
            leaf: Arc::new(leaf),
        })
    }

    /// The leaf and what follows it, in DER.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.certified.cert.iter().map(AsRef::as_ref)
    }

    /// The DNS names of the leaf in lower case, then its addresses.
    pub fn names(&self) -> &[String] {
        &self.leaf.names
    }

    /// What people call it: its first name.
    pub fn label(&self) -> &str {
        let first = self.leaf.names.first().or(self.leaf.common_name.as_ref());
        first.map_or("nameless", |name| name)
    }

    /// The leaf's serial number, in hexadecimal with colons.
    pub fn serial(&self) -> &str {
        &self.leaf.serial
    }

    /// Whether the key is an RSA key, which old clients need and which is dear to sign with.
    pub fn is_rsa(&self) -> bool {
        self.certified.key.algorithm() == SignatureAlgorithm::RSA
    }

    pub(super) fn is_ed25519(&self) -> bool {
        self.certified.key.algorithm() == SignatureAlgorithm::ED25519
    }

    /// The leaf's first second, counted from 1970.
    pub fn not_before(&self) -> i64 {
        self.leaf.not_before
    }

    /// The leaf's last second, counted from 1970.
    pub fn not_after(&self) -> i64 {
        self.leaf.not_after
    }

    /// Whole seconds until it expires; negative when it has.
    pub fn seconds_left(&self, now: u64) -> i64 {
        self.leaf.not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX))
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidIdentity> {
    let found = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| InvalidIdentity::ChainText(words(&error)))?;
    match found.is_empty() {
        true => Err(InvalidIdentity::NoCertificate(has(text, "PRIVATE KEY-----"))),
        false => Ok(found),
    }
}

/// Parses all, so that a broken intermediate does not wait for a client to be found.
fn leaf(chain: &[CertificateDer<'_>]) -> Result<Leaf, InvalidIdentity> {
    let mut leaf = None;
    for (place, certificate) in chain.iter().enumerate() {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|error| InvalidIdentity::Certificate(place + 1, error.to_string()))?;
        leaf.get_or_insert_with(|| Leaf::of(&parsed));
    }
    leaf.ok_or(InvalidIdentity::NoCertificate(false))
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidIdentity> {
    // RFC 1421 §4.6.1.1 is how old keys say it, RFC 7468 §11 how new ones do.
    if has(text, "BEGIN ENCRYPTED PRIVATE KEY") || has(text, "Proc-Type: 4,ENCRYPTED") {
        return Err(InvalidIdentity::Encrypted);
    }
    match PrivateKeyDer::pem_slice_iter(text).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(InvalidIdentity::KeyText(words(&error))),
        None => Err(InvalidIdentity::NoKey(has(text, "BEGIN CERTIFICATE"))),
    }
}

fn has(text: &[u8], what: &str) -> bool {
    text.windows(what.len()).any(|window| window == what.as_bytes())
}

fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("-----END {label}----- is missing, so a part of it may be as well")
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("the line {:?} is not complete", String::from_utf8_lossy(line))
        }
        pem::Error::Base64Decode(_) => "what stands between the dashes is not base64".to_owned(),
        other => other.to_string(),
    }
}

/// The certificate knows better than the key's parser why the key is refused.
fn unusable_key(chain: &[CertificateDer<'_>], why: &str) -> InvalidIdentity {
    let parsed = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
    let size = parsed.and_then(|(_, leaf)| match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()),
        _ => None,
    });
    match size {
        Some(bits) if bits < 2048 => InvalidIdentity::Short(bits),
        _ => InvalidIdentity::Key(why.to_owned()),
    }
}

/// Whose key it is, counted from 1.
fn owner(chain: &[CertificateDer<'_>], key: Option<SubjectPublicKeyInfoDer<'_>>) -> Option<usize> {
    let key = key?;
    let owns = |certificate: &CertificateDer<'_>| {
        X509Certificate::from_der(certificate)
            .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.as_ref())
    };
    chain.iter().position(owns).map(|place| place + 1)
}

impl Leaf {
    fn of(parsed: &X509Certificate<'_>) -> Self {
        let common_name = parsed.subject().iter_common_name().next();
        let common_name = common_name.and_then(|name| name.as_str().ok());
        let common_name = common_name.filter(|name| !name.contains(char::is_control));
        Self {
            names: names(parsed),
            common_name: common_name.map(str::to_owned),
            serial: parsed.raw_serial_as_string(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        }
    }
}

/// RFC 9525 §6.1: the subject alternative names, and nothing else.
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let all = &extension.value.general_names;
    let domains = all.iter().filter_map(|name| match name {
        // Whatever is no name of a host is no client's, and would stand in URIs and in the log.
        GeneralName::DNSName(name) if name.bytes().all(|it| it.is_ascii_graphic()) => {
            Some(name.to_ascii_lowercase())
        }
        _ => None,
    });
    let addresses = all.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d])),
            bytes => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        },
        _ => None,
    });
    domains.chain(addresses.map(|address| address.to_string())).collect()
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "identity/tests.rs"]
mod tests;
