use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use crate::stun::{Frame, Framer};
use crate::tls::Dislike;

/// How long a connection may take to be made, and a handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest message: header, a whole datagram, padding.
const FRAMER: Framer = Framer { limit: 65_536 + 64 };

/// A socket that messages go through.
pub(in crate::tools) struct Link {
    kind: Kind,
    /// The beginning of a message whose end has not come yet.
    partial: Vec<u8>,
}

enum Kind {
    Udp(UdpSocket),
    Stream {
        socket: TcpStream,
        tls: Option<Box<ClientConnection>>,
    },
    #[cfg(feature = "dtls")]
    Dtls {
        socket: UdpSocket,
        client: Box<crate::tls::dtls::Client>,
    },
}

/// Why nothing goes through.
#[derive(Debug)]
pub(in crate::tools) enum Broken {
    /// What the system says.
    System(io::Error),
    /// The server has ended the connection.
    Closed,
    /// What comes is no STUN.
    Foreign(String),
    /// TLS or DTLS has failed.
    Tls(Dislike),
    /// No handshake in time.
    Slow,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                Self::Closed
            }
            _ => Self::System(error),
        }
    }
}

impl Link {
    /// Datagrams; that the port is closed comes to light with the first of them.
    pub(in crate::tools) fn udp(server: SocketAddr) -> Result<Self, Broken> {
        let any: SocketAddr =
            if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        Ok(Self { kind: Kind::Udp(socket), partial: Vec::new() })
    }

