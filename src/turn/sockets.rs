use std::net::SocketAddr;

use super::{Client, RelayId};

/// Opens and closes the sockets of allocations, and knows those of clients.
pub trait RelaySockets {
    /// Opens a UDP socket at the address for the relay.
    ///
    /// # Errors
    /// [`OpenError`] tells whether another port may help.
    fn open(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError>;

    /// Listens for TCP connections at the address for the relay.
    ///
    /// # Errors
    /// As for [`Self::open`].
    fn listen(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError>;

    /// Closes it. What was relayed before is to be sent first; when this returns, the port may be
    /// given to another allocation.
    fn close(&mut self, relay: RelayId);

    /// The name that the client has asked for in TLS or DTLS (SNI), if it has.
    fn server_name(&self, client: &Client) -> Option<&str> {
        let _ = client;
        None
    }
}

/// Why a relay socket cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Somebody else on the host has the port.
    PortInUse,
    /// No port will help: the system is out of descriptors, or the address is not this host's.
    Unavailable,
}

/// Source of unpredictable numbers: relay ports and reservation tokens are made of them.
pub trait Random: Send {
    /// The next number.
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64 + Send> Random for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}
