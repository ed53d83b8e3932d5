//! Reading from and writing to connections.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::system;

/// Reads what has come on a connection, as far as `buffer` has room. Never blocks.
///
/// 0 is the end of what the peer sends. A connection that the poller watches by [edges](super::Interest::Edges) has
/// nothing left when it is less than the buffer takes.
///
/// # Errors
/// `WouldBlock` when there is nothing now; else the connection is lost.
pub fn read(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    uninterrupted(|| system::recv(socket.as_raw_fd(), buffer, libc::MSG_DONTWAIT))
}

/// Writes as much as the kernel takes, which may be less than all. Never blocks.
///
/// # Errors
/// `WouldBlock` when it takes nothing now; else the connection is lost.
pub fn write(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    uninterrupted(|| system::send(socket.as_raw_fd(), bytes, flags))
}

fn uninterrupted(mut call: impl FnMut() -> libc::c_long) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
