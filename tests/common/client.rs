use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use socket2::SockRef;
use turnwire::stun::{
    ChannelNumber, Frame, Framer, Kind, Message, Method, TransactionId, Writer, attribute,
    write_channel_header,
};

use super::credential::Challenge;
#[cfg(feature = "dtls")]
use super::dtls::Dtls;
use super::{Answer, Credential, Inbound, PATIENCE, Sealed, Server, new_id, plain};

/// A TURN client that does one thing at a time and never sends anything twice.
pub(crate) struct Client {
    pub(crate) leg: Leg,
    credential: Credential,
    challenge: Option<Challenge>,
    /// What came while an answer was waited for.
    waiting: VecDeque<Inbound>,
}

/// The transport to the server.
pub(crate) enum Leg {
    Udp(UdpSocket),
    /// With what has been read and is not yet a whole message.
    Tcp(TcpStream, Vec<u8>),
    /// The same.
    Tls(Box<Sealed>, Vec<u8>),
    #[cfg(feature = "dtls")]
    Dtls(Box<Dtls>),
}

impl Leg {
    /// A stream, and what has been read of it.
    fn stream(&mut self) -> Option<(&mut dyn ReadWrite, &mut Vec<u8>)> {
        match self {
            Self::Udp(_) => None,
            #[cfg(feature = "dtls")]
            Self::Dtls(_) => None,
            Self::Tcp(stream, input) => Some((stream, input)),
            Self::Tls(stream, input) => Some((&mut **stream, input)),
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

/// Keeps a client's port until the test ends: another client that got it would find an allocation there.
fn keep_port(socket: &UdpSocket) {
    static KEPT: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let kept = socket.try_clone().expect("a descriptor");
    KEPT.lock().expect("nobody panics here").push(kept);
}

impl Client {
    /// Alice, over UDP.
    pub(crate) fn udp(server: &Server) -> Self {
        Self::udp_to(server.address())
    }

    pub(crate) fn udp_to(server: SocketAddr) -> Self {
        Self::udp_from(loopback(server), server)
    }

    pub(crate) fn udp_from(ip: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("a client's socket");
        socket.connect(server).expect("a route to the server");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        keep_port(&socket);
        Self::on(Leg::Udp(socket))
    }

    /// Alice, over TCP.
    pub(crate) fn tcp(server: &Server) -> Self {
        Self::tcp_to(server.address())
    }

    pub(crate) fn tcp_to(server: SocketAddr) -> Self {
        Self::tcp_from(loopback(server), server)
    }

    pub(crate) fn tcp_from(ip: IpAddr, server: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(server);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None);
        let socket = socket.expect("a client's socket");
        let source = SocketAddr::new(ip, 0);
        socket.bind(&source.into()).expect("a source address");
        socket.connect(&server.into()).expect("a connection");
        Self::on_stream(socket.into())
    }

    /// On a connection that the test has made itself.
    pub(crate) fn on_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self::on(Leg::Tcp(stream, Vec::new()))
    }

    /// Alice, over DTLS.
    #[cfg(feature = "dtls")]
    #[track_caller]
    pub(crate) fn dtls_to(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((loopback(server), 0)).expect("a client's socket");
        socket.connect(server).expect("a route to the server");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self::on_association(Dtls::connect(socket))
    }

    /// On an association that the test has made itself.
    #[cfg(feature = "dtls")]
    pub(crate) fn on_association(dtls: Dtls) -> Self {
        Self::on(Leg::Dtls(Box::new(dtls)))
    }

    #[cfg(feature = "dtls")]
    pub(crate) fn dtls(&mut self) -> &mut Dtls {
        match &mut self.leg {
            Leg::Dtls(dtls) => dtls,
            _ => panic!("only on DTLS"),
        }
    }

    /// Over UDP and over TCP.
    pub(crate) fn both(server: &Server) -> [Self; 2] {
        [Self::udp(server), Self::tcp(server)]
    }

    pub(super) fn on(leg: Leg) -> Self {
        Self {
            leg,
            credential: Credential::user("alice", "wonderland"),
            challenge: None,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn with(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    pub(crate) fn bob(self) -> Self {
        self.with(Credential::user("bob", "builder"))
    }

    /// Its own address.
    pub(crate) fn local(&self) -> SocketAddr {
        match &self.leg {
            Leg::Udp(socket) => socket.local_addr().expect("a bound socket"),
            Leg::Tcp(stream, _) => stream.local_addr().expect("a bound socket"),
            Leg::Tls(stream, _) => stream.sock.local_addr().expect("a bound socket"),
            #[cfg(feature = "dtls")]
            Leg::Dtls(dtls) => dtls.socket().local_addr().expect("a bound socket"),
        }
    }

    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self.leg, Leg::Tcp(..) | Leg::Tls(..))
    }

    /// Sends bytes as they are: a datagram, or a part of the stream.
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let sent = match &mut self.leg {
            Leg::Udp(socket) => socket.send(bytes).map(drop),
            Leg::Tcp(stream, _) => stream.write_all(bytes),
            Leg::Tls(stream, _) => stream.write_all(bytes).and_then(|()| stream.flush()),
            #[cfg(feature = "dtls")]
            Leg::Dtls(dtls) => dtls.write(bytes),
        };
        sent.expect("the client can send");
    }

    /// The next message as it stands on the wire, without a stream's padding.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Vec<u8> {
        if let Leg::Udp(socket) = &self.leg {
            let mut buffer = vec![0; 65_536];
            let length = socket.recv(&mut buffer).expect("a message for the client");
            buffer.truncate(length);
            return buffer;
        }
        #[cfg(feature = "dtls")]
        if let Leg::Dtls(dtls) = &mut self.leg {
            let mut buffer = vec![0; 20_000];
            let length = dtls.read(&mut buffer).expect("a message for the client");
            buffer.truncate(length);
            return buffer;
        }
        let (stream, input) = self.leg.stream().expect("it is no datagram");
        loop {
            let frame = Framer { limit: 66_000 }.next(input).expect("framing");
            if let Frame::Message { length, consumed } = frame {
                let mut message = input.drain(..consumed).collect::<Vec<_>>();
                let padding = message.split_off(length);
                assert!(padding.iter().all(|byte| *byte == 0), "{padding:?}");
                return message;
            }
            let mut more = [0; 16 << 10];
            let read = stream.read(&mut more).expect("a message for the client");
            assert_ne!(read, 0, "the server closed the connection");
            input.extend_from_slice(&more[..read]);
        }
    }

