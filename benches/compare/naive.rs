//! The floor: a relay made by the plainest means, to see what is asked of any.
//!
//! One thread, one epoll, one system call for each datagram that comes and one for each that goes, a hash by the
//! client's address, a socket for each allocation. It believes everybody, keeps no permissions and ends nothing by
//! itself: for a load tester on the same host, and for nothing else. UDP and IPv4 only.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use foldhash::fast::RandomState;
use slab::Slab;
use socket2::SockRef;
use turnwire::net::{Events, Interest, Poller, raise_descriptor_limit};
use turnwire::stun::{
    CHANNEL_HEADER, ChannelData, ChannelNumber, Class, DATA_INDICATION_MAX, Kind, Message, Method,
    Writer, attribute, decode_xor_address, write_channel_header, write_data_indication_header,
};

/// The poller's token of the listener; an allocation's is its place.
const LISTENER: u64 = u64::MAX;
/// Datagrams taken from one socket before the next has its turn.
const BATCH: usize = 64;
/// Receive buffers, in bytes: as much as the system gives.
const RECEIVE_BUFFER: usize = 4 << 20;
/// What every allocation is said to live, in seconds.
const LIFETIME: u32 = 600;
/// Where a datagram is received, so that any header has room in front of it.
const START: usize = DATA_INDICATION_MAX;

struct Naive {
    listener: UdpSocket,
    table: Table,
    buffer: Box<[u8]>,
    response: [u8; 256],
}

struct Table {
    relay: IpAddr,
    poller: Poller,
    allocations: Slab<Allocation>,
    clients: HashMap<SocketAddr, usize, RandomState>,
}

struct Allocation {
    socket: UdpSocket,
    client: SocketAddr,
    channels: Vec<(ChannelNumber, SocketAddr)>,
}

