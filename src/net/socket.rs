//! Sockets with the options that a relay needs, each made with as few system calls as it takes.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use libc::c_int;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::Family;

/// What an operator may set about UDP sockets.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct UdpOptions {
    /// The receive buffer in bytes, as given to SO_RCVBUF; 0 leaves the system's default.
    pub receive_buffer: usize,
    /// The send buffer in bytes, as given to SO_SNDBUF; 0 leaves the system's default.
    pub send_buffer: usize,
}

/// The transport whose ports [`port_is_free`] asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

/// Binds a UDP socket for clients. The port can be shared: several workers bind the same one, and the kernel
/// keeps a 5-tuple on its socket. On a wildcard address it tells each datagram's destination.
///
/// # Errors
/// What the system calls say. A port that another server shares too is not one: see [`port_is_free`].
pub fn udp_listener(address: SocketAddr, options: &UdpOptions) -> io::Result<UdpSocket> {
    let socket = udp_socket(address, options)?;
    clear_df(socket.as_raw_fd(), family(address))?;
    // Linux would choose ports for it that others share, were it to share its own already.
    let chosen = address.port() != 0;
    socket.set_reuse_port(chosen)?;
    if address.ip().is_unspecified() {
        let (level, name) = match address {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        set_option(socket.as_raw_fd(), level, name, 1)?;
    }
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Binds a UDP socket for one relayed transport address, and makes it ready to send. It has the port for itself.
///
/// # Errors
/// `AddrInUse` if anybody has the port; else what the system calls say.
pub fn relay_socket(address: SocketAddr, options: &UdpOptions) -> io::Result<UdpSocket> {
    let socket = bare_relay_socket(address, options)?;
    ready_to_send(socket.as_fd(), family(address))?;
    Ok(socket)
}

/// The same with the port only: what arrives is kept, but before a datagram is sent from it, it has to be made
/// [ready](ready_to_send).
///
/// # Errors
/// As for [`relay_socket`].
pub fn bare_relay_socket(address: SocketAddr, options: &UdpOptions) -> io::Result<UdpSocket> {
    let socket = udp_socket(address, options)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Makes a socket send with DF clear, and keep the ICMP errors that its datagrams cause for
/// [`next_icmp`](super::next_icmp).
///
/// # Errors
/// None, for a UDP socket of the family.
pub fn ready_to_send(socket: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    let (level, errors) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    clear_df(socket.as_raw_fd(), family)?;
    set_option(socket.as_raw_fd(), level, errors, 1)
}

/// Listens for TCP connections, with at most `backlog` not yet accepted (the system has a limit of its own).
/// The port can be shared, as with [`udp_listener`].
///
/// # Errors
/// What the system calls say.
pub fn tcp_listener(address: SocketAddr, backlog: u16) -> io::Result<TcpListener> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.into())?;
    Ok(socket.into())
}

/// Accepts one connection, non-blocking and without Nagle's delay; `None` if there is none now, or if it was
/// lost again before it could be accepted (the listener stays ready if there are more).
///
/// # Errors
/// What the system lacks for a connection (descriptors, memory): it stays queued, and the listener stays ready.
pub fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (socket, peer) = match SockRef::from(listener).accept4(flags) {
        Ok(accepted) => accepted,
        Err(error) => {
            return match error.raw_os_error() {
                Some(
                    libc::EMFILE
                    | libc::ENFILE
                    | libc::ENOBUFS
                    | libc::ENOMEM
                    | libc::EBADF
                    | libc::EINVAL
                    | libc::ENOTSOCK
                    | libc::EOPNOTSUPP,
                ) => Err(error),
                // EAGAIN, or what accept(2) passes on about the connection that is no more.
                _ => Ok(None),
            };
        }
    };
    // Refused only for a connection that is already gone, which the first read will tell.
    let _ = socket.set_tcp_nodelay(true);
    Ok(peer.as_socket().map(|peer| (socket.into(), peer)))
}

/// Whether `address` can be bound by somebody who does not share it: a second server on the same port would
/// otherwise be a silent partner that takes half of the clients. Port 0 is always free.
///
/// # Errors
/// `AddrInUse` if anybody has it, `AddrNotAvailable` if it is not an address of this host, `PermissionDenied`.
pub fn port_is_free(address: SocketAddr, transport: Transport) -> io::Result<()> {
    let kind = match transport {
        Transport::Udp => Type::DGRAM,
        Transport::Tcp => Type::STREAM,
    };
    let socket = Socket::new_raw(Domain::for_address(address), kind.cloexec(), None)?;
    only_its_family(&socket, address)?;
    if transport == Transport::Tcp {
        // Connections of a server that has ended may linger; they take the port from nobody.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(address))
}

/// What listeners and relay sockets have in common, all but the binding.
fn udp_socket(address: SocketAddr, options: &UdpOptions) -> io::Result<Socket> {
    let socket =
        Socket::new_raw(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), None)?;
    only_its_family(&socket, address)?;
    set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, options.receive_buffer)?;
    set_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, options.send_buffer)?;
    Ok(socket)
}

/// What listeners and connections have in common, for one end at this address.
pub(super) fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::for_address(address), kind, None)?;
    only_its_family(&socket, address)?;
    Ok(socket)
}

/// Gives a UDP socket other buffers; 0 leaves one as it is.
///
/// # Errors
/// What the system calls say.
pub fn set_buffers(socket: BorrowedFd<'_>, options: &UdpOptions) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, options.receive_buffer)?;
    set_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, options.send_buffer)
}

