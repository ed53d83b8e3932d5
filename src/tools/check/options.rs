use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::Fault;
use super::link::Link;
use super::target::{Target, Way};
use super::walk::fault_of;
use crate::auth::{Secret, parse_username};
use crate::client::{Credentials, Scheme, Uri};
use crate::tls::{Probes, Trust};
use crate::tools::{argument, password};

/// For how long the credentials are minted that a check needs, in seconds.
const MINTED: u64 = 3600;
/// The same for those that a server takes whose clock is far ahead: ten years.
pub(super) const FAR: u64 = 10 * 365 * 24 * 3600;

/// The flags of `turnwire check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Servers: turn:HOST, turn:HOST:PORT?transport=tcp, turns:HOST, stun:HOST
    #[arg(value_name = "URI", required_unless_present = "list")]
    pub uris: Vec<Uri>,

    /// User name
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// The user's password (`ps` shows it)
    #[arg(long, value_name = "PASSWORD", value_parser = argument::secret, requires = "user")]
    pub password: Option<Secret>,

    /// A file with nothing but the user's password in it, or - for standard input
    #[arg(long, value_name = "FILE", requires = "user", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,

    /// Shared secret to mint an ephemeral credential with, instead of a password (`ps` shows it)
    #[arg(long, value_name = "SECRET", value_parser = argument::secret, conflicts_with_all = ["password", "password_file"])]
    pub secret: Option<Secret>,

    /// A file with the shared secret in it, the first where it has several, one a line, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["secret", "password", "password_file"])]
    pub secret_file: Option<PathBuf>,

    /// Try UDP, TCP, TLS and DTLS, by IPv4 and IPv6, instead of what the URI says
    #[arg(long)]
    pub all: bool,

    /// Only by IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Only by IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,

    /// The realm that the server should name
    #[arg(long, value_name = "REALM")]
    pub realm: Option<String>,

    /// The address that relays should have
    #[arg(long, value_name = "IP")]
    pub relay: Option<IpAddr>,

    /// Certificates (PEM) that vouch for the server, instead of this system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Packets that go to and fro through the relay
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub packets: u32,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Try the MUSTs of RFC 8489, 8656, 6062, 5780 and 8016, one by one, instead of looking for what is wrong
    #[arg(long)]
    pub conformance: bool,

    /// Of the conformance cases only those whose name begins so (may be repeated)
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "conformance")]
    pub only: Vec<String>,

    /// List the conformance cases with their sections, and ask no server
    #[arg(long, requires = "conformance")]
    pub list: bool,

    /// Print the conformance report as JUnit's XML
    #[arg(long, requires = "conformance", conflicts_with = "json")]
    pub junit: bool,
}

/// What all walks have in common.
pub(in crate::tools) struct Start {
    /// When it began, in seconds since 1970.
    pub(super) unix: u64,
    pub(in crate::tools) identity: Option<Identity>,
    pub(super) probes: Probes,
}

/// Who asks.
pub(in crate::tools) struct Identity {
    pub(in crate::tools) credentials: Arc<Credentials>,
    pub(super) kind: Known,
    /// Minted with the same secret, for a server whose clock is ahead.
    pub(super) later: Option<Arc<Credentials>>,
}

/// What is known about the credentials themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A name and a password.
    Password,
    /// An ephemeral name that somebody else has minted, and until when it is good.
    Ephemeral(u64),
    /// Minted here from the shared secret.
    Minted,
}

impl Start {
    /// One more client at a server.
    ///
    /// # Errors
    /// There is no way to it.
    pub(in crate::tools) fn open(&self, target: &Target) -> Result<Link, Fault> {
        let Target { host, way, address, .. } = target;
        let link = match way {
            Way::Udp => Link::udp(*address),
            Way::Tcp => Link::tcp(*address),
            Way::Tls => {
                let probe = self.probes.of(Some(host), address.ip());
                let probe = probe.map_err(|error| Fault::Here(error.to_string()))?;
                let client =
                    probe.connect().map_err(|error| Fault::TlsFailed(error.to_string()))?;
                Link::tcp(*address).and_then(|link| link.secure(client))
            }
            #[cfg(feature = "dtls")]
            Way::Dtls => {
                let client = crate::tls::dtls::Client::new(host).map_err(Fault::TlsFailed)?;
                Link::dtls(*address, client)
            }
            #[cfg(not(feature = "dtls"))]
            Way::Dtls => return Err(Fault::Here("built without DTLS".to_owned())),
        };
        link.map_err(|broken| fault_of(broken, *way))
    }
}

impl Options {
    /// Reads and mints what the walks need.
    pub(in crate::tools) fn start(&self, unix: u64) -> Result<Start, String> {
        let trust = self.ca.clone().map_or(Trust::System, Trust::Authorities);
        let probes = Probes::trusting(&trust).map_err(|error| error.to_string())?;
        let identity = self.identity(unix)?;
        if identity.is_none() && self.uris.iter().any(|uri| uri.scheme == Scheme::Turn) {
            return Err(
                "who are you? nobody gets a relay without credentials: give --user with --password \
                 or --password-file, or --secret, or --secret-file (of a server that made its secret itself, the file \
                 that its log names at the start)"
                    .to_owned(),
            );
        }
        Ok(Start { unix, identity, probes })
    }

    fn identity(&self, unix: u64) -> Result<Option<Identity>, String> {
        let words = |error: crate::client::InvalidCredentials| error.to_string();
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(path)) => Some(password::shared(path)?),
            (None, None) => None,
        };
        if let Some(secret) = secret {
            let user = self.user.as_deref().unwrap_or("turnwire-check");
            let minted = |ttl| {
                Credentials::ephemeral(&secret, user, unix + ttl).map(Arc::new).map_err(words)
            };
            let (credentials, later) = (minted(MINTED)?, Some(minted(FAR)?));
            return Ok(Some(Identity { credentials, kind: Known::Minted, later }));
        }
        let password = match (&self.password, &self.password_file) {
            (None, Some(path)) => Some(password::old("password", Some(path))?),
            (given, _) => given.clone(),
        };
        let (Some(user), Some(password)) = (&self.user, password) else {
            return Ok(None);
        };
        let credentials = Arc::new(Credentials::new(user, &password).map_err(words)?);
        let kind = match parse_username(user, ':') {
            // A plain number is as likely a telephone number.
            Some((expires, _)) if expires > 1_000_000_000 => Known::Ephemeral(expires),
            _ => Known::Password,
        };
        Ok(Some(Identity { credentials, kind, later: None }))
    }
}