/// Relays until it is killed.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn serve(address: SocketAddr, relay: IpAddr) -> io::Result<Infallible> {
    // With the limit as it was, there are fewer allocations.
    let _ = raise_descriptor_limit();
    let (listener, poller) = (bound(address)?, Poller::new()?);
    poller.add(listener.as_fd(), LISTENER, Interest::Read)?;
    let (allocations, clients) = (Slab::new(), HashMap::default());
    let table = Table { relay, poller, allocations, clients };
    let buffer = vec![0; START + (1 << 16) + 4].into();
    let mut naive = Naive { listener, table, buffer, response: [0; 256] };
    let mut events = Events::with_capacity(256);
    loop {
        naive.table.poller.wait(&mut events, None)?;
        for event in events.iter() {
            match event.token() {
                LISTENER => naive.on_listener(),
                place => naive.on_relay(place as usize),
            }
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

impl Naive {
    fn on_listener(&mut self) {
        for _ in 0..BATCH {
            let Ok((length, client)) = self.listener.recv_from(&mut self.buffer) else {
                return;
            };
            let packet = &self.buffer[..length];
            // What cannot be understood or sent is dropped, here and below.
            if let Ok(data) = ChannelData::parse(packet) {
                let allocation = self.table.of(client);
                let peer = allocation.and_then(|found| found.peer_of(data.number));
                if let (Some(allocation), Some(peer)) = (allocation, peer) {
                    let _ = allocation.socket.send_to(&packet[data.payload], peer);
                }
            } else if let Ok(message) = Message::parse(packet)
                && let Some(length) = self.table.answer(client, &message, &mut self.response)
            {
                let _ = self.listener.send_to(&self.response[..length], client);
            }
        }
    }

    fn on_relay(&mut self, place: usize) {
        // It may have ended in this very round.
        let Some(allocation) = self.table.allocations.get(place) else {
            return;
        };
        for _ in 0..BATCH {
            let room = &mut self.buffer[START..];
            let Ok((length, peer)) = allocation.socket.recv_from(room) else {
                return;
            };
            let mut header = [0; DATA_INDICATION_MAX];
            let (bytes, padding) = match allocation.channel_to(peer) {
                Some(number) => {
                    let mut short = [0; CHANNEL_HEADER];
                    write_channel_header(&mut short, number, length as u16);
                    header[START - CHANNEL_HEADER..].copy_from_slice(&short);
                    (CHANNEL_HEADER, 0)
                }
                None => match write_data_indication_header(&mut header, [7; 12], peer, length) {
                    Some(bytes) => (bytes, length.next_multiple_of(4) - length),
                    None => continue,
                },
            };
            self.buffer[START - bytes..START].copy_from_slice(&header[START - bytes..]);
            self.buffer[START + length..START + length + padding].fill(0);
            let message = &self.buffer[START - bytes..START + length + padding];
            let _ = self.listener.send_to(message, allocation.client);
        }
    }
}

impl Table {
    fn of(&self, client: SocketAddr) -> Option<&Allocation> {
        self.allocations.get(*self.clients.get(&client)?)
    }

    /// Relays an indication, or writes the response to a request and tells its length.
    fn answer(
        &mut self,
        client: SocketAddr,
        message: &Message<'_>,
        out: &mut [u8],
    ) -> Option<usize> {
        let (kind, id) = (message.kind(), message.transaction_id());
        let peer = message.attribute(attribute::XOR_PEER_ADDRESS);
        let peer = peer.and_then(|value| decode_xor_address(value, &id).ok());
        if kind == Kind::indication(Method::SEND) {
            let data = message.attribute(attribute::DATA)?;
            let _ = self.of(client)?.socket.send_to(data, peer?);
        }
        if kind.class != Class::Request {
            return None;
        }
        let mut writer = Writer::new(out, Kind::success(kind.method), &id);
        match kind.method {
            Method::BINDING => writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client),
            Method::ALLOCATE => {
                writer.xor_address(attribute::XOR_RELAYED_ADDRESS, self.allocate(client)?);
                writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client);
                writer.number(attribute::LIFETIME, LIFETIME);
            }
            Method::REFRESH if message.attribute(attribute::LIFETIME) == Some(&[0; 4]) => {
                self.allocations.remove(self.clients.remove(&client)?);
                writer.number(attribute::LIFETIME, 0);
            }
            Method::REFRESH => writer.number(attribute::LIFETIME, LIFETIME),
            Method::CREATE_PERMISSION => {}
            Method::CHANNEL_BIND => {
                let number = message.attribute(attribute::CHANNEL_NUMBER)?.first_chunk()?;
                let channel = (ChannelNumber::new(u16::from_be_bytes(*number))?, peer?);
                let channels = &mut self.allocations[*self.clients.get(&client)?].channels;
                channels.retain(|old| old.0 != channel.0);
                channels.push(channel);
            }
            _ => return None,
        }
        writer.finish().ok()
    }

    /// The relayed address of a client: a new one, unless it has one.
    fn allocate(&mut self, client: SocketAddr) -> Option<SocketAddr> {
        if let Some(allocation) = self.of(client) {
            return allocation.socket.local_addr().ok();
        }
        let socket = bound((self.relay, 0).into()).ok()?;
        let (relayed, entry) = (socket.local_addr().ok()?, self.allocations.vacant_entry());
        self.poller.add(socket.as_fd(), entry.key() as u64, Interest::Read).ok()?;
        self.clients.insert(client, entry.key());
        entry.insert(Allocation { socket, client, channels: Vec::new() });
        Some(relayed)
    }
}

impl Allocation {
    fn peer_of(&self, number: ChannelNumber) -> Option<SocketAddr> {
        self.channels.iter().find(|channel| channel.0 == number).map(|channel| channel.1)
    }

    fn channel_to(&self, peer: SocketAddr) -> Option<ChannelNumber> {
        self.channels.iter().find(|channel| channel.1 == peer).map(|channel| channel.0)
    }
}