    /// Talks to another address of the server from now on, from the same socket.
    pub(crate) fn move_to(&mut self, server: SocketAddr) {
        let Leg::Udp(socket) = &self.leg else {
            panic!("only on UDP");
        };
        socket.connect(server).expect("a route to the server");
    }

    /// Its socket alone, which takes what comes from anywhere.
    pub(crate) fn hear_all(self) -> UdpSocket {
        let Leg::Udp(socket) = self.leg else {
            panic!("only on UDP");
        };
        let local = socket.local_addr().expect("a bound socket");
        // SAFETY: all zeros is an address without a family, which ends a connection of UDP.
        let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
        let size = size_of_val(&nowhere) as libc::socklen_t;
        // SAFETY: the kernel reads one address.
        let ended = unsafe { libc::connect(socket.as_raw_fd(), &raw const nowhere, size) };
        assert_eq!(ended, 0, "{}", std::io::Error::last_os_error());
        // The kernel has taken the port back, because it had chosen it.
        SockRef::from(&socket).bind(&local.into()).expect("its port again");
        socket
    }

    /// From now on [`Self::try_read`] does not wait.
    pub(crate) fn nonblocking(&mut self) {
        match &self.leg {
            Leg::Udp(socket) => socket.set_nonblocking(true).expect("an option"),
            Leg::Tcp(stream, _) => stream.set_nonblocking(true).expect("an option"),
            Leg::Tls(stream, _) => stream.sock.set_nonblocking(true).expect("an option"),
            #[cfg(feature = "dtls")]
            Leg::Dtls(dtls) => dtls.socket().set_nonblocking(true).expect("an option"),
        }
    }

