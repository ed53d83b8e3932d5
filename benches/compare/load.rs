use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use turnwire::net::{Buffers, Events, HEADROOM, Interest, Outgoing, Poller, RecvBatch, SendBatch};
use turnwire::stun::{Kind, Message, Method, TransactionId, Writer, attribute};

use crate::server::Running;
use crate::session::Session;

/// Packets on their way at any time, over all clients.
const IN_FLIGHT: usize = 64;
const CHANNEL: u16 = 0x4000;
const BATCH: usize = 64;
const MARK: u64 = 0x5457_4C4F_4144_0001;

/// Clients that send, and the peer that echoes; all in one thread.
pub(crate) struct Load {
    server: SocketAddr,
    sessions: Vec<Session>,
    peer: UdpSocket,
    size: usize,
    indications: bool,
    poller: Poller,
    buffers: Buffers,
    receive: RecvBatch,
    sends: SendBatch,
    used: usize,
    /// Number of the last packet that each client has sent.
    numbers: Vec<u64>,
    delivered: u64,
    echoed: u64,
    bad: u64,
    lost: u64,
}

/// What one run has found.
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// Server CPU microseconds per relayed packet.
    pub(crate) cpu_micros: f64,
    pub(crate) lost: u64,
    pub(crate) bad: u64,
}

impl Load {
    pub(crate) fn start(
        server: SocketAddr,
        clients: usize,
        size: usize,
        indications: bool,
    ) -> Self {
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a peer");
        let address = peer.local_addr().expect("bound");
        let poller = Poller::new().expect("a poller");
        let mut sessions = Vec::new();
        for number in 0..clients {
            let mut session = Session::new(server);
            session.allocate().expect("an allocation");
            if indications {
                session.permit(address);
            } else {
                session.bind(CHANNEL, address);
            }
            session.socket.set_nonblocking(true).expect("a socket");
            poller.add(session.socket.as_fd(), number as u64, Interest::Read).expect("a watch");
            sessions.push(session);
        }
        peer.set_nonblocking(true).expect("a socket");
        poller.add(peer.as_fd(), u64::MAX, Interest::Read).expect("a watch");
        Self {
            server,
            sessions,
            peer,
            size,
            indications,
            poller,
            buffers: Buffers::new(4 * BATCH),
            receive: RecvBatch::new(BATCH),
            sends: SendBatch::with_capacity(4 * BATCH),
            used: 0,
            numbers: vec![0; clients],
            delivered: 0,
            echoed: 0,
            bad: 0,
            lost: 0,
        }
    }

    /// Keeps the window full for a while.
    pub(crate) fn run(&mut self, window: Duration, server: &Running) -> Outcome {
        (self.delivered, self.echoed, self.bad, self.lost) = (0, 0, 0, 0);
        let (start, cpu) = (Instant::now(), server.cpu());
        let mut last_progress = Instant::now();
        self.fill_window();
        let mut events = Events::with_capacity(256);
        while start.elapsed() < window {
            self.poller.wait(&mut events, Some(Duration::from_millis(1))).expect("a wait");
            for event in events.iter() {
                match event.token() {
                    u64::MAX => self.on_peer(),
                    number => self.on_client(number as usize),
                }
            }
            self.flush();
            if !events.is_empty() {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > Duration::from_millis(100) {
                // Everything that was on its way is lost.
                self.lost += IN_FLIGHT.max(self.sessions.len()) as u64;
                self.fill_window();
                last_progress = Instant::now();
            }
        }
        let (elapsed, spent) = (start.elapsed(), server.cpu() - cpu);
        let packets = (self.delivered + self.echoed) as f64;
        let outcome = Outcome {
            per_second: packets / elapsed.as_secs_f64(),
            cpu_micros: spent.as_secs_f64() * 1e6 / packets,
            lost: self.lost,
            bad: self.bad,
        };
        self.drain();
        outcome
    }

    /// Takes in what is still on its way.
    fn drain(&mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let quiet = Some(Duration::from_millis(30));
            self.poller.wait(&mut events, quiet).expect("a wait");
            if events.is_empty() {
                return;
            }
            for event in events.iter() {
                let socket = match event.token() {
                    u64::MAX => &self.peer,
                    number => &self.sessions[number as usize].socket,
                };
                let into = &mut self.buffers;
                self.receive.receive(socket.as_fd(), into, 0, BATCH).expect("a read");
            }
        }
    }