/// RFC 8656 §14, §15: the DF bit is 0 unless a client asks for it. No path MTU is remembered or enforced.
fn clear_df(socket: RawFd, family: Family) -> io::Result<()> {
    // With DONT the kernel would keep IPv4's "fragmentation needed" to itself, which clients are to be told
    // (RFC 8656 §11.5); with OMIT it would keep IPv6's "packet too big".
    let (level, name, value) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT),
    };
    set_option(socket, level, name, value)
}

const fn family(address: SocketAddr) -> Family {
    match address {
        SocketAddr::V4(_) => Family::V4,
        SocketAddr::V6(_) => Family::V6,
    }
}

/// IPv6 sockets leave IPv4 to IPv4 sockets: nobody then meets an IPv4 address in IPv6 clothes.
fn only_its_family(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(true) } else { Ok(()) }
}

/// Past the system's limit if we may (CAP_NET_ADMIN), else up to it.
fn set_buffer(socket: &Socket, force: c_int, plain: c_int, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    // The kernel doubles it, and takes at most half of what fits.
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX).min(c_int::MAX / 2);
    let fd = socket.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, force, bytes)
        .or_else(|_| set_option(fd, libc::SOL_SOCKET, plain, bytes))
}

/// Sets an option that is an `int`.
pub(super) fn set_option(socket: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one `int` from `value`. Any number is a valid argument for `socket`.
    let set =
        unsafe { libc::setsockopt(socket, level, name, ptr::from_ref(&value).cast(), INT_SIZE) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option that is an `int`.
pub(super) fn option(socket: RawFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut size = INT_SIZE;
    // SAFETY: the kernel writes at most `size` bytes to `value`. Any number is a valid argument for `socket`.
    let read = unsafe {
        libc::getsockopt(socket, level, name, ptr::from_mut(&mut value).cast(), &mut size)
    };
    if read == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

const INT_SIZE: libc::socklen_t = mem::size_of::<c_int>() as libc::socklen_t;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::Ipv6Addr;

    const ANY_PORT: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn workers_share_a_listener_but_a_second_server_is_found_out() {
        let first = udp_listener(ANY_PORT, &UdpOptions::default()).unwrap();
        let address = first.local_addr().unwrap();
        let _second = udp_listener(address, &UdpOptions::default()).unwrap();
        assert_eq!(kind(port_is_free(address, Transport::Udp)), Some(ErrorKind::AddrInUse));
        assert_eq!(kind(relay_socket(address, &UdpOptions::default())), Some(ErrorKind::AddrInUse));

        let first = tcp_listener(ANY_PORT, 8).unwrap();
        let address = first.local_addr().unwrap();
        let _second = tcp_listener(address, 8).unwrap();
        assert_eq!(kind(port_is_free(address, Transport::Tcp)), Some(ErrorKind::AddrInUse));
    }

    /// Of so many, some would get the port of another.
    #[test]
    fn a_port_that_the_system_chooses_is_nobody_elses() {
        let ip = std::net::Ipv4Addr::new(127, 77, 7, 7);
        let listeners: Vec<_> = (0..500)
            .map(|_| udp_listener((ip, 0).into(), &UdpOptions::default()).unwrap())
            .collect();
        let ports = listeners.iter().map(|listener| listener.local_addr().unwrap().port());
        assert_eq!(ports.collect::<std::collections::BTreeSet<_>>().len(), listeners.len());
    }

    #[test]
    fn a_relay_port_is_taken_once_and_free_after_release() {
        let relay = relay_socket(ANY_PORT, &UdpOptions::default()).unwrap();
        let address = relay.local_addr().unwrap();
        assert_eq!(kind(relay_socket(address, &UdpOptions::default())), Some(ErrorKind::AddrInUse));
        assert_eq!(kind(port_is_free(address, Transport::Udp)), Some(ErrorKind::AddrInUse));
        assert_eq!(kind(udp_listener(address, &UdpOptions::default())), Some(ErrorKind::AddrInUse));
        assert!(port_is_free(ANY_PORT, Transport::Udp).is_ok());
    }

    #[test]
    fn an_address_of_another_host_is_not_available() {
        let elsewhere = "[2001:db8:0:1::77]:0".parse().unwrap();
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert_eq!(
                kind(port_is_free(elsewhere, Transport::Udp)),
                Some(ErrorKind::AddrNotAvailable)
            );
        }
    }

    #[test]
    fn sockets_do_not_block_and_do_not_set_df() {
        let options = UdpOptions { receive_buffer: 100_000, send_buffer: 50_000 };
        for socket in
            [udp_listener(ANY_PORT, &options).unwrap(), relay_socket(ANY_PORT, &options).unwrap()]
        {
            assert_eq!(kind(socket.recv(&mut [0; 8])), Some(ErrorKind::WouldBlock));
            let get = |level, name| option(socket.as_raw_fd(), level, name).unwrap();
            assert_eq!(get(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), libc::IP_PMTUDISC_OMIT);
            assert!(get(libc::SOL_SOCKET, libc::SO_RCVBUF) >= 100_000);
            assert!(get(libc::SOL_SOCKET, libc::SO_SNDBUF) >= 50_000);
        }
    }

    #[test]
    fn an_impossible_buffer_is_as_large_as_it_can_be() {
        let greedy = UdpOptions { receive_buffer: usize::MAX, send_buffer: 0 };
        assert!(udp_listener(ANY_PORT, &greedy).is_ok());
    }

    #[test]
    fn accept_gives_a_ready_made_stream_or_nothing() {
        let listener = tcp_listener(ANY_PORT, 8).unwrap();
        assert!(accept(&listener).unwrap().is_none());
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = accept(&listener).unwrap().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(stream.nodelay().unwrap());
        assert_eq!(kind(io::Read::read(&mut &stream, &mut [0; 8])), Some(ErrorKind::WouldBlock));
        // SAFETY: reads the descriptor's flags.
        let flags = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