    /// Bytes as they come, if there are any.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.leg {
            Leg::Udp(socket) => socket.recv(buffer),
            Leg::Tcp(stream, _) => stream.read(buffer),
            Leg::Tls(stream, _) => stream.read(buffer),
            #[cfg(feature = "dtls")]
            Leg::Dtls(dtls) => dtls.read(buffer),
        }
    }

    /// The next thing that comes.
    #[track_caller]
    pub(crate) fn inbound(&mut self) -> Inbound {
        match self.waiting.pop_front() {
            Some(inbound) => inbound,
            None => Inbound::parse(self.read()),
        }
    }

    /// Sends a request and waits for its response; what comes meanwhile is kept.
    #[track_caller]
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Answer {
        let id = Message::parse(request).expect("a request").transaction_id();
        self.write(request);
        loop {
            match Inbound::parse(self.read()) {
                Inbound::Answer(answer) if answer.message().transaction_id() == id => {
                    return answer;
                }
                other => self.waiting.push_back(other),
            }
        }
    }

    /// A request with credentials. Asks for the challenge first when there is none yet.
    #[track_caller]
    pub(crate) fn signed(
        &mut self,
        method: Method,
        id: &TransactionId,
        attributes: impl FnOnce(&mut Writer<'_>),
    ) -> Vec<u8> {
        let challenge = self.challenge();
        plain(Kind::request(method), id, |writer| {
            attributes(writer);
            self.credential.sign(writer, &challenge);
        })
    }

    /// What the server asks of this client; got with a Refresh that says nothing.
    #[track_caller]
    pub(crate) fn challenge(&mut self) -> Challenge {
        if self.challenge.is_none() {
            let request = plain(Kind::request(Method::REFRESH), &new_id(), |_| ());
            let answer = self.exchange(&request);
            assert_eq!(answer.code(), 401);
            let text = |kind| answer.attribute(kind).expect("a challenge").to_vec();
            self.challenge = Some(Challenge {
                realm: String::from_utf8(text(attribute::REALM)).expect("UTF-8"),
                nonce: text(attribute::NONCE),
                algorithms: answer.attribute(attribute::PASSWORD_ALGORITHMS).map(<[u8]>::to_vec),
            });
        }
        self.challenge.clone().expect("just got")
    }

    /// Names another realm than the one that it was challenged with.
    pub(crate) fn in_realm(&mut self, realm: &str) {
        let challenge = Challenge { realm: realm.to_owned(), ..self.challenge() };
        self.challenge = Some(challenge);
    }

    pub(crate) const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Makes an authenticated request. The response must be signed as the request was
    /// (RFC 8489 §9.2.4), unless the server does not believe who is asking.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: Method,
        attributes: impl FnOnce(&mut Writer<'_>),
    ) -> Answer {
        let request = self.signed(method, &new_id(), attributes);
        let answer = self.exchange(&request);
        let challenge = self.challenge();
        let signed = answer.message().verify(self.credential.mac(&challenge));
        assert!(signed || matches!(answer.code(), 401 | 438 | 500), "{answer:?}");
        answer
    }

    /// An Allocate for UDP with further attributes.
    #[track_caller]
    pub(crate) fn try_allocate(&mut self, attributes: impl FnOnce(&mut Writer<'_>)) -> Answer {
        self.request(Method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            attributes(writer);
        })
    }

    /// Makes an allocation and tells the relayed transport address.
    #[track_caller]
    pub(crate) fn allocate(&mut self) -> SocketAddr {
        let answer = self.try_allocate(|_| ());
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        answer.relayed()
    }

    /// Makes an allocation of the family: 1 or 2.
    #[track_caller]
    pub(crate) fn allocate_family(&mut self, family: u8) -> SocketAddr {
        let answer = self.try_allocate(|writer| {
            writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        });
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        answer.relayed()
    }

    /// A Refresh with a LIFETIME.
    #[track_caller]
    pub(crate) fn refresh(&mut self, lifetime: u32) -> Answer {
        self.request(Method::REFRESH, |writer| {
            writer.number(attribute::LIFETIME, lifetime);
        })
    }

    /// A CreatePermission for all of the peers.
    #[track_caller]
    pub(crate) fn try_permit(&mut self, peers: &[SocketAddr]) -> Answer {
        self.request(Method::CREATE_PERMISSION, |writer| {
            for peer in peers {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, *peer);
            }
        })
    }

    #[track_caller]
    pub(crate) fn permit(&mut self, peer: SocketAddr) {
        assert_eq!(self.try_permit(&[peer]).code(), 0);
    }

    /// A ChannelBind.
    #[track_caller]
    pub(crate) fn try_bind(&mut self, number: u16, peer: SocketAddr) -> Answer {
        self.request(Method::CHANNEL_BIND, |writer| {
            writer.number(attribute::CHANNEL_NUMBER, u32::from(number) << 16);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        })
    }

    #[track_caller]
    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) {
        assert_eq!(self.try_bind(number, peer).code(), 0);
    }

    /// Sends a payload in a Send indication.
    #[track_caller]
    pub(crate) fn send(&mut self, peer: SocketAddr, payload: &[u8]) {
        let indication = plain(Kind::indication(Method::SEND), &new_id(), |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            writer.attribute(attribute::DATA, payload);
        });
        self.write(&indication);
    }

    /// Sends a payload in a ChannelData message: padded on a stream, and only there.
    #[track_caller]
    pub(crate) fn channel(&mut self, number: u16, payload: &[u8]) {
        let mut message = channel_message(number, payload);
        if self.is_stream() {
            message.resize(message.len().next_multiple_of(4), 0);
        }
        self.write(&message);
    }

    /// The next thing, which must be a Data indication.
    #[track_caller]
    pub(crate) fn data(&mut self) -> (SocketAddr, Vec<u8>) {
        match self.inbound() {
            Inbound::Data(peer, payload) => (peer, payload),
            other => panic!("not a Data indication: {other:?}"),
        }
    }

    /// The next thing, which must be ChannelData.
    #[track_caller]
    pub(crate) fn channel_data(&mut self) -> (u16, Vec<u8>) {
        match self.inbound() {
            Inbound::Channel(number, payload) => (number, payload),
            other => panic!("not ChannelData: {other:?}"),
        }
    }

    /// A Binding, answered: the server is done with all that this client has sent before.
    #[track_caller]
    pub(crate) fn fence(&mut self) {
        let request = plain(Kind::request(Method::BINDING), &new_id(), |_| ());
        assert_eq!(self.exchange(&request).code(), 0);
    }

    /// Whether nothing has come. Tell only after a [`Self::fence`] or the like.
    pub(crate) fn has_nothing(&mut self) -> bool {
        let Leg::Udp(socket) = &self.leg else {
            panic!("only on UDP");
        };
        socket.set_nonblocking(true).expect("an option");
        let nothing = socket.recv(&mut [0; 16]).is_err();
        socket.set_nonblocking(false).expect("an option");
        self.waiting.is_empty() && nothing
    }

    /// Waits until the server closes the connection, whatever comes before.
    #[track_caller]
    pub(crate) fn is_closed_by_server(&mut self) {
        let (stream, _) = self.leg.stream().expect("it is no datagram");
        loop {
            match stream.read(&mut [0; 4096]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection stays open: {error}"),
            }
        }
    }

    /// Ends the connection with a RST.
    pub(crate) fn reset(self) {
        let Leg::Tcp(stream, _) = self.leg else {
            panic!("only on TCP");
        };
        let linger = Some(std::time::Duration::ZERO);
        SockRef::from(&stream).set_linger(linger).expect("an option");
    }
}

/// A ChannelData message without padding.
pub(crate) fn channel_message(number: u16, payload: &[u8]) -> Vec<u8> {
    let number = ChannelNumber::new(number).expect("a channel number");
    let mut header = [0; 4];
    write_channel_header(&mut header, number, payload.len() as u16);
    [&header[..], payload].concat()
}

fn loopback(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}
