use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use super::{Answer, Client, Inbound, Leg, PATIENCE, Sealed, Server};
use turnwire::stun::{Method, attribute};

/// TCP allocations (RFC 6062).
impl Client {
    /// An Allocate for TCP with a family: 1 or 2.
    #[track_caller]
    pub(crate) fn try_allocate_tcp(&mut self, family: u8) -> Answer {
        self.request(Method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
            writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        })
    }

    /// Makes an allocation for TCP over IPv4 and tells the relayed transport address.
    #[track_caller]
    pub(crate) fn allocate_tcp(&mut self) -> SocketAddr {
        let answer = self.try_allocate_tcp(1);
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        answer.relayed()
    }

    #[track_caller]
    pub(crate) fn try_connect(&mut self, peer: SocketAddr) -> Answer {
        self.request(Method::CONNECT, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        })
    }

    /// Connects to a peer and tells the CONNECTION-ID.
    #[track_caller]
    pub(crate) fn connect(&mut self, peer: SocketAddr) -> u32 {
        let answer = self.try_connect(peer);
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        answer.connection()
    }

    /// The next thing, which must be a ConnectionAttempt: the peer and the CONNECTION-ID.
    #[track_caller]
    pub(crate) fn attempt(&mut self) -> (SocketAddr, u32) {
        match self.inbound() {
            Inbound::Attempt(peer, connection) => (peer, connection),
            other => panic!("not a ConnectionAttempt: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn try_bind_connection(&mut self, connection: u32) -> Answer {
        self.request(Method::CONNECTION_BIND, |writer| {
            writer.number(attribute::CONNECTION_ID, connection);
        })
    }

    /// Binds this connection to a peer's: what has been read of the peer's bytes, and the stream.
    #[track_caller]
    pub(crate) fn into_data(mut self, connection: u32) -> Data {
        let answer = self.try_bind_connection(connection);
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        let Leg::Tcp(stream, early) = self.leg else {
            panic!("only on TCP");
        };
        Data { stream, early }
    }

    /// The same over TLS.
    #[track_caller]
    pub(crate) fn into_sealed_data(mut self, connection: u32) -> Box<Sealed> {
        let answer = self.try_bind_connection(connection);
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        let Leg::Tls(stream, early) = self.leg else { panic!("only on TLS") };
        assert!(early.is_empty());
        stream
    }
}

/// A connection on which the kernel holds little for the reader.
pub(crate) fn small_window(server: SocketAddr) -> TcpStream {
    let (domain, kind) = (socket2::Domain::for_address(server), socket2::Type::STREAM);
    let socket = socket2::Socket::new(domain, kind, None).expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("an option");
    socket.connect(&server.into()).expect("a connection");
    socket.into()
}

impl Answer {
    /// CONNECTION-ID.
    #[track_caller]
    pub(crate) fn connection(&self) -> u32 {
        let value = self.attribute(attribute::CONNECTION_ID).expect("CONNECTION-ID");
        u32::from_be_bytes(value.try_into().expect("four bytes"))
    }
}

/// A client data connection.
pub(crate) struct Data {
    pub(crate) stream: TcpStream,
    /// What came right behind the response.
    early: Vec<u8>,
}

impl Read for Data {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.early.is_empty() {
            return self.stream.read(buffer);
        }
        let length = self.early.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.early[..length]);
        self.early.drain(..length);
        Ok(length)
    }
}

impl Write for Data {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A peer that listens on TCP.
pub(crate) struct TcpPeer {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl TcpPeer {
    pub(crate) fn at(ip: IpAddr) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a peer's socket");
        let address = listener.local_addr().expect("a bound socket");
        Self { listener, address }
    }

    /// The next connection, with patience, and where it comes from.
    #[track_caller]
    pub(crate) fn accept(&self) -> (TcpStream, SocketAddr) {
        let (stream, from) = self.listener.accept().expect("a connection");
        (patient(stream), from)
    }
}

/// A peer's connection to a relayed transport address.
#[track_caller]
pub(crate) fn dial(relayed: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(relayed).expect("the relay listens"))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// More bytes than the kernel holds of a stream through the server: on each side what was sent and what was received, at
/// most as much as its buffers may grow to (tcp(7)), and what the server has beside.
pub(crate) fn more_than_buffers() -> usize {
    let largest = |name: &str| -> usize {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).expect("Linux has it");
        text.split_whitespace().last().and_then(|it| it.parse().ok()).expect("three numbers")
    };
    2 * (largest("tcp_rmem") + largest("tcp_wmem")) + (4 << 20)
}

/// `length` bytes that are nowhere the same for long.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let words = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.rotate_left(31).to_le_bytes()
    });
    words.take(length.div_ceil(8)).flatten().take(length).collect()
}

#[track_caller]
pub(crate) fn read_exactly(from: &mut impl Read, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).expect("all of it");
    bytes
}

/// Reads to the end of the stream, which must be an orderly one.
#[track_caller]
pub(crate) fn read_to_end(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("an orderly end");
    bytes
}

/// Waits until the connection is closed, orderly or not.
#[track_caller]
pub(crate) fn is_closed(stream: &mut impl Read) {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it stays open"),
    }
}

/// A client with a TCP allocation, connected with a peer: the control connection, the client's data
/// connection and the peer's end.
pub(crate) fn connected(server: &Server) -> (Client, Data, TcpStream) {
    let mut control = Client::tcp(server);
    let relayed = control.allocate_tcp();
    let peer = TcpPeer::at(LOCALHOST);
    let connection = control.connect(peer.address);
    let (stream, from) = peer.accept();
    assert_eq!(from, relayed, "a connection comes from the relayed transport address");
    let data = Client::tcp(server).into_data(connection);
    (control, data, stream)
}
