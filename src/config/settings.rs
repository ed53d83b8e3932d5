//! The configuration when it is checked: the settings of each room, and what an empty file means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Shown, Web};
use crate::auth::{Secret, User};
use crate::turn::{Limits, PeerRule, PortRange};
use crate::{auth, events, store, tls, turn, worker};

/// The port of STUN and TURN over UDP and TCP (RFC 8489 §18.6).
const PORT: u16 = 3478;

/// Everything that can be configured, checked, with its defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may come in: the default realm.
    pub auth: auth::Settings,
    /// Where other users live, in the order in which they are asked.
    pub stores: Vec<store::Settings>,
    /// Whether nobody has configured that, and it is the server's own database alone.
    pub own_database: bool,
    /// How long what they say is relied upon.
    pub store: Stores,
    /// Further realms.
    pub realms: Vec<Realm>,
    /// Listeners, threads, buffers, TCP connections.
    pub worker: worker::Settings,
    /// The second address and port for NAT behaviour discovery, at most one of each family.
    pub nat_alternates: Vec<SocketAddr>,
    /// Where allocations are made.
    pub relay: Relay,
    /// What the operator says about peers, in the order of the file and the flags.
    pub peers: Vec<PeerRule>,
    /// Other servers that clients are sent to.
    pub redirect: Redirect,
    /// How much of everything.
    pub limits: Limits,
    /// How TURN is spoken.
    pub turn: Turn,
    /// What TLS and DTLS are served with.
    pub tls: Tls,
    /// Metrics and health over HTTP.
    pub admin: Option<SocketAddr>,
    /// The Unix socket of the admin API.
    pub admin_socket: AdminSocket,
    /// What whoever has one may use the admin API over TCP with.
    pub admin_tokens: Vec<Secret>,
    /// The page and the credentials over HTTP.
    pub web: Web,
    /// Written as JSON when every socket is bound.
    pub ready_file: Option<PathBuf>,
    /// Where the generated secret is kept; found by itself when absent.
    pub state_directory: Option<PathBuf>,
    /// Whom to become when all is bound and read; nobody else when absent.
    pub user: Option<String>,
    /// The group to have then, in place of the user's own.
    pub group: Option<String>,
    /// Records of sessions, and where they go.
    pub events: events::Settings,
    /// The log.
    pub log: Log,
    /// How long live allocations may go on after SIGTERM.
    pub drain: Duration,
    /// Whether the process is kept to what it needs once it serves.
    pub sandbox: bool,
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
    /// Files with passwords or secrets in them that everybody on this host may read.
    pub exposed: Vec<PathBuf>,
    /// All of it, as it may be shown.
    pub shown: Shown,
}

impl Default for Config {
    /// What an empty configuration means.
    fn default() -> Self {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let listeners = any.map(|ip| SocketAddr::new(ip, PORT)).to_vec();
        Self {
            auth: auth::Settings::default(),
            stores: Vec::new(),
            own_database: false,
            store: Stores::default(),
            realms: Vec::new(),
            worker: worker::Settings { listeners, ..worker::Settings::default() },
            nat_alternates: Vec::new(),
            relay: Relay::default(),
            peers: Vec::new(),
            redirect: Redirect::default(),
            limits: Limits::default(),
            turn: Turn::default(),
            tls: Tls::default(),
            admin: None,
            admin_socket: AdminSocket::Auto,
            admin_tokens: Vec::new(),
            shown: Shown::default(),
            web: Web::default(),
            ready_file: None,
            state_directory: None,
            user: None,
            group: None,
            events: events::Settings::default(),
            log: Log { level: Level::Info, format: Format::Text },
            drain: Duration::ZERO,
            sandbox: true,
            files: Vec::new(),
            exposed: Vec::new(),
        }
    }
}

impl Config {
    /// Whether it says of anybody how to come in. With realms of their own the users of others come in, and the default
    /// one is for those who are configured. The server's own database says nothing: who is added to it joins those who
    /// came in before there was one.
    pub const fn has_credentials(&self) -> bool {
        let auth = &self.auth;
        let none = auth.users.is_empty() && auth.secrets.is_empty() && auth.tokens.keys.is_empty();
        !(none && (self.stores.is_empty() || self.own_database) && self.realms.is_empty())
    }
}

/// What is done with what stores say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stores {
    /// How long it is relied upon.
    pub retention: auth::Retention,
    /// How often their shared secrets are asked for.
    pub refresh_secrets: Duration,
}

