//! The sockets of relayed transport addresses, which the core opens and closes through a [`Door`].

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use super::Stats;
use super::appetite::Appetite;
use super::dtls::Dtls;
use super::engine::Token;
use super::outbox::Outbox;
use super::streams::Streams;
use crate::net::{
    Buffers, Family, Interest, Poller, SendBatch, UdpOptions, bare_relay_socket, enable_drop_count,
    enable_gro, enable_traffic_class, ready_to_send, relay_listener,
};
use crate::turn::{Client, OpenError, RelayId, RelaySockets, Transport};

/// Connections that may wait to be accepted on one relay.
const BACKLOG: u16 = 16;

/// The relay sockets of one worker, by [`RelayId::index`].
pub(super) struct Relays {
    open: Vec<Option<Relay>>,
    /// Those that relay TCP: few, if any.
    listeners: HashMap<usize, RelayListener>,
    /// Those of them on which nothing is accepted for a moment.
    paused: Vec<usize>,
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
    /// Whether it tells the traffic class of each.
    tells_class: bool,
    /// Datagrams that the kernel has dropped on it so far.
    pub(super) dropped: u32,
    family: Family,
    /// Whether a packet has been sent from it, or waits in the batch.
    sends: bool,
}

impl Relay {
    fn new(socket: UdpSocket, family: Family) -> Self {
        let (appetite, dropped) = (Appetite::new(), 0);
        let (tells_more, tells_class, sends) = (false, false, false);
        Self { socket, appetite, tells_more, tells_class, dropped, family, sends }
    }

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

    /// Lets the kernel tell the traffic class of what comes, and of what has come already: before the first is read
    /// is early enough.
    pub(super) fn tell_class(&mut self) {
        if !self.tells_class {
            self.tells_class = true;
            // No error is possible for an open socket of the family.
            let _ = enable_traffic_class(self.socket.as_fd(), self.family);
        }
    }
}

/// One relay that TCP connections come to and are made from.
pub(super) struct RelayListener {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
}

impl Relays {
    pub(super) fn new(buffer: usize, trains: bool) -> Self {
        let options = UdpOptions { receive_buffer: buffer, send_buffer: buffer };
        Self { open: Vec::new(), listeners: HashMap::new(), paused: Vec::new(), options, trains }
    }

    /// Gives sockets that are opened from now on other buffers.
    pub(super) const fn set_buffer(&mut self, bytes: usize) {
        self.options = UdpOptions { receive_buffer: bytes, send_buffer: bytes };
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

    /// The relay that a packet leaves by. The first one makes its socket ready to send: most
    /// allocations never send any, because their clients find a shorter way.
    pub(super) fn for_sending(&mut self, relay: RelayId) -> Option<&Relay> {
        let relay = self.open.get_mut(relay.index())?.as_mut()?;
        if !relay.sends {
            relay.sends = true;
            // No error is possible for an open socket of the family.
            let _ = ready_to_send(relay.socket.as_fd(), relay.family);
        }
        Some(relay)
    }

    pub(super) fn get_mut(&mut self, relay: RelayId) -> Option<&mut Relay> {
        self.open.get_mut(relay.index())?.as_mut()
    }

    pub(super) fn listener(&self, relay: RelayId) -> Option<&RelayListener> {
        self.listeners.get(&relay.index())
    }

    /// Leaves the peers that connect to a relay alone.
    pub(super) fn pause(&mut self, relay: RelayId, poller: &Poller) {
        self.paused.push(relay.index());
        self.listen_to(relay.index(), poller, Interest::Errors);
    }

    /// Accepts again where it was paused.
    pub(super) fn resume(&mut self, poller: &Poller) {
        while let Some(index) = self.paused.pop() {
            self.listen_to(index, poller, Interest::Read);
        }
    }

    fn listen_to(&self, index: usize, poller: &Poller, interest: Interest) {
        if let Some(listener) = self.listeners.get(&index) {
            let token = Token::RelayListener(index as u32).pack();
            // It was added when it was opened, so it can be changed.
            let _ = poller.modify(listener.socket.as_fd(), token, interest);
        }
    }
}

fn why(error: &io::Error) -> OpenError {
    match error.kind() {
        ErrorKind::AddrInUse => OpenError::PortInUse,
        _ => OpenError::Unavailable,
    }
}

/// What the server may do to the relay sockets while it looks at a packet in the arena.
pub(super) struct Door<'a> {
    relays: &'a mut Relays,
    poller: &'a Poller,
    sends: &'a mut SendBatch,
    pub(super) buffers: &'a Buffers,
    stats: &'a Stats,
    /// Whose packet it may be.
    clients: Option<Clients<'a>>,
}

/// The connections and associations of a worker's clients.
#[derive(Clone, Copy)]
struct Clients<'a> {
    streams: &'a Streams,
    dtls: Option<&'a Dtls>,
}

impl<'a> Clients<'a> {
    /// The name that a client has asked for (SNI).
    fn asked_name(self, client: &Client) -> Option<&'a str> {
        match client.tuple.transport {
            Transport::Tls => {
                let stream = self.streams.get(client.leg).filter(|it| it.tuple == client.tuple);
                stream?.wire.session()?.asked_name()
            }
            Transport::Dtls => self.dtls?.asked_name(client),
            Transport::Udp | Transport::Tcp => None,
        }
    }
}

