//! Whether what another server shows to clients in TLS is fit for them, and whether it speaks DTLS.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Trust;
use super::chain::system_bundle;
use super::client::{Anyone, Dislike, Look, NoClient, roots};

/// What probes of several servers have in common: the roots of this system.
#[derive(Clone, Debug)]
pub struct Probes(Arc<Judge>);

/// Connects with one server, whatever certificate it shows, and says what clients may have against it.
#[derive(Clone, Debug)]
pub struct Probe {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    verifier: Arc<Anyone<Lenient>>,
}

/// What clients may have against a certificate.
#[derive(Clone, Debug)]
pub enum Opinion {
    /// Nothing that is known here.
    Good,
    /// Those who do not know its root refuse it; clients of one's own may know it.
    Doubtful(Dislike),
    /// All refuse it.
    Bad(Dislike),
}

/// What a server has shown of its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How many it sends: its own and those that vouch for it.
    pub certificates: usize,
    /// Nobody else has issued it.
    pub self_signed: bool,
    /// Until when it is good, in seconds since 1970.
    pub not_after: i64,
}

impl Shown {
    /// Whole days from `now` (seconds since 1970) to its end; negative when that is past.
    pub fn days_left(&self, now: u64) -> i64 {
        self.not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX)).div_euclid(24 * 3600)
    }
}

#[derive(Debug)]
struct Judge {
    /// Nothing on a system without root certificates.
    roots: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

/// Notes what it thinks of a certificate.
#[derive(Debug)]
struct Lenient {
    judge: Arc<Judge>,
    /// The name that clients will look for is known.
    named: bool,
    opinion: Mutex<Opinion>,
    shown: Mutex<Option<Shown>>,
}

impl Probes {
    /// With the roots of this system, if it has any.
    pub fn new() -> Self {
        Self::with(system_bundle().as_deref().and_then(roots))
    }

    /// With those whom the caller trusts; with [`Trust::Anyone`] nobody vouches for anything.
    ///
    /// # Errors
    /// There are no certificates where they should be.
    pub fn trusting(trust: &Trust) -> Result<Self, NoClient> {
        trust.roots().map(Self::with)
    }

    fn with(roots: Option<RootCertStore>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = roots.and_then(|roots| {
            let (roots, provider) = (Arc::new(roots), Arc::clone(&provider));
            WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()
        });
        Self(Arc::new(Judge { roots, provider }))
    }

