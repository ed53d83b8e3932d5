//! What sessions have in common: versions, application protocols, tickets.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::Identities;

/// What the sessions of one listener have in common. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) config: Arc<ServerConfig>,
}

/// How a [`Server`] negotiates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The application protocols of this listener. A client that names none is served too; one
    /// that names only others is refused (RFC 7301 §3.2).
    pub protocols: Vec<Protocol>,
    /// The lowest version of TLS.
    pub min_version: Version,
}

impl Default for Settings {
    fn default() -> Self {
        Self { protocols: Protocol::ALL.to_vec(), min_version: Version::Tls12 }
    }
}

/// An application protocol as ALPN names it, ours first.
///
/// What is really spoken, only the first bytes tell: Firefox (153) behind an HTTP proxy names
/// `http/1.1` for `turns:`, and nothing without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `stun.turn` (RFC 7443).
    Turn,
    /// `stun.nat-discovery` (RFC 7443).
    NatDiscovery,
    /// `http/1.1`, of web clients and of Firefox behind a proxy.
    Http,
    /// `webrtc` (RFC 8833), which a browser may name in place of what it does with us.
    WebRtc,
    /// `c-webrtc` (RFC 8833), the same.
    ConfidentialWebRtc,
}

impl Protocol {
    /// All of them, in the order in which they are preferred.
    pub const ALL: [Self; 5] =
        [Self::Turn, Self::NatDiscovery, Self::Http, Self::WebRtc, Self::ConfidentialWebRtc];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turn => "stun.turn",
            Self::NatDiscovery => "stun.nat-discovery",
            Self::Http => "http/1.1",
            Self::WebRtc => "webrtc",
            Self::ConfidentialWebRtc => "c-webrtc",
        }
    }

    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().as_bytes() == name)
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246
    Tls12,
    /// RFC 8446
    Tls13,
}

/// A server that cannot be made: the system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct ServerError(#[from] rustls::Error);

impl Server {
    /// Makes a server that finds its certificates in `identities`, now and whenever they change.
    ///
    /// # Errors
    /// When the system gives no random numbers for the keys of tickets.
    pub fn new(identities: &Arc<Identities>, settings: &Settings) -> Result<Self, ServerError> {
        let versions: &[&SupportedProtocolVersion] = match settings.min_version {
            Version::Tls12 => &[&version::TLS13, &version::TLS12],
            Version::Tls13 => &[&version::TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(identities) as _);
        let names = settings.protocols.iter().map(|protocol| protocol.name().into());
        config.alpn_protocols = names.collect();
        // Tickets alone, under keys that change every six hours: no table that strangers fill.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        // A client comes back once: the second ticket of each handshake would be for nothing.
        config.send_tls13_tickets = 1;
        // RFC 8446 §8: early data can be replayed, and an Allocate must not be.
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config) })
    }
}
