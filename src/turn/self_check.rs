//! Whether this server relays is found out by relaying: the process asks itself, as a client would, for an allocation
//! with a peer in the same process.
//!
//! Its peer is at a loopback address, which is denied to everybody. What is opened for it is opened for one user, whose
//! password never leaves the process, from one socket, to one peer. It counts nowhere: not in the metrics, not against
//! quotas, and no session is told of.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{FiveTuple, Transport};

/// Who checks, and with which peers.
#[derive(Debug)]
pub struct SelfCheck {
    /// The user, unknown outside of the process.
    username: String,
    /// The peers, at loopback addresses.
    peers: Vec<SocketAddr>,
    /// The port of the socket that checks now; 0 for none.
    port: AtomicU16,
}

impl SelfCheck {
    /// A check as this user, with one of these peers.
    pub const fn new(username: String, peers: Vec<SocketAddr>) -> Self {
        Self { username, peers, port: AtomicU16::new(0) }
    }

    /// Says from which port it is asked from now on; 0 for from none.
    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// The user.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Its peers.
    pub fn peers(&self) -> &[SocketAddr] {
        &self.peers
    }

    /// Whether a packet may have come from the check itself. The kernel lets no packet in whose sender has an address
    /// of this host.
    pub(super) fn may_be(&self, tuple: &FiveTuple) -> bool {
        let port = self.port.load(Ordering::Relaxed);
        let from = tuple.client.ip();
        tuple.client.port() == port
            && port != 0
            && tuple.transport == Transport::Udp
            && (from == tuple.server.ip() || from.is_loopback())
    }

    /// Whether a request of this user is.
    pub(super) fn is(&self, tuple: &FiveTuple, username: &str) -> bool {
        self.may_be(tuple) && username == self.username
    }
}
