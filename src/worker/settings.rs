//! How the datapath is laid out. What can change while it runs stands in `orders`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::proxy;
use crate::net::Endpoint;
use crate::tls;
use crate::turn::Prefix;

/// How the datapath is laid out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads, each with its own listener sockets; 0 means one for each core.
    pub workers: usize,
    /// Where UDP and TCP are listened on; port 0 takes a free one, the same for both.
    pub listeners: Vec<SocketAddr>,
    /// Where TLS over TCP alone is listened on; port 0 takes a free one.
    pub tls_listeners: Vec<SocketAddr>,
    /// With this TLS is served, on the TCP side of every listener.
    pub tls: Option<tls::Server>,
    /// Addresses whose connections begin with a PROXY protocol header.
    pub proxies: Vec<Prefix>,
    /// Where DTLS alone is listened for, on UDP; port 0 takes a free one.
    pub dtls_listeners: Vec<SocketAddr>,
    /// Whether DTLS is also served on the UDP side of [`Self::listeners`].
    pub dtls_on_udp: bool,
    /// Bounds on DTLS associations.
    pub dtls_limits: DtlsLimits,
    /// The certificates; without them there is no DTLS.
    pub identities: Option<Arc<tls::Identities>>,
    /// Second addresses for NAT behaviour discovery.
    pub alternates: Vec<Alternate>,
    /// Receive and send buffer asked for a UDP listener socket, in bytes; 0 leaves the system's.
    pub listener_buffer: usize,
    /// The same for the socket of an allocation.
    pub relay_buffer: usize,
    /// Whether trains of datagrams move with one system call, where the kernel can (UDP_GRO,
    /// UDP_SEGMENT).
    pub trains: bool,
    /// The longest time for which a busy worker lets packets gather before it takes them, at most 100 microseconds;
    /// zero takes each as soon as it comes. A worker with little to do never waits.
    pub gather: Duration,
    /// Whether a datagram keeps its DSCP when it comes and goes over UDP (RFC 8656 §14).
    pub pass_dscp: bool,
    /// Whether it keeps its ECN bits.
    pub pass_ecn: bool,
    /// What becomes of HTTP.
    pub web: WebSettings,
    /// Bounds on TCP connections.
    pub streams: StreamLimits,
}

impl Settings {
    /// The bits of the traffic class that are kept.
    pub(super) const fn passed_class(&self) -> u8 {
        passed_class(self.pass_dscp, self.pass_ecn)
    }

    /// How many workers that is on this machine.
    pub fn threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }
}

/// The bits of the traffic class that are kept.
pub(super) const fn passed_class(dscp: bool, ecn: bool) -> u8 {
    let (dscp, ecn) = (if dscp { 0xFC } else { 0 }, if ecn { 0x03 } else { 0 });
    dscp | ecn
}

/// A second address and port beside those of a listener (RFC 5780 §6): what is not listened on yet
/// of the four that these make is listened on besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// The place of the listener among [`Settings::listeners`]; its port is the first.
    pub listener: usize,
    /// The first address: the listener's own, or one of those that a wildcard stands for.
    pub first: IpAddr,
    /// The second address, another than the first, and the second port; 0 takes a free one.
    pub second: SocketAddr,
}

/// Bounds on TCP connections.
#[derive(Clone, Debug)]
pub struct StreamLimits {
    /// Connections of one client address (IPv6: of its /64); 0 means no bound.
    pub per_address: u32,
    /// Connections without an allocation on the whole server; when it is reached, the oldest of
    /// them is closed for the newest.
    pub without_allocation: u32,
    /// How long a connection may be without an allocation.
    pub idle: Duration,
    /// How long it may take to say what it wants: a PROXY protocol header, a TLS handshake, the first message.
    pub handshake: Duration,
    /// Bytes that may wait for a slow client; what comes on top is dropped, as UDP would.
    pub queue: usize,
    /// HTTP connections that are passed on, on the whole server.
    pub web: u32,
    /// How long such a connection may be silent on both sides.
    pub web_idle: Duration,
}

/// Bounds on DTLS associations and on the handshakes that make them.
#[derive(Clone, Debug)]
pub struct DtlsLimits {
    /// Associations and handshakes of one client address (IPv6: of its /64); 0 means no bound.
    pub per_address: u32,
    /// Handshakes at a time on the whole server, of clients that have proved their addresses;
    /// when it is reached, the oldest of the address that has most ends for the newest. Each takes
    /// up to 100 KiB.
    pub handshakes: u32,
    /// Those of one client address (IPv6: of its /64); when it is reached, the oldest of them ends
    /// for the newest. 0 means no bound.
    pub handshakes_per_address: u32,
    /// Handshakes that one client address may begin each second, twice as many at once; 0 means
    /// no bound.
    pub handshakes_per_second: u32,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// Associations without an allocation on the whole server; when it is reached, the oldest of
    /// them is closed for the newest.
    pub without_allocation: u32,
    /// How long an association may be without an allocation.
    pub idle: Duration,
}

impl StreamLimits {
    /// One worker's share.
    pub(super) fn per_worker(&self, workers: usize) -> Self {
        let without_allocation = share(self.without_allocation, workers);
        Self { without_allocation, ..self.clone() }
    }
}

impl DtlsLimits {
    /// One worker's share.
    pub(super) fn per_worker(&self, workers: usize) -> Self {
        Self {
            handshakes: share(self.handshakes, workers),
            handshakes_per_address: share(self.handshakes_per_address, workers),
            without_allocation: share(self.without_allocation, workers),
            ..self.clone()
        }
    }
}

const fn share(all: u32, workers: usize) -> u32 {
    all.div_ceil(if workers == 0 { 1 } else { workers as u32 })
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 0,
            listeners: Vec::new(),
            tls_listeners: Vec::new(),
            tls: None,
            proxies: Vec::new(),
            dtls_listeners: Vec::new(),
            dtls_on_udp: true,
            dtls_limits: DtlsLimits::default(),
            identities: None,
            alternates: Vec::new(),
            listener_buffer: 4 << 20,
            relay_buffer: 0,
            trains: true,
            gather: Duration::ZERO,
            pass_dscp: true,
            pass_ecn: true,
            web: WebSettings::default(),
            streams: StreamLimits::default(),
        }
    }
}

impl Default for DtlsLimits {
    fn default() -> Self {
        Self {
            per_address: 1024,
            handshakes: 1024,
            handshakes_per_address: 64,
            handshakes_per_second: 50,
            handshake: Duration::from_secs(30),
            without_allocation: 4096,
            idle: Duration::from_secs(30),
        }
    }
}

/// What becomes of HTTP.
#[derive(Clone, Debug, Default)]
pub struct WebSettings {
    /// The web server that it is passed on to, without TLS; when absent, it is answered with words.
    pub backend: Option<Endpoint>,
    /// The backend is told with such a header whose connection it is.
    pub header: Option<proxy::Version>,
    /// Also pass on what comes without TLS.
    pub plain: bool,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            per_address: 1024,
            without_allocation: 4096,
            idle: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            queue: 256 << 10,
            web: 1024,
            web_idle: Duration::from_secs(300),
        }
    }
}