    fn fill_window(&mut self) {
        let clients = self.sessions.len();
        for turn in 0..IN_FLIGHT.max(clients) {
            self.send_next(turn % clients);
        }
        self.flush();
    }

    fn slot(&mut self) -> usize {
        if self.used == self.buffers.slots() {
            self.flush();
        }
        self.used += 1;
        self.used - 1
    }

    fn flush(&mut self) {
        let report = self.sends.flush(&self.buffers);
        self.lost += report.full + report.unreachable + report.other;
        self.used = 0;
    }

    fn send_next(&mut self, number: usize) {
        self.numbers[number] += 1;
        let (count, size, indications) = (self.numbers[number], self.size, self.indications);
        let peer = self.peer.local_addr().expect("bound");
        let slot = self.slot();
        let out = &mut self.buffers.slot_mut(slot)[HEADROOM..];
        let length = if indications {
            let mut payload = vec![0; size];
            fill(&mut payload, number, count);
            let mut writer =
                Writer::new(out, Kind::indication(Method::SEND), &TransactionId::new([0; 12]));
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            writer.attribute(attribute::DATA, &payload);
            writer.finish().expect("room")
        } else {
            out[..2].copy_from_slice(&CHANNEL.to_be_bytes());
            out[2..4].copy_from_slice(&(size as u16).to_be_bytes());
            fill(&mut out[4..4 + size], number, count);
            4 + size
        };
        let socket = self.sessions[number].socket.as_raw_fd();
        self.push(socket, self.server, slot, length);
    }

    fn push(&mut self, socket: i32, to: SocketAddr, slot: usize, len: usize) {
        if self.sends.is_full() {
            let report = self.sends.flush(&self.buffers);
            self.lost += report.full + report.unreachable + report.other;
        }
        self.sends.push(Outgoing {
            socket,
            to,
            from: None,
            slot: slot as u32,
            start: HEADROOM as u32,
            len: len as u32,
            dont_fragment: false,
        });
    }

    /// Echoes what has come to the peer.
    fn on_peer(&mut self) {
        if self.used + BATCH > self.buffers.slots() {
            self.flush();
        }
        let into = &mut self.buffers;
        let first = self.used;
        let count = self.receive.receive(self.peer.as_fd(), into, first, BATCH).expect("a read");
        self.used += count;
        for place in 0..count {
            let datagram = self.receive.datagram(place).expect("received");
            let payload = &self.buffers.slot(datagram.slot)[HEADROOM..][..datagram.len];
            if datagram.len != self.size || !is_whole(payload) {
                self.bad += 1;
            }
            self.delivered += 1;
            self.push(self.peer.as_raw_fd(), datagram.from, datagram.slot, datagram.len);
        }
    }

    fn on_client(&mut self, number: usize) {
        if self.used + BATCH > self.buffers.slots() {
            self.flush();
        }
        let (first, into) = (self.used, &mut self.buffers);
        let socket = self.sessions[number].socket.as_fd();
        let count = self.receive.receive(socket, into, first, BATCH).expect("a read");
        for place in 0..count {
            let datagram = self.receive.datagram(place).expect("received");
            let packet = &self.buffers.slot(datagram.slot)[HEADROOM..][..datagram.len];
            let payload = if self.indications {
                Message::parse(packet).ok().and_then(|message| message.attribute(attribute::DATA))
            } else {
                packet.get(4..)
            };
            let mine = |payload: &[u8]| payload.len() == self.size && sender(payload) == number;
            if !payload.is_some_and(|payload| mine(payload) && is_whole(payload)) {
                self.bad += 1;
            }
            self.echoed += 1;
            self.send_next(number);
        }
    }
}

/// Writes a payload that can be checked: mark, sender, number, and a body that follows from them.
fn fill(payload: &mut [u8], sender: usize, number: u64) {
    payload[..8].copy_from_slice(&MARK.to_be_bytes());
    payload[8..16].copy_from_slice(&(sender as u64).to_be_bytes());
    payload[16..24].copy_from_slice(&number.to_be_bytes());
    payload[24..].fill(number as u8);
}

fn is_whole(payload: &[u8]) -> bool {
    let (head, body) = payload.split_at(24);
    head[..8] == MARK.to_be_bytes() && body.iter().all(|byte| *byte == head[23])
}

fn sender(payload: &[u8]) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&payload[8..16]);
    u64::from_be_bytes(bytes) as usize
}
