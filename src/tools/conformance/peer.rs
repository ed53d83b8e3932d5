use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
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
