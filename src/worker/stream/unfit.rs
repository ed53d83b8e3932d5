//! Why a connection is closed for what it says, and how often that is told.

use std::fmt;
use std::time::Duration;

use super::proxy::Malformed;
use crate::stun::Hopeless;
use crate::time::Mono;
use crate::tls;

/// How often one kind is told at most when nobody has asked for all of them: an open port sees it all day.
const INTERVAL: Duration = Duration::from_secs(60);

/// Why a connection was closed for what it said, in words that help.
#[derive(Clone, Debug)]
pub enum Unfit {
    /// Its address is a proxy's, and no PROXY protocol header comes from there.
    NoProxyHeader,
    /// Its address is a proxy's, and the header makes no sense.
    ProxyHeader(Malformed),
    /// It brings a PROXY protocol header, and its address is not a proxy's.
    UntrustedProxy,
    /// No TLS on a listener for nothing else.
    PlainOnTls,
    /// TLS, and there is no certificate.
    TlsWithoutCertificate,
    /// TLS has failed.
    Tls(tls::Failure),
    /// It has not said in time what it wants: no whole PROXY protocol header, TLS handshake or first message.
    TooSlow,
    /// Neither TURN, nor TLS, nor HTTP: its first byte.
    Unknown(u8),
    /// TURN that cannot be understood any more.
    Turn(Hopeless),
}

impl Unfit {
    /// How many there are for the metrics.
    pub const COUNT: usize = Self::LABELS.len();
    /// The metric labels, in the order of [`Self::index`].
    pub const LABELS: [&'static str; 9] = [
        "no_proxy_header",
        "proxy_header",
        "untrusted_proxy",
        "plain_on_tls",
        "tls_without_certificate",
        "tls",
        "too_slow",
        "unknown",
        "turn",
    ];

    /// Its place among the metrics' labels.
    pub const fn index(&self) -> usize {
        match self {
            Self::NoProxyHeader => 0,
            Self::ProxyHeader(_) => 1,
            Self::UntrustedProxy => 2,
            Self::PlainOnTls => 3,
            Self::TlsWithoutCertificate => 4,
            Self::Tls(_) => 5,
            Self::TooSlow => 6,
            Self::Unknown(_) => 7,
            Self::Turn(_) => 8,
        }
    }

    /// The metric label and log word.
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// Whether somebody has set something up wrong, here or at the client's: worth a line in any log. The others
    /// are what every open port gets to see.
    pub const fn is_setup(&self) -> bool {
        !matches!(self, Self::TooSlow | Self::Unknown(_) | Self::Turn(_))
    }
}

impl From<Malformed> for Unfit {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Missing => Self::NoProxyHeader,
            other => Self::ProxyHeader(other),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProxyHeader => f.write_str(
                "no PROXY protocol header, which is required of its address by listen.proxies: turn it on in that \
                 proxy (haproxy: send-proxy-v2, nginx: proxy_protocol on), or take the address out",
            ),
            Self::ProxyHeader(what) => write!(f, "{what}"),
            Self::UntrustedProxy => f.write_str(
                "a PROXY protocol header from an address that is not in listen.proxies: add it if this is your proxy",
            ),
            Self::PlainOnTls => f.write_str(
                "no TLS on a listener that has nothing else (listen.tls): turn: and turns: may be mixed up in the \
                 client's URI; plain TURN goes to listen.addresses",
            ),
            Self::TlsWithoutCertificate => f.write_str(
                "TLS, and this server has no certificate: set tls.certificates, or --cert and --key; \
                 turn: and turns: may also be mixed up in the client's URI",
            ),
            Self::Tls(failure) => write!(f, "TLS: {failure}"),
            Self::TooSlow => f.write_str("it took too long to say what it wants (limits.streams.handshake)"),
            Self::Unknown(first) => {
                write!(f, "neither STUN, nor TURN, nor TLS, nor HTTP: first byte {first:#04x}")
            }
            Self::Turn(what) => write!(f, "{what}"),
        }
    }
}

/// When each kind was told last.
#[derive(Default)]
pub(in crate::worker) struct Told {
    kinds: [Option<Mono>; Unfit::COUNT],
    failures: [Option<Mono>; tls::Cause::COUNT],
}

impl Told {
    /// Whether somebody should be told although nobody has asked for it.
    pub(in crate::worker) fn is_due(&mut self, why: &Unfit, now: Mono) -> bool {
        let last = match why {
            Unfit::Tls(failure) => &mut self.failures[failure.cause.index()],
            _ => &mut self.kinds[why.index()],
        };
        let due = why.is_setup() && last.is_none_or(|last| last + INTERVAL <= now);
        if due {
            *last = Some(now);
        }
        due
    }
}
