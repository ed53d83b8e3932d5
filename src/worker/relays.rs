use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use super::Stats;
use super::appetite::Appetite;
use super::engine::Token;
use super::outbox::Outbox;
use crate::net::{
    Buffers, Interest, Poller, SendBatch, UdpOptions, enable_drop_count, enable_gro, relay_socket,
};
use crate::turn::{OpenError, RelayId, RelaySockets};

/// The relay sockets of one worker, by [`RelayId::index`].
pub(super) struct Relays {
    open: Vec<Option<Relay>>,
    options: UdpOptions,
    /// Whether the kernel may hand over trains (UDP_GRO).
    pub(super) trains: bool,
}

/// One relay socket.
pub(super) struct Relay {
    pub(super) socket: UdpSocket,
    pub(super) appetite: Appetite,
    /// Whether the kernel joins its datagrams to trains and counts what it drops.
    pub(super) tells_more: bool,
    /// Datagrams that the kernel has dropped on it so far.
    pub(super) dropped: u32,
}

impl Relay {
    /// Lets the kernel hand over trains, if `trains`, and count what it drops, which it has done from the
    /// beginning. That is for sockets with bursts: others have neither trains nor losses, and are read with
    /// less.
    pub(super) fn tell_more(&mut self, trains: bool) {
        self.tells_more = true;
        // Without these it works as well: one datagram at a time, and losses unseen.
        if trains {
            let _ = enable_gro(self.socket.as_fd());
        }
        let _ = enable_drop_count(self.socket.as_fd());
    }
}

impl Relays {
    pub(super) fn new(buffer: usize, trains: bool) -> Self {
        let options = UdpOptions { receive_buffer: buffer, send_buffer: buffer };
        Self { open: Vec::new(), options, trains }
    }

    pub(super) fn get(&self, relay: RelayId) -> Option<&Relay> {
        self.open.get(relay.index())?.as_ref()
    }

    /// Files a socket and has it watched.
    ///
    /// # Errors
    /// The system's limit of watches is reached.
    pub(super) fn put(&mut self, id: RelayId, relay: Relay, poller: &Poller) -> io::Result<()> {
        let token = Token::Relay(id.index() as u32).pack();
        let watched = poller.add(relay.socket.as_fd(), token, Interest::Read);
        if self.open.len() <= id.index() {
            self.open.resize_with(id.index() + 1, || None);
        }
        self.open[id.index()] = Some(relay);
        watched
    }

    /// Takes a socket out, to be put to another worker's.
    pub(super) fn take(&mut self, id: RelayId, poller: &Poller) -> Option<Relay> {
        let relay = self.open.get_mut(id.index())?.take()?;
        // It stays open, so the poller would go on telling about it.
        let _ = poller.delete(relay.socket.as_fd());
        Some(relay)
    }

    pub(super) fn get_mut(&mut self, relay: RelayId) -> Option<&mut Relay> {
        self.open.get_mut(relay.index())?.as_mut()
    }
}

/// What the server may do to the relay sockets while it looks at a packet in the arena.
pub(super) struct Door<'a> {
    pub(super) relays: &'a mut Relays,
    pub(super) poller: &'a Poller,
    pub(super) sends: &'a mut SendBatch,
    pub(super) buffers: &'a Buffers,
    pub(super) stats: &'a Stats,
}

impl<'a> Door<'a> {
    pub(super) fn new(
        relays: &'a mut Relays,
        poller: &'a Poller,
        outbox: &'a mut Outbox,
        stats: &'a Stats,
    ) -> Self {
        Self { relays, poller, sends: &mut outbox.sends, buffers: &outbox.buffers, stats }
    }
}

impl RelaySockets for Door<'_> {
    fn open(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError> {
        let socket =
            relay_socket(address, &self.relays.options).map_err(|error| match error.kind() {
                ErrorKind::AddrInUse => OpenError::PortInUse,
                _ => OpenError::Unavailable,
            })?;
        let opened = Relay { socket, appetite: Appetite::new(), tells_more: false, dropped: 0 };
        self.relays.put(relay, opened, self.poller).map_err(|_| {
            self.relays.open[relay.index()] = None;
            OpenError::Unavailable
        })
    }

    fn close(&mut self, relay: RelayId) {
        // The batch knows the socket by its number: what it holds has to leave first.
        if !self.sends.is_empty() {
            self.stats.sent(self.sends.flush(self.buffers));
        }
        if let Some(open) = self.relays.open.get_mut(relay.index()) {
            *open = None;
        }
    }
}