impl<'a> Door<'a> {
    pub(super) fn new(
        relays: &'a mut Relays,
        poller: &'a Poller,
        outbox: &'a mut Outbox,
        stats: &'a Stats,
    ) -> Self {
        let (sends, buffers) = (&mut outbox.sends, &outbox.buffers);
        Self { relays, poller, sends, buffers, stats, clients: None }
    }

    /// With what is known of the clients.
    pub(super) fn knowing(self, streams: &'a Streams, dtls: Option<&'a Dtls>) -> Self {
        Self { clients: Some(Clients { streams, dtls }), ..self }
    }
}

impl RelaySockets for Door<'_> {
    fn server_name(&self, client: &Client) -> Option<&str> {
        self.clients?.asked_name(client)
    }

    fn open(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError> {
        let socket =
            bare_relay_socket(address, &self.relays.options).map_err(|error| why(&error))?;
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        self.relays.put(relay, Relay::new(socket, family), self.poller).map_err(|_| {
            self.relays.open[relay.index()] = None;
            OpenError::Unavailable
        })
    }

    fn listen(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError> {
        let socket = relay_listener(address, BACKLOG).map_err(|error| why(&error))?;
        let token = Token::RelayListener(relay.index() as u32).pack();
        self.poller
            .add(socket.as_fd(), token, Interest::Read)
            .map_err(|_| OpenError::Unavailable)?;
        self.relays.listeners.insert(relay.index(), RelayListener { socket, address });
        Ok(())
    }

    fn close(&mut self, relay: RelayId) {
        if self.relays.listeners.remove(&relay.index()).is_some() {
            return;
        }
        let Some(relay) = self.relays.open.get_mut(relay.index()).and_then(Option::take) else {
            return;
        };
        // The batch knows the socket by its number: what it holds of it has to leave first.
        if relay.sends && !self.sends.is_empty() {
            self.stats.sent(self.sends.flush(self.buffers));
        }
        drop(relay);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::net::{HEADROOM, Offload, Outgoing, RecvBatch};
    use crate::worker::appetite::BATCH;

    const RELAY: RelayId = RelayId::from_index(0);
    const SIZE: usize = 1000;

    /// One relay with a peer that sends to it.
    struct Scene {
        relays: Relays,
        outbox: Outbox,
        receive: RecvBatch,
        peer: UdpSocket,
    }

    impl Scene {
        fn new(buffer: usize) -> Self {
            let offload = Offload::probe();
            let mut scene = Self {
                relays: Relays::new(buffer, offload.receive),
                outbox: Outbox::new(offload.send),
                receive: RecvBatch::new(BATCH),
                peer: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            };
            let (poller, stats) = (Poller::new().unwrap(), Stats::default());
            let mut door = Door::new(&mut scene.relays, &poller, &mut scene.outbox, &stats);
            door.open(RELAY, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            scene
        }

        /// Sends datagrams of one size, as a train where the kernel can.
        fn send(&mut self, count: u32) {
            let to = self.relays.get(RELAY).unwrap().socket.local_addr().unwrap();
            let socket = std::os::fd::AsRawFd::as_raw_fd(&self.peer);
            let (start, len) = (HEADROOM as u32, SIZE as u32);
            for _ in 0..count {
                let (from, slot, dont_fragment, traffic_class) = (None, 0, false, 0);
                let datagram =
                    Outgoing { socket, to, from, slot, start, len, dont_fragment, traffic_class };
                self.outbox.sends.push(datagram);
            }
            self.outbox.sends.flush(&self.outbox.buffers);
        }

        fn tell_more(&mut self) {
            let trains = self.relays.trains;
            self.relays.get_mut(RELAY).unwrap().tell_more(trains);
        }

        /// Reads all that there is: the number of segments of each message, and the drop count.
        fn read(&mut self) -> (Vec<usize>, Option<u32>) {
            let socket = self.relays.get(RELAY).unwrap().socket.as_fd();
            let buffers = &mut self.outbox.buffers;
            let (mut messages, mut dropped) = (Vec::new(), None);
            loop {
                let count = self.receive.receive(socket, buffers, 0, BATCH).unwrap();
                if count == 0 {
                    return (messages, dropped);
                }
                dropped = self.receive.drop_count().or(dropped);
                let datagrams = (0..count).filter_map(|i| self.receive.datagram(i));
                messages.extend(datagrams.map(|datagram| datagram.segments().len()));
            }
        }
    }

    #[test]
    fn what_comes_before_trains_are_asked_for_comes_singly_and_is_not_lost() {
        let mut scene = Scene::new(1 << 20);
        scene.send(30);
        scene.tell_more();
        assert_eq!(scene.read().0, [1; 30]);
        scene.send(30);
        match Offload::probe() {
            Offload { receive: true, send: true } => assert_eq!(scene.read().0, [30]),
            _ => assert_eq!(scene.read().0, [1; 30]),
        }
    }

    #[test]
    fn datagrams_lost_before_they_were_counted_are_counted() {
        let mut scene = Scene::new(4 * SIZE);
        scene.send(60);
        scene.tell_more();
        let (messages, unknown) = scene.read();
        assert!(messages.len() < 60);
        assert_eq!(unknown, None);
        scene.send(1);
        let lost = 60 - messages.len() as u32;
        assert_eq!(scene.read(), (vec![1], Some(lost)));
    }
}
