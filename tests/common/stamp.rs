//! When the kernel has got a datagram, however late the test reads it.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::wait::eventually;

/// From <linux/sockios.h>; the bindings have no name for it.
const SIOCGSTAMPNS: libc::c_ulong = 0x8907;

/// Has the kernel note when datagrams come to a socket.
pub(crate) fn stamp(socket: &UdpSocket) {
    // The first question turns it on, and has no answer.
    let _ = ask(socket);
    let probe = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let own = probe.local_addr().expect("an address");
    let _ = ask(&probe);
    // A busy kernel does so a while later: what has come before is noted only when it is read.
    eventually("the kernel notes it", || {
        probe.send_to(b"now", own).expect("sent");
        let sent = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        probe.recv(&mut [0; 3]).expect("it comes");
        (arrival(&probe) <= sent).then_some(())
    });
}

/// When the datagram that was read last has come, on the system's clock.
#[track_caller]
pub(crate) fn arrival(socket: &UdpSocket) -> Duration {
    ask(socket).expect("a datagram has been read since stamp()")
}

fn ask(socket: &UdpSocket) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS as _, &raw mut time) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
