use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::case::{Outcome, Stop};

/// Somebody whom the client talks to by the relay: a socket on this host.
pub(super) struct Peer {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Peer {
    pub(super) fn new(host: IpAddr) -> Result<Self, Stop> {
        let socket = UdpSocket::bind((host, 0))?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn send(&self, relay: SocketAddr, data: &[u8]) -> Outcome {
        self.socket.send_to(data, relay)?;
        Ok(())
    }

    /// The next datagram and where it comes from.
    pub(super) fn receive(&self, wait: Duration) -> Result<Option<(SocketAddr, Vec<u8>)>, Stop> {
        let end = Instant::now() + wait;
        let mut buffer = vec![0; 65_536];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => return Ok(Some((from, buffer[..length].to_vec()))),
                // An earlier datagram has met nobody: that says nothing about this one.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How often a listener is asked whether somebody has come.
const LOOK: Duration = Duration::from_millis(5);

/// Somebody who is connected to by the relay.
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(super) fn new(host: IpAddr) -> Result<Self, Stop> {
        let listener = TcpListener::bind((host, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who connects within the wait.
    pub(super) fn accept(&self, wait: Duration) -> Result<Connection, Stop> {
        let end = Instant::now() + wait;
        loop {
            match self.listener.accept() {
                Ok((stream, from)) => return Connection::new(stream, from, wait),
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    std::thread::sleep(LOOK);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Stop::failed("nobody connects to the peer");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The peer's end of a connection with the relay.
pub(super) struct Connection {
    /// Nothing when the other end has ended it as soon as it was there.
    stream: Option<TcpStream>,
    /// The other end, as it is seen here.
    pub(super) other: SocketAddr,
}

impl Connection {
    fn new(stream: TcpStream, other: SocketAddr, wait: Duration) -> Result<Self, Stop> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(wait))?;
        stream.set_write_timeout(Some(wait))?;
        Ok(Self { stream: Some(stream), other })
    }

    /// Connects to a relay.
    pub(super) fn to(relay: SocketAddr, wait: Duration) -> Result<Self, Stop> {
        match TcpStream::connect_timeout(&relay, wait) {
            Ok(stream) => Self::new(stream, relay, wait),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                Ok(Self { stream: None, other: relay })
            }
            Err(error) => Stop::failed(format!("{relay} takes no connection: {error}")),
        }
    }

    fn stream(&mut self) -> Result<&mut TcpStream, Stop> {
        self.stream.as_mut().map_or_else(|| Stop::failed("the relay has ended the connection"), Ok)
    }

    pub(super) fn local(&mut self) -> Result<SocketAddr, Stop> {
        Ok(self.stream()?.local_addr()?)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.stream()?.write_all(bytes)?)
    }

    /// The first `length` bytes; fewer when it ends or no more come.
    pub(super) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut found = vec![0; length];
        let mut at = 0;
        let Some(stream) = &mut self.stream else { return Vec::new() };
        while at < length {
            match stream.read(&mut found[at..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => at += more,
            }
        }
        found.truncate(at);
        found
    }

    /// Whether the other end ends it in the usual time; in what way does not matter.
    pub(super) fn is_closed(&mut self) -> bool {
        let mut buffer = [0; 1024];
        let Some(stream) = &mut self.stream else { return true };
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}
