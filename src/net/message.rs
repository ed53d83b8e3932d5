//! What a `msghdr` points at: the address and the control messages, in the kernel's layout.
//!
//! Both are read and written as bytes, so that nothing here needs `unsafe` and a short answer of the kernel is
//! a short slice.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::c_int;

/// A `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(super) struct Name([u8; NAME_SIZE]);

/// The size to offer the kernel for a name.
pub(super) const NAME_SIZE: usize = mem::size_of::<libc::sockaddr_in6>();

impl Name {
    pub(super) const EMPTY: Self = Self([0; NAME_SIZE]);

    /// Writes `address` and returns how many bytes of it count.
    pub(super) fn set(&mut self, address: SocketAddr) -> usize {
        let bytes = &mut self.0;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                bytes[8..16].fill(0);
                mem::size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                // The flow label is the kernel's to choose.
                bytes[4..8].fill(0);
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                NAME_SIZE
            }
        }
    }

    /// The address in the first `len` bytes. The flow label is left out, so that equal peers compare equal.
    pub(super) fn get(&self, len: usize) -> Option<SocketAddr> {
        let bytes = self.0.get(..len)?;
        let family = c_int::from(u16::from_ne_bytes(array(bytes, 0)?));
        let port = u16::from_be_bytes(array(bytes, 2)?);
        if family == libc::AF_INET {
            let ip = Ipv4Addr::from(array::<4>(bytes, 4)?);
            Some(SocketAddrV4::new(ip, port).into())
        } else if family == libc::AF_INET6 {
            let ip = Ipv6Addr::from(array::<16>(bytes, 8)?);
            let scope = u32::from_ne_bytes(array(bytes, 24)?);
            Some(SocketAddrV6::new(ip, port, 0, scope).into())
        } else {
            None
        }
    }
}

/// Room for control messages, aligned as the kernel wants them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control<const N: usize>([u8; N]);

impl<const N: usize> Control<N> {
    pub(super) const EMPTY: Self = Self([0; N]);

    /// The control messages in the first `len` bytes, as (level, type, data).
    pub(super) fn messages(&self, len: usize) -> Messages<'_> {
        Messages(&self.0[..len.min(N)])
    }

    /// Adds a message behind the first `len` bytes and returns the new length (unchanged if there is no room).
    pub(super) fn add(&mut self, len: usize, level: c_int, kind: c_int, data: &[u8]) -> usize {
        let Some(room) = self.0.get_mut(len..len + space(data.len())) else {
            return len;
        };
        room[..LEVEL_AT].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        room[LEVEL_AT..LEVEL_AT + 4].copy_from_slice(&level.to_ne_bytes());
        room[LEVEL_AT + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..HEADER + data.len()].copy_from_slice(data);
        len + space(data.len())
    }
}

/// Walks over control messages; ends at the first that is not whole.
pub(super) struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (c_int, c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from_ne_bytes(array(self.0, 0)?);
        let level = c_int::from_ne_bytes(array(self.0, LEVEL_AT)?);
        let kind = c_int::from_ne_bytes(array(self.0, LEVEL_AT + 4)?);
        let data = self.0.get(HEADER..len)?;
        self.0 = self.0.get(space(data.len())..).unwrap_or_default();
        Some((level, kind, data))
    }
}

/// The bytes that a control message with `data` bytes takes up.
pub(super) const fn space(data: usize) -> usize {
    HEADER + data.next_multiple_of(LEVEL_AT)
}

/// The destination address in an `in_pktinfo` or `in6_pktinfo`: the one in the IP header, not the interface's.
pub(super) fn packet_info(level: c_int, kind: c_int, data: &[u8]) -> Option<IpAddr> {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => Some(Ipv4Addr::from(array::<4>(data, 8)?).into()),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            Some(Ipv6Addr::from(array::<16>(data, 0)?).into())
        }
        _ => None,
    }
}

/// A header that points at nothing yet.
pub(super) fn empty_header() -> libc::msghdr {
    // SAFETY: a `msghdr` is plain data, and all zeros is its empty value.
    unsafe { mem::zeroed() }
}

/// A message that points at nothing yet.
pub(super) fn empty_message() -> libc::mmsghdr {
    libc::mmsghdr { msg_hdr: empty_header(), msg_len: 0 }
}

/// Bytes of control messages that `header` has.
pub(super) fn control_len(header: &libc::msghdr) -> usize {
    #[allow(clippy::unnecessary_cast, reason = "with musl it is a u32")]
    let length = header.msg_controllen as usize;
    length
}

/// `N` bytes from `at` on, if they are there.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

// A control message is its length (a `size_t`), level, type, and data padded to the size of a `size_t`.
const LEVEL_AT: usize = mem::size_of::<usize>();
const HEADER: usize = LEVEL_AT + 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_without_the_flow_label() {
        for (written, read) in [
            ("192.0.2.1:65535", "192.0.2.1:65535"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
            ("[fe80::1%7]:443", "[fe80::1%7]:443"),
        ] {
            let mut name = Name([0xff; NAME_SIZE]);
            let len = name.set(written.parse().unwrap());
            assert_eq!(name.get(len), Some(read.parse().unwrap()));
        }
        let mut name = Name::EMPTY;
        let len = name.set(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 0xabcde, 0).into());
        assert_eq!(name.get(len), Some("[::1]:9".parse().unwrap()));
    }

    #[test]
    fn nothing_of_the_name_before_is_left() {
        let mut name = Name([0xff; NAME_SIZE]);
        name.set("127.0.0.1:9".parse().unwrap());
        assert_eq!(name.0[8..16], [0; 8]);
        name.set("[::1]:9".parse().unwrap());
        assert_eq!(name.0[4..23], [0; 19]);
    }

    #[test]
    fn a_short_or_foreign_name_is_no_address() {
        let mut name = Name::EMPTY;
        let len = name.set("[::1]:9".parse().unwrap());
        for short in 0..len {
            assert_eq!(name.get(short), None);
        }
        assert_eq!(name.get(NAME_SIZE + 1), None);
        assert_eq!(Name::EMPTY.get(NAME_SIZE), None);
    }

    #[test]
    fn control_messages_have_the_layout_of_libc() {
        // SAFETY: pure arithmetic.
        let expected = unsafe { (libc::CMSG_SPACE(20), libc::CMSG_LEN(20)) };
        assert_eq!(space(20), expected.0 as usize);
        assert_eq!(HEADER + 20, expected.1 as usize);
    }

    #[test]
    fn control_messages_round_trip_and_end_where_the_bytes_do() {
        let mut control = Control::<64>::EMPTY;
        let first = control.add(0, 1, 2, &[3; 5]);
        let second = control.add(first, 4, 5, &[6; 16]);
        assert_eq!(control.add(second, 7, 8, &[9; 16]), second, "no room for a third");
        let all: Vec<_> = control.messages(second).collect();
        assert_eq!(all, [(1, 2, &[3; 5][..]), (4, 5, &[6; 16][..])]);
        assert_eq!(control.messages(second - 1).count(), 1);
        assert_eq!(control.messages(10).count(), 0);
    }

    #[test]
    fn a_lying_length_ends_the_walk() {
        for length in [0, 1, HEADER - 1, 1000, usize::MAX] {
            let mut control = Control::<64>::EMPTY;
            let len = control.add(0, 1, 2, &[3; 5]);
            control.0[..LEVEL_AT].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(control.messages(len).count(), 0, "{length}");
        }
    }
}
