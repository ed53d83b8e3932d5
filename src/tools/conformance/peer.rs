//! Somebody behind the relay, for datagrams and for connections (RFC 6062).

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
    /// For how long one thing is waited for.
    wait: Duration,
}

impl Connection {
    fn new(stream: TcpStream, other: SocketAddr, wait: Duration) -> Result<Self, Stop> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(wait))?;
        Ok(Self { stream: Some(stream), other, wait })
    }

    /// Connects to a relay.
    pub(super) fn to(relay: SocketAddr, wait: Duration) -> Result<Self, Stop> {
        match TcpStream::connect_timeout(&relay, wait) {
            Ok(stream) => Self::new(stream, relay, wait),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                Ok(Self { stream: None, other: relay, wait })
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
        let (mut found, mut at) = (vec![0; length], 0);
        let end = Instant::now() + self.wait;
        let Some(stream) = &mut self.stream else { return Vec::new() };
        while at < length {
            match read_before(end, stream, &mut found[at..]) {
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
        // Of all reads together: who sends and sends does not end it.
        let end = Instant::now() + self.wait;
        let Some(stream) = &mut self.stream else { return true };
        loop {
            match read_before(end, stream, &mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}

/// What comes before `end`.
fn read_before(end: Instant, stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    stream.read(buffer)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::Connection;

    #[test]
    fn a_server_that_goes_on_sending_is_not_waited_for() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let place = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end && stream.write_all(b"!").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let Ok(mut connection) = Connection::to(place, Duration::from_millis(300)) else {
            panic!("there is a listener");
        };
        assert!(!connection.is_closed());
        assert!(connection.read(100_000).len() < 1000);
        drop(connection);
        server.join().unwrap();
    }
}
