//! ICMP errors about what a socket has sent, from its error queue.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::message::{Control, NAME_SIZE, Name, array, control_len, empty_header};

/// Why a datagram that we sent did not arrive (RFC 8656 §11.5 passes it on to the client).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the lost datagram was going.
    pub peer: SocketAddr,
    /// The ICMP or ICMPv6 type; 0 if `local`.
    pub kind: u8,
    /// The ICMP or ICMPv6 code; 0 if `local`.
    pub code: u8,
    /// The path's MTU in bytes if that is what was exceeded, else 0.
    pub mtu: u32,
    /// `kind` and `code` are those of ICMPv6.
    pub v6: bool,
    /// Our own kernel refused it before it left (too long to go unfragmented); no ICMP message came.
    pub local: bool,
}

/// Takes the oldest error off the queue of a socket made by [`relay_socket`](super::relay_socket); `None` if
/// there is none. The poller says `error` for as long as any is left; how many to take at once is the caller's choice.
///
/// # Errors
/// What `recvmsg` says, except that the queue is empty.
pub fn next_icmp(socket: BorrowedFd<'_>) -> io::Result<Option<IcmpError>> {
    loop {
        let mut name = Name::EMPTY;
        let mut control = Control::<CONTROL_SIZE>::EMPTY;
        let mut header = empty_header();
        header.msg_name = ptr::from_mut(&mut name).cast();
        header.msg_namelen = NAME_SIZE as libc::socklen_t;
        header.msg_control = ptr::from_mut(&mut control).cast();
        header.msg_controllen = CONTROL_SIZE as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the header points at `name` and `control`, with their sizes, and asks for no payload.
        if unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) } < 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN) => return Ok(None),
                _ => return Err(error),
            }
        }
        let peer = name.get(header.msg_namelen as usize);
        let cause = control
            .messages(control_len(&header))
            .find_map(|(level, kind, data)| extended_error(level, kind, data));
        // Anything else in the queue (a time stamp) is none of ours; taking it off ends this loop.
        if let (Some(peer), Some(cause)) = (peer, cause) {
            return Ok(Some(IcmpError { peer, ..cause }));
        }
    }
}

/// Whether a system call may have failed with `errno` because of an ICMP error to an *earlier* send: the kernel
/// keeps one per socket and gives it to whatever call comes next (its `icmp_err_convert` has the list).
pub(super) fn is_pending_icmp(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::EACCES
    )
}

/// Reads a `sock_extended_err`; the peer is filled in by the caller.
fn extended_error(level: i32, kind: i32, data: &[u8]) -> Option<IcmpError> {
    let v6 = match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_RECVERR) => false,
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => true,
        _ => return None,
    };
    let errno = u32::from_ne_bytes(array(data, 0)?);
    let [origin, icmp_type, icmp_code] = array(data, 4)?;
    let local = match origin {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => false,
        libc::SO_EE_ORIGIN_LOCAL => true,
        _ => return None,
    };
    let info = u32::from_ne_bytes(array(data, 8)?);
    Some(IcmpError {
        peer: SocketAddr::from(([0; 4], 0)),
        kind: icmp_type,
        code: icmp_code,
        mtu: if errno == libc::EMSGSIZE as u32 { info } else { 0 },
        v6,
        local,
    })
}

// A `sock_extended_err` with the offender's address, and an `in6_pktinfo` if the socket has that on.
const CONTROL_SIZE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(errno: i32, origin: u8, kind: u8, code: u8, info: u32) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&errno.to_ne_bytes());
        bytes[4..7].copy_from_slice(&[origin, kind, code]);
        bytes[8..12].copy_from_slice(&info.to_ne_bytes());
        bytes
    }

    #[test]
    fn fragmentation_needed_carries_the_mtu() {
        let data = raw(libc::EMSGSIZE, libc::SO_EE_ORIGIN_ICMP, 3, 4, 1400);
        let error = extended_error(libc::IPPROTO_IP, libc::IP_RECVERR, &data).unwrap();
        assert_eq!(
            (error.kind, error.code, error.mtu, error.v6, error.local),
            (3, 4, 1400, false, false)
        );
    }

    #[test]
    fn another_error_has_no_mtu() {
        let data = raw(libc::EPROTO, libc::SO_EE_ORIGIN_ICMP6, 4, 1, 40);
        let error = extended_error(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &data).unwrap();
        assert_eq!((error.kind, error.code, error.mtu, error.v6), (4, 1, 0, true));
    }

    #[test]
    fn time_stamps_and_short_answers_are_skipped() {
        let stamp = raw(libc::ENOMSG, libc::SO_EE_ORIGIN_TIMESTAMPING, 0, 0, 0);
        assert_eq!(extended_error(libc::IPPROTO_IP, libc::IP_RECVERR, &stamp), None);
        let whole = raw(libc::ECONNREFUSED, libc::SO_EE_ORIGIN_ICMP, 3, 3, 0);
        assert_eq!(extended_error(libc::IPPROTO_IP, libc::IP_RECVERR, &whole[..11]), None);
        assert_eq!(extended_error(libc::SOL_SOCKET, libc::IP_RECVERR, &whole), None);
    }
}
