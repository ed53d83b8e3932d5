//! TCP connections whose end on this host is a relayed transport address: made from it, and accepted on it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

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
    match socket.connect(&peer.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Whether a connection that [`connect_from`] has begun is there by now.
///
/// # Errors
/// Why there is none.
pub fn outcome_of_connect(stream: &TcpStream) -> io::Result<bool> {
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
pub fn reset_on_close(stream: &TcpStream) {
    // It fails only for a connection that is gone.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new_raw(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
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