impl Default for Stores {
    fn default() -> Self {
        let refresh_secrets = Duration::from_secs(60);
        Self { retention: auth::Retention::default(), refresh_secrets }
    }
}

/// A realm beside the default one.
#[derive(Clone, Debug)]
pub struct Realm {
    /// Who may come in.
    pub auth: auth::Settings,
    /// Where they come in.
    pub reach: auth::Reach,
    /// Its own rules about peers, in the order of the file.
    pub peers: Vec<PeerRule>,
    /// How much of everything, with what it has from the server's limits.
    pub limits: Limits,
}

/// Where allocations are made and what address is advertised for them.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Addresses of this host; found by itself when empty.
    pub addresses: Vec<IpAddr>,
    /// What a 1:1 NAT makes of them.
    pub external: Vec<External>,
    /// A STUN server that may be asked for the external address, as `host:port`.
    pub stun_server: Option<String>,
    /// How often it is looked whether these addresses are others by now; zero is never.
    pub check_interval: Duration,
    /// The ports of allocations.
    pub ports: PortRange,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            external: Vec::new(),
            stun_server: None,
            check_interval: Duration::from_secs(60),
            ports: PortRange::default(),
        }
    }
}

/// An address under which the relay is known outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// The address outside.
    pub public: IpAddr,
    /// The relay address it stands for; every one of its family when absent.
    pub private: Option<IpAddr>,
}

/// Other servers that clients are sent to (RFC 8489 §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// When.
    pub when: turn::Redirect,
    /// How often each is asked whether it is alive.
    pub interval: Duration,
    /// With whose credentials; with none, and no shared secret either, it is asked for a Binding only.
    pub credentials: Option<User>,
    /// The servers.
    pub servers: Vec<OtherServer>,
}

/// A server that takes the same credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherServer {
    /// What it is called in the log and the metrics.
    pub name: String,
    /// Where it listens for UDP and TCP, at most one of each family.
    pub addresses: Vec<SocketAddr>,
    /// Where it listens for TLS and DTLS, the same.
    pub tls_addresses: Vec<SocketAddr>,
    /// The name in its certificate.
    pub domain: Option<String>,
    /// How often it is chosen, compared with the others.
    pub weight: u32,
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            when: turn::Redirect::default(),
            interval: Duration::from_secs(10),
            credentials: None,
            servers: Vec::new(),
        }
    }
}

/// How TURN is spoken.
#[derive(Clone, Debug)]
pub struct Turn {
    /// SOFTWARE in authenticated responses.
    pub software: Option<String>,
    /// Lifetime of an allocation whose client asks for none.
    pub default_lifetime: Duration,
    /// The longest lifetime granted.
    pub max_lifetime: Duration,
    /// Whether allocations for TCP are made (RFC 6062).
    pub tcp_allocations: bool,
    /// Also admit channel numbers 0x5000-0x7FFF (RFC 5766).
    pub rfc5766_channels: bool,
    /// Whether clients are told in words why they are refused.
    pub explain: bool,
    /// Whether clients may take their allocations along to another address (RFC 8016).
    pub mobility: bool,
}

impl Default for Turn {
    fn default() -> Self {
        let turn::Settings {
            software,
            default_lifetime,
            max_lifetime,
            tcp_allocations,
            rfc5766_channels,
            explain,
            mobility,
            ..
        } = turn::Settings::default();
        Self {
            software,
            default_lifetime,
            max_lifetime,
            tcp_allocations,
            rfc5766_channels,
            explain,
            mobility,
        }
    }
}

/// What TLS and DTLS are served with.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates with their keys; the first serves whoever asks for no name that is known.
    pub certificates: Vec<tls::Files>,
    /// The lowest version of TLS.
    pub min_version: tls::Version,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificates: Vec::new(), min_version: tls::Settings::default().min_version }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Lines up to this level.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// A log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The operator must act.
    Error,
    /// Something is degraded.
    Warn,
    /// Lifecycle and one line for each ended session.
    Info,
    /// One line for each request.
    Debug,
}

impl Level {
    /// All of them, the quietest first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// As it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Where the admin API is served to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSocket {
    /// In the state directory, if there is one that can be used.
    Auto,
    /// Nowhere.
    Off,
    /// There.
    At(PathBuf),
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