    /// A connection.
    pub(in crate::tools) fn tcp(server: SocketAddr) -> Result<Self, Broken> {
        let socket = TcpStream::connect_timeout(&server, CONNECT)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(CONNECT))?;
        Ok(Self { kind: Kind::Stream { socket, tls: None }, partial: Vec::new() })
    }

    /// Goes through the handshake on a connection.
    pub(in crate::tools) fn secure(mut self, client: ClientConnection) -> Result<Self, Broken> {
        let Kind::Stream { socket, tls } = &mut self.kind else {
            return Err(Broken::System(ErrorKind::InvalidInput.into()));
        };
        let mut client = Box::new(client);
        let end = Instant::now() + CONNECT;
        while client.is_handshaking() {
            while client.wants_write() {
                client.write_tls(socket)?;
            }
            if client.is_handshaking() {
                read_tls(socket, &mut client, end)?.ok_or(Broken::Slow)?;
            }
        }
        while client.wants_write() {
            client.write_tls(socket)?;
        }
        *tls = Some(client);
        Ok(self)
    }

    /// Datagrams in DTLS.
    #[cfg(feature = "dtls")]
    pub(in crate::tools) fn dtls(
        server: SocketAddr,
        client: crate::tls::dtls::Client,
    ) -> Result<Self, Broken> {
        let Self { kind: Kind::Udp(socket), .. } = Self::udp(server)? else {
            return Err(Broken::Slow);
        };
        let mut client = Box::new(client);
        // OpenSSL repeats a flight after a second, when it is asked to go on.
        let (end, wait) = (Instant::now() + CONNECT, Duration::from_millis(1100));
        let mut buffer = vec![0; 65_536];
        loop {
            // Whatever comes meanwhile.
            if Instant::now() >= end {
                return Err(Broken::Slow);
            }
            let done = client.advance().map_err(|words| Broken::Tls(Dislike::other(words)))?;
            for datagram in client.take() {
                socket.send(&datagram)?;
            }
            if done {
                break;
            }
            if let Some(length) = receive(&socket, &mut buffer, wait)? {
                client.receive(&buffer[..length]);
            }
        }
        Ok(Self { kind: Kind::Dtls { socket, client }, partial: Vec::new() })
    }

    /// What the two sides have agreed on around the messages.
    pub(in crate::tools) fn version(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Stream { tls: Some(tls), .. } => match tls.protocol_version()? {
                rustls::ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
                _ => Some("TLS 1.2"),
            },
            #[cfg(feature = "dtls")]
            Kind::Dtls { .. } => Some("DTLS 1.2"),
            _ => None,
        }
    }

    /// The protocol that the server has chosen by ALPN.
    pub(in crate::tools) fn protocol(&self) -> Option<String> {
        match &self.kind {
            Kind::Stream { tls: Some(tls), .. } => {
                tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
            }
            _ => None,
        }
    }

    /// The certificates of a server of DTLS, each in DER.
    #[cfg(feature = "dtls")]
    pub(in crate::tools) fn certificates(&self) -> Vec<Vec<u8>> {
        match &self.kind {
            Kind::Dtls { client, .. } => client.certificates(),
            _ => Vec::new(),
        }
    }

    pub(in crate::tools) fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream { .. })
    }

    /// Where it ends on this host.
    pub(in crate::tools) fn local(&self) -> io::Result<SocketAddr> {
        match &self.kind {
            Kind::Udp(socket) => socket.local_addr(),
            Kind::Stream { socket, .. } => socket.local_addr(),
            #[cfg(feature = "dtls")]
            Kind::Dtls { socket, .. } => socket.local_addr(),
        }
    }

    /// Sends a message.
    pub(in crate::tools) fn send(&mut self, message: &[u8]) -> Result<(), Broken> {
        match &mut self.kind {
            Kind::Udp(socket) => {
                socket.send(message)?;
            }
            Kind::Stream { socket, tls: None } => socket.write_all(message)?,
            Kind::Stream { socket, tls: Some(tls) } => {
                tls.writer().write_all(message)?;
                while tls.wants_write() {
                    tls.write_tls(socket)?;
                }
            }
            #[cfg(feature = "dtls")]
            Kind::Dtls { socket, client } => {
                client.send(message).map_err(|words| Broken::Tls(Dislike::other(words)))?;
                for datagram in client.take() {
                    socket.send(&datagram)?;
                }
            }
        }
        Ok(())
    }

    /// The next message that comes before `end`.
    pub(in crate::tools) fn receive(&mut self, end: Instant) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            if self.is_stream()
                && let Some(message) = self.cut()?
            {
                return Ok(Some(message));
            }
            match self.read(end)? {
                None => return Ok(None),
                Some(message) if !self.is_stream() => return Ok(Some(message)),
                Some(bytes) => self.partial.extend_from_slice(&bytes),
            }
        }
    }

    /// What comes before `end`, without any framing: a datagram, or some bytes of a stream.
    pub(in crate::tools) fn bytes(&mut self, end: Instant) -> Result<Option<Vec<u8>>, Broken> {
        if !self.partial.is_empty() {
            return Ok(Some(std::mem::take(&mut self.partial)));
        }
        self.read(end)
    }

    fn read(&mut self, end: Instant) -> Result<Option<Vec<u8>>, Broken> {
        let mut buffer = vec![0; 65_536];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let length = match &mut self.kind {
                Kind::Udp(socket) => match receive(socket, &mut buffer, left)? {
                    Some(length) => length,
                    None => return Ok(None),
                },
                Kind::Stream { socket, tls: None } => match read(socket, &mut buffer, left)? {
                    None => return Ok(None),
                    Some(0) => return Err(self.ended()),
                    Some(length) => length,
                },
                Kind::Stream { socket, tls: Some(tls) } => {
                    // What came with the end of the handshake lies there already.
                    match tls.reader().read(&mut buffer) {
                        Ok(0) => return Err(self.ended()),
                        Ok(length) => length,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            if read_tls(socket, tls, end)?.is_none() {
                                return Ok(None);
                            }
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                #[cfg(feature = "dtls")]
                Kind::Dtls { socket, client } => {
                    let Some(length) = receive(socket, &mut buffer, left)? else {
                        return Ok(None);
                    };
                    client.receive(&buffer[..length]);
                    match client.read().map_err(|words| Broken::Tls(Dislike::other(words)))? {
                        Some(message) => return Ok(Some(message)),
                        None => continue,
                    }
                }
            };
            buffer.truncate(length);
            return Ok(Some(buffer));
        }
    }

    /// What the end of the connection means: half a message is none of STUN's.
    fn ended(&self) -> Broken {
        if self.partial.is_empty() {
            return Broken::Closed;
        }
        let beginning = &self.partial[..self.partial.len().min(16)];
        Broken::Foreign(format!("it says {:?}", String::from_utf8_lossy(beginning)))
    }

    /// Cuts a whole message off what has come.
    fn cut(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        match FRAMER.next(&self.partial) {
            Ok(Frame::Partial { .. }) => Ok(None),
            Ok(Frame::Message { length, consumed }) => {
                let rest = self.partial.split_off(consumed);
                let mut message = std::mem::replace(&mut self.partial, rest);
                message.truncate(length);
                Ok(Some(message))
            }
            Err(why) => Err(Broken::Foreign(why.to_string())),
        }
    }
}

/// One read of ciphertext; `None` when nothing comes before `end`.
fn read_tls(
    socket: &mut TcpStream,
    tls: &mut ClientConnection,
    end: Instant,
) -> Result<Option<()>, Broken> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(None);
    }
    socket.set_read_timeout(Some(left))?;
    match tls.read_tls(socket) {
        Ok(0) => return Err(Broken::Closed),
        Ok(_) => {}
        Err(error) if timed_out(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match tls.process_new_packets() {
        Ok(_) => Ok(Some(())),
        Err(error) => {
            // The alert tells the server why; whether it comes to know does not matter.
            let _ = tls.write_tls(socket);
            Err(Broken::Tls(error.into()))
        }
    }
}

fn read(socket: &mut TcpStream, buffer: &mut [u8], left: Duration) -> io::Result<Option<usize>> {
    socket.set_read_timeout(Some(left))?;
    quiet(socket.read(buffer))
}

fn receive(socket: &UdpSocket, buffer: &mut [u8], left: Duration) -> io::Result<Option<usize>> {
    socket.set_read_timeout(Some(left))?;
    quiet(socket.recv(buffer))
}

fn quiet(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if timed_out(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
