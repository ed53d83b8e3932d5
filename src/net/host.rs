//! What this host says about itself: its addresses, its way to the Internet, and how many sockets it allows.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ptr;

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface, like `eth0`.
    pub name: String,
    /// The address; a link-local one stands here without its scope.
    pub addr: IpAddr,
    /// The interface leads only to this host.
    pub loopback: bool,
    /// The interface is switched on.
    pub up: bool,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// All IP addresses of all interfaces, in the kernel's order.
///
/// # Errors
/// The kernel's list could not be had.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: on success, `first` is the head of a list that we own until `freeifaddrs`.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut next = first;
    // SAFETY: each entry is null or a valid part of the list, which is not changed while it is walked.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: `ifa_addr` is null or a socket address as long as its family says.
        if let Some(addr) = unsafe { ip_address(entry.ifa_addr) } {
            // SAFETY: the name is a C string that lives as long as the list.
            let name = unsafe { CStr::from_ptr(entry.ifa_name) };
            let has = |flag: libc::c_int| entry.ifa_flags & flag as libc::c_uint != 0;
            addresses.push(InterfaceAddress {
                name: name.to_string_lossy().into_owned(),
                addr,
                loopback: has(libc::IFF_LOOPBACK),
                up: has(libc::IFF_UP),
            });
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list came from `getifaddrs`, is freed once, and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(addresses)
}

/// The source address that the kernel would use towards the Internet; `None` if it knows no way there.
///
/// Connecting a UDP socket makes the kernel choose a route and sends nothing. The goal is the address of a root
/// name server (K): it is nobody's neighbour, so the default route is asked, while documentation ranges are
/// in use in laboratories and routed to nowhere by careful networks.
pub fn route_source(family: Family) -> Option<IpAddr> {
    let (any, goal): (SocketAddr, SocketAddr) = match family {
        Family::V4 => {
            ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(193, 0, 14, 129), 53).into())
        }
        Family::V6 => (
            (Ipv6Addr::UNSPECIFIED, 0).into(),
            (Ipv6Addr::new(0x2001, 0x7fd, 0, 0, 0, 0, 0, 1), 53).into(),
        ),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(goal).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}

/// Raises this process's limit of open descriptors as far as it may, and gives it back: (soft, hard).
///
/// # Errors
/// What the system calls say; the limit is then what it was.
pub fn raise_descriptor_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one `rlimit`.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// The IP address in a socket address, if that is what it is.
///
/// # Safety
/// `address` is null or points at a socket address that is as long as its family says.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise.
    match i32::from(unsafe { address.as_ref() }?.sa_family) {
        libc::AF_INET => {
            // SAFETY: by its family it is a `sockaddr_in`; read without asking for its alignment.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: by its family it is a `sockaddr_in6`; read without asking for its alignment.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_listed() {
        let all = interface_addresses().unwrap();
        let lo = all.iter().find(|a| a.addr == IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        assert!(lo.loopback && lo.up);
        assert_eq!(lo.name, "lo");
        assert!(all.iter().all(|a| !a.addr.is_unspecified()));
    }

    #[test]
    fn the_route_source_is_an_address_of_ours() {
        let all = interface_addresses().unwrap();
        for family in [Family::V4, Family::V6] {
            match route_source(family) {
                Some(source) => {
                    assert!(all.iter().any(|a| a.addr == source && !a.loopback), "{source}")
                }
                None => println!("no route for {family:?} here: nothing to compare"),
            }
        }
    }

    #[test]
    fn the_descriptor_limit_is_as_high_as_it_may_be() {
        let (soft, hard) = raise_descriptor_limit().unwrap();
        assert_eq!(soft, hard);
        assert_eq!(raise_descriptor_limit().unwrap(), (soft, hard));
    }
}
