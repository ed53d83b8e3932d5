//! Connections that this process makes: from a relayed transport address, which is listened on as well, and to a
//! server behind it.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::socket::tcp_socket;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// On TCP.
    Tcp(SocketAddr),
    /// On a Unix socket of this host.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Listens on one relayed transport address, with at most `backlog` connections not yet accepted. The port is this
/// socket's alone, but for those that [`connect_from`] makes.
///
/// # Errors
/// `AddrInUse` if anybody has the port; else what the system calls say.
pub fn relay_listener(address: SocketAddr, backlog: u16) -> io::Result<TcpListener> {
    let socket = tcp_socket(address)?;
    // Connections of an allocation that is over may linger; they take the port from nobody.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Only now, so that another program that shares its ports has been told apart.
    socket.set_reuse_port(true)?;
    socket.listen(backlog.into())?;
    Ok(socket.into())
}

/// Begins a connection to `peer` from the address of a [`relay_listener`] of this process. When the socket can be
/// written to, [`outcome_of_connect`] tells how it went.
///
/// # Errors
/// What can be said at once: no way to the peer, or a connection of just these two addresses exists; else what
/// the system lacks.
pub fn connect_from(local: SocketAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = tcp_socket(local)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&local.into())?;
    begin(&socket, &peer.into())?;
    Ok(socket.into())
}

/// Begins a connection to a server. When the socket can be written to, [`outcome_of_connect`] tells how it went.
///
/// # Errors
/// What can be said at once: nobody listens, no more connections are taken, or what the system lacks.
pub fn connect(to: &Endpoint) -> io::Result<OwnedFd> {
    let socket = match to {
        Endpoint::Tcp(address) => {
            let socket = tcp_socket(*address)?;
            socket.set_tcp_nodelay(true)?;
            begin(&socket, &(*address).into())?;
            socket
        }
        Endpoint::Unix(path) => {
            let kind = Type::STREAM.nonblocking().cloexec();
            let socket = Socket::new_raw(Domain::UNIX, kind, None)?;
            begin(&socket, &SockAddr::unix(path)?)?;
            socket
        }
    };
    Ok(socket.into())
}

fn begin(socket: &Socket, to: &SockAddr) -> io::Result<()> {
    match socket.connect(to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        begun => begun,
    }
}

/// Whether a connection that [`connect_from`] or [`connect`] has begun is there by now.
///
/// # Errors
/// Why there is none.
pub fn outcome_of_connect(stream: &impl AsFd) -> io::Result<bool> {
    let stream = SockRef::from(stream);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets the other end see that a connection was cut off and has not come to its end: it is closed with a RST.
pub fn reset_on_close(stream: &impl AsFd) {
    // It fails only for a connection that is gone.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Tells the other end that nothing more will be written.
///
/// # Errors
/// The connection is lost.
pub fn finish_writing(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::super::{Events, Interest, Poller, accept};
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::AsFd;

    const ANY: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    fn wait(stream: &TcpStream, interest: Interest) {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(1));
        poller.add(stream.as_fd(), 1, interest).unwrap();
        poller.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
        assert!(!events.is_empty());
    }

    #[test]
    fn one_port_accepts_and_connects_at_once() {
        for any in ANY {
            let relay = relay_listener(any.parse().unwrap(), 8).unwrap();
            let local = relay.local_addr().unwrap();
            let peers: Vec<_> = (0..3).map(|_| TcpListener::bind(any).unwrap()).collect();
            for peer in &peers {
                let mut stream = connect_from(local, peer.local_addr().unwrap()).unwrap();
                wait(&stream, Interest::Write);
                assert!(outcome_of_connect(&stream).unwrap());
                let (mut other, from) = peer.accept().unwrap();
                assert_eq!(from, local);
                other.write_all(b"hello").unwrap();
                wait(&stream, Interest::Read);
                let mut buffer = [0; 8];
                assert_eq!(stream.read(&mut buffer).unwrap(), 5);
                // The same two addresses again: there can only be one such connection.
                let again = connect_from(local, peer.local_addr().unwrap());
                assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
            }
            let incoming = TcpStream::connect(local).unwrap();
            let (_, from) = accept(&relay).unwrap().expect("accepted on the same port");
            assert_eq!(from, incoming.local_addr().unwrap());
        }
    }

    #[test]
    fn a_relay_port_is_exclusive_and_free_again_while_connections_linger() {
        let relay = relay_listener(ANY[0].parse().unwrap(), 8).unwrap();
        let local = relay.local_addr().unwrap();
        let taken = |address| relay_listener(address, 8).err().map(|error| error.kind());
        assert_eq!(taken(local), Some(ErrorKind::AddrInUse));
        let foreign = super::super::tcp_listener(ANY[0].parse().unwrap(), 8).unwrap();
        assert_eq!(taken(foreign.local_addr().unwrap()), Some(ErrorKind::AddrInUse));
        let peer = TcpListener::bind(ANY[0]).unwrap();
        let made = connect_from(local, peer.local_addr().unwrap()).unwrap();
        let _client = TcpStream::connect(local).unwrap();
        let accepted = accept(&relay).unwrap().unwrap();
        drop(relay);
        assert_eq!(taken(local), None);
        drop((made, accepted));
        assert_eq!(taken(local), None);
    }

    #[test]
    fn a_server_is_reached_at_each_kind_of_endpoint() {
        let path = std::env::temp_dir().join(format!("endpoint-{}", getrandom::u32().unwrap()));
        let _ = std::fs::remove_file(&path);
        let tcp = TcpListener::bind(ANY[1]).unwrap();
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let address = tcp.local_addr().unwrap();
        for to in [Endpoint::Tcp(address), Endpoint::Unix(path.clone())] {
            let socket = connect(&to).unwrap();
            let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(1));
            poller.add(socket.as_fd(), 1, Interest::Write).unwrap();
            poller.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert!(outcome_of_connect(&socket).unwrap());
            finish_writing(&socket).unwrap();
            let mut rest = Vec::new();
            let read = match to {
                Endpoint::Tcp(_) => tcp.accept().unwrap().0.read_to_end(&mut rest),
                Endpoint::Unix(_) => unix.accept().unwrap().0.read_to_end(&mut rest),
            };
            assert_eq!(read.unwrap(), 0);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(connect(&Endpoint::Unix(path)).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_refusal_is_told() {
        let relay = relay_listener(ANY[0].parse().unwrap(), 8).unwrap();
        let closed = TcpListener::bind(ANY[0]).unwrap().local_addr().unwrap();
        let refused = connect_from(relay.local_addr().unwrap(), closed).and_then(|stream| {
            wait(&stream, Interest::Write);
            outcome_of_connect(&stream)
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