    /// For the server with this name in its certificate, or with an unknown one at this address.
    ///
    /// # Errors
    /// The name is none, or the library cannot be set up.
    pub fn of(&self, name: Option<&str>, address: std::net::IpAddr) -> Result<Probe, NoClient> {
        let judge = Arc::clone(&self.0);
        let provider = Arc::clone(&judge.provider);
        let known = name.map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|_| NoClient::Name(name.to_owned()))
        });
        let opinion = Mutex::new(Opinion::Good);
        let look = Lenient { judge, named: name.is_some(), opinion, shown: Mutex::default() };
        let verifier = Arc::new(Anyone { provider: Arc::clone(&provider), look });
        let name = known.unwrap_or(Ok(ServerName::from(address)))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>)
            .with_no_client_auth();
        // A resumed session would show no certificate.
        config.resumption = Resumption::disabled();
        Ok(Probe { config: Arc::new(config), name, verifier })
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// The beginning of a connection.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn connect(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }

    /// Offers these protocols (ALPN), the best first.
    #[must_use]
    pub fn speaking(mut self, protocols: &[&[u8]]) -> Self {
        let offered = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = offered;
        self
    }

    /// Looks at a chain that was shown elsewhere, the leaf first, each in DER.
    pub fn look(&self, chain: &[Vec<u8>]) {
        let all: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        if let Some((leaf, others)) = all.split_first() {
            self.verifier.look.look(leaf, others, &self.name, UnixTime::now());
        }
    }

    /// What was shown last, once there was something.
    pub fn shown(&self) -> Option<Shown> {
        *self.verifier.look.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is thought of the certificate that was shown last.
    pub fn opinion(&self) -> Opinion {
        self.verifier.look.opinion.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Lenient {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Opinion {
        let parsed = match ParsedCertificate::try_from(leaf) {
            Ok(parsed) => parsed,
            Err(error) => return Opinion::Bad(error.into()),
        };
        // The chain is looked at first below, and would hide this.
        if self.named
            && let Err(error) = verify_server_name(&parsed, name)
        {
            return Opinion::Bad(error.into());
        }
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let found = match &self.judge.roots {
            Some(roots) => roots.verify_server_cert(leaf, others, name, &[], now).map(drop),
            None => Err(unknown.clone()),
        };
        match found {
            Ok(()) => Opinion::Good,
            Err(error) if error == unknown => Opinion::Doubtful(error.into()),
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Opinion::Good,
            Err(error) => Opinion::Bad(error.into()),
        }
    }
}

impl Look for Lenient {
    fn look(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) {
        let opinion = self.judge(leaf, others, name, now);
        let shown = X509Certificate::from_der(leaf).ok().map(|(_, parsed)| Shown {
            certificates: 1 + others.len(),
            self_signed: parsed.issuer() == parsed.subject(),
            not_after: parsed.validity().not_after.timestamp(),
        });
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        *self.opinion.lock().unwrap_or_else(PoisonError::into_inner) = opinion;
    }
}

/// A ClientHello of DTLS 1.2 without a cookie, which costs a server nothing (RFC 6347 §4.2.1).
pub fn dtls_greeting(random: &[u8; 32]) -> Vec<u8> {
    const SUITES: [u8; 8] = [0xC0, 0x2B, 0xC0, 0x2F, 0xC0, 0x2C, 0xC0, 0x30];
    // The groups and signatures that every server knows.
    const EXTENSIONS: [u8; 28] = [
        0, 10, 0, 4, 0, 2, 0, 23, // secp256r1
        0, 11, 0, 2, 1, 0, // uncompressed points
        0, 13, 0, 10, 0, 8, 4, 3, 8, 4, 4, 1, 5,
        3, // ECDSA and RSA with SHA-256, ECDSA with SHA-384
    ];
    let mut body = vec![0xFE, 0xFD];
    body.extend(random);
    // No session, no cookie.
    body.extend([0, 0]);
    body.extend([0, SUITES.len() as u8]);
    body.extend(SUITES);
    // No compression.
    body.extend([1, 0]);
    body.extend([0, EXTENSIONS.len() as u8]);
    body.extend(EXTENSIONS);
    let size = body.len() as u8;
    // A record of epoch 0 and number 0, and a message in one piece.
    let mut datagram = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, size + 12];
    datagram.extend([1, 0, 0, size, 0, 0, 0, 0, 0, 0, 0, size]);
    datagram.extend(body);
    datagram
}

/// Whether a datagram is how a server of DTLS answers that: with HelloVerifyRequest, or ServerHello.
pub fn is_dtls_answer(datagram: &[u8]) -> bool {
    matches!(datagram, [22, 0xFE, _, 0, 0, _, _, _, _, _, _, _, _, 2 | 3, ..])
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::tls::testing::{Authority, ECDSA, LAST, NOW};

    /// What is thought of a certificate for `turn.example.org` by who looks for this name, when its root is known.
    fn opinion(known: bool, name: Option<&str>, when: u64) -> String {
        let root = Authority::root("root");
        let others = Authority::root("others");
        let trusted = roots(if known { root.pem() } else { others.pem() }.as_bytes());
        opinion_of(&Probes::with(trusted), &root, name, when)
    }

    fn opinion_of(probes: &Probes, root: &Authority, name: Option<&str>, when: u64) -> String {
        let issued = root.issue(&["turn.example.org"], ECDSA);
        let leaf = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let probe = probes.of(name, IpAddr::from(Ipv4Addr::LOCALHOST)).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(when));
        probe.verifier.verify_server_cert(&leaf, &[], &probe.name, &[], now).unwrap();
        match probe.opinion() {
            Opinion::Good => "good".to_owned(),
            Opinion::Doubtful(why) => format!("doubtful: {why}"),
            Opinion::Bad(why) => format!("bad: {why}"),
        }
    }

    #[test]
    fn what_every_client_would_refuse_is_bad_and_an_unknown_root_is_a_doubt() {
        let (right, wrong) = (Some("turn.example.org"), Some("stun.example.org"));
        let expired = "bad: the server's certificate has expired";
        let early = "bad: the server's certificate is not good yet";
        let others = "bad: the server's certificate is for other names";
        for (known, name, when, expected) in [
            (true, right, NOW, "good"),
            // Which name clients have come with is not known here.
            (true, None, NOW, "good"),
            (true, wrong, NOW, others),
            (true, right, LAST + 1, expired),
            (true, right, 1_700_000_000, early),
            (false, right, NOW, "doubtful: nobody who is trusted here vouches"),
            (false, None, NOW, "doubtful"),
            (false, wrong, NOW, others),
            (false, right, LAST + 1, expired),
        ] {
            let found = opinion(known, name, when);
            assert!(found.starts_with(expected), "{known} {name:?} {when}: {found}");
        }
        let found = opinion_of(&Probes::with(None), &Authority::root("root"), right, NOW);
        assert!(found.starts_with("doubtful"), "{found}");
    }

    #[test]
    fn what_is_no_name_is_told() {
        let nowhere = Probes::with(None).of(Some("a b"), IpAddr::from(Ipv4Addr::LOCALHOST));
        assert!(matches!(nowhere, Err(NoClient::Name(_))));
    }

    #[cfg(feature = "dtls")]
    #[test]
    fn the_greeting_is_a_hello_that_is_answered() {
        let greeting = dtls_greeting(&[9; 32]);
        let hello = crate::tls::dtls::ClientHello::parse(&greeting).unwrap();
        assert_eq!((hello.random, hello.cookie), (&[9; 32], &[][..]));
        let mut answer = [0; crate::tls::dtls::VERIFY_REQUEST_MAX];
        let length = hello.verify_request(&[5; 16], &mut answer);
        assert!(is_dtls_answer(&answer[..length]));
        assert!(!is_dtls_answer(&greeting) && !is_dtls_answer(&answer[..13]));
        // An alert, and STUN.
        assert!(!is_dtls_answer(&[21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]));
        assert!(!is_dtls_answer(&[1, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 3]));
    }
}
