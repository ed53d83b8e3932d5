//! What makes clients refuse a certificate that can be used: dates, names, and a chain with gaps.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Identity;

/// Why clients may refuse an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Its last day is this many seconds ago.
    #[error("the certificate has expired {} ago: renew it", span(*.0))]
    Expired(i64),
    /// Its first day comes in this many seconds.
    #[error("the certificate is good in {} only: is this host's clock right?", span(*.0))]
    NotYetValid(i64),
    /// It has no name that a client would look at.
    #[error(
        "the certificate has no subject alternative name, so no client accepts it for any name: \
         have it issued with the DNS name or the address in your clients' turns: URI"
    )]
    Nameless,
    /// It is nobody's but its own word.
    #[error(
        "the certificate is signed by itself: only clients that were given this very certificate \
         accept it, and no browser does"
    )]
    SelfSigned,
    /// A certificate of the chain stands at the wrong place.
    #[error(
        "the chain is in the wrong order: {issuer:?}, who issued certificate {place}, has to stand \
         right behind it"
    )]
    Order {
        /// The certificate, counted from 1.
        place: usize,
        /// Who issued it.
        issuer: String,
    },
    /// The issuer of the last certificate is nobody that this system knows.
    #[error(
        "the chain may be incomplete: {0:?} issued its last certificate, and is neither in the \
         file nor among this system's roots: put the intermediates behind the leaf \
         (fullchain.pem), unless it is a root of your own that your clients have"
    )]
    MissingIssuer(String),
    /// Browsers know no Ed25519 certificates.
    #[error("an Ed25519 certificate is unknown to browsers: use ECDSA on P-256, or RSA")]
    Ed25519,
}

impl Doubt {
    /// Whether every client that looks refuses it.
    pub const fn is_certain(&self) -> bool {
        matches!(
            self,
            Self::Expired(_) | Self::NotYetValid(_) | Self::Nameless | Self::Order { .. }
        )
    }
}

/// The subjects of root certificates.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    subjects: HashSet<Vec<u8>>,
}

impl Roots {
    /// Those of this system; `None` when it has none, as in a small container.
    pub fn of_system() -> Option<Self> {
        let roots = Self::from_pem(&system_bundle()?);
        (!roots.subjects.is_empty()).then_some(roots)
    }

    /// Those in a text; what is no certificate is passed over.
    pub fn from_pem(text: &[u8]) -> Self {
        let subject = |certificate: CertificateDer<'_>| {
            let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
            Some(parsed.subject().as_raw().to_vec())
        };
        let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
        Self { subjects: certificates.filter_map(subject).collect() }
    }
}

/// Where Debian, Red Hat and Alpine keep their roots.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The root certificates of this system, in PEM.
pub(super) fn system_bundle() -> Option<Vec<u8>> {
    BUNDLES.iter().find_map(|path| fs::read(Path::new(path)).ok())
}

impl Identity {
    /// What clients may dislike, the worst first. `roots` are those that clients have, as far as
    /// is known here; without them a missing intermediate cannot be told from a root.
    pub fn doubts(&self, now: u64, roots: Option<&Roots>) -> Vec<Doubt> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut doubts = Vec::new();
        if self.not_after() < now {
            doubts.push(Doubt::Expired(now - self.not_after()));
        } else if self.not_before() > now {
            doubts.push(Doubt::NotYetValid(self.not_before() - now));
        }
        if self.names().is_empty() {
            doubts.push(Doubt::Nameless);
        }
        doubts.extend(self.gap(roots));
        if self.is_ed25519() {
            doubts.push(Doubt::Ed25519);
        }
        doubts
    }

    /// Follows the chain up from the leaf.
    fn gap(&self, roots: Option<&Roots>) -> Option<Doubt> {
        let chain: Vec<_> =
            self.chain().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
        let own = |it: &X509Certificate<'_>| it.issuer().as_raw() == it.subject().as_raw();
        if own(chain.first()?) {
            return Some(Doubt::SelfSigned);
        }
        let mut top = 0;
        loop {
            let current = chain.get(top)?;
            let issuer = current.issuer();
            let known = |it: &X509Certificate<'_>| it.subject().as_raw() == issuer.as_raw();
            match chain.get(top + 1) {
                _ if own(current) => return None,
                Some(next) if known(next) => top += 1,
                _ if chain.iter().any(known) => {
                    return Some(Doubt::Order { place: top + 1, issuer: issuer.to_string() });
                }
                _ if roots?.subjects.contains(issuer.as_raw()) => return None,
                _ => return Some(Doubt::MissingIssuer(issuer.to_string())),
            }
        }
    }
}

/// Seconds in the unit that people would say them in.
fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        s if s >= 2 * 86400 => (s / 86400, "days"),
        s if s >= 2 * 3600 => (s / 3600, "hours"),
        s if s >= 120 => (s / 60, "minutes"),
        s => (s, "seconds"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
#[path = "chain/tests.rs"]
mod tests;
