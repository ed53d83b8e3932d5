use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::process;

/// Where a server and its load are.
pub(crate) struct Site {
    /// The command that enters the server's network, if it is another.
    pub(crate) enter: Vec<String>,
    /// Where the server listens.
    pub(crate) listen: IpAddr,
    /// Where it relays from.
    pub(crate) relay: IpAddr,
    /// Threads of the kernel that receive for the server alone.
    pub(crate) receivers: Vec<u32>,
    /// The next port to listen on, in a network of its own.
    port: Cell<u16>,
}

impl Site {
    /// All on one address of this host.
    pub(crate) fn loopback() -> Self {
        let here = Ipv4Addr::LOCALHOST.into();
        Self::new(Vec::new(), here, here, Vec::new())
    }

    pub(crate) fn new(
        enter: Vec<String>,
        listen: IpAddr,
        relay: IpAddr,
        receivers: Vec<u32>,
    ) -> Self {
        Self { enter, listen, relay, receivers, port: Cell::new(20_000) }
    }

    /// An address that nobody listens on.
    pub(crate) fn free_address(&self) -> SocketAddr {
        if self.enter.is_empty() {
            let probe = UdpSocket::bind((self.listen, 0)).expect("a free port");
            return probe.local_addr().expect("bound");
        }
        let port = self.port.get();
        self.port.set(port + 1);
        (self.listen, port).into()
    }

    /// CPU seconds that the kernel's receivers have used so far.
    pub(crate) fn receiving(&self) -> f64 {
        self.receivers.iter().map(|pid| process::cpu_seconds(*pid)).sum()
    }
}
