use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use turnwire::auth::{Algorithm, Key};
use turnwire::stun::{
    Class, Digest, Kind, Message, Method, TransactionId, Writer, attribute, decode_xor_address,
};

/// A client with an allocation.
pub(crate) struct Session {
    pub(crate) socket: UdpSocket,
    server: SocketAddr,
    key: Key,
    nonce: Vec<u8>,
    id: u64,
    pub(crate) relayed: Option<SocketAddr>,
}

pub(crate) fn answers_binding(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let mut buffer = [0; 64];
    let id = TransactionId::new([1; 12]);
    let writer = Writer::new(&mut buffer, Kind::request(Method::BINDING), &id);
    let length = writer.finish().expect("room");
    let sent = socket.send_to(&buffer[..length], server);
    sent.is_ok() && socket.recv(&mut buffer).is_ok()
}

/// Makes idle allocations until `count` or a refusal; tells how many and how long it took.
pub(crate) fn make_idle(server: SocketAddr, count: usize) -> (usize, Duration) {
    let start = Instant::now();
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        let mut session = Session::new(server);
        if session.allocate().is_none() {
            break;
        }
        session.bind(0x4000, "127.0.0.1:9".parse().expect("an address"));
        sessions.push(session);
    }
    (sessions.len(), start.elapsed())
}

impl Session {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket (ulimit -n?)");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let key = Key::derive(Algorithm::Md5, "alice", "example.org", "secret");
        Self { socket, server, key, nonce: Vec::new(), id: 0, relayed: None }
    }

    pub(crate) fn allocate(&mut self) -> Option<SocketAddr> {
        let udp = [17, 0, 0, 0];
        let response = self.request(Method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &udp);
        })?;
        let message = Message::parse(&response).ok()?;
        let value = message.attribute(attribute::XOR_RELAYED_ADDRESS)?;
        self.relayed = decode_xor_address(value, &message.transaction_id()).ok();
        self.relayed
    }

    pub(crate) fn bind(&mut self, channel: u16, peer: SocketAddr) {
        let number = [(channel >> 8) as u8, channel as u8, 0, 0];
        self.request(Method::CHANNEL_BIND, |writer| {
            writer.attribute(attribute::CHANNEL_NUMBER, &number);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        })
        .expect("a channel");
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) {
        self.request(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        })
        .expect("a permission");
    }

    /// Sends a request until it succeeds, answering the challenge.
    fn request(&mut self, method: Method, fill: impl Fn(&mut Writer<'_>)) -> Option<Vec<u8>> {
        for _ in 0..10 {
            self.id += 1;
            let mut id = [0; 12];
            id[..8].copy_from_slice(&self.id.to_be_bytes());
            let id = TransactionId::new(id);
            let mut buffer = [0; 1024];
            let mut writer = Writer::new(&mut buffer, Kind::request(method), &id);
            fill(&mut writer);
            if !self.nonce.is_empty() {
                writer.attribute(attribute::USERNAME, b"alice");
                writer.attribute(attribute::REALM, b"example.org");
                writer.attribute(attribute::NONCE, &self.nonce);
                writer.integrity(self.key.mac(Digest::Sha1));
            }
            let length = writer.finish().ok()?;
            self.socket.send_to(&buffer[..length], self.server).ok()?;
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let message = Message::parse(&buffer[..length]).ok()?;
            if message.kind().class == Class::Success {
                return Some(buffer[..length].to_vec());
            }
            if let Some(nonce) = message.attribute(attribute::NONCE) {
                self.nonce = nonce.to_vec();
            }
        }
        None
    }
}
