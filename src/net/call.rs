//! Many messages with one call, or one message with the call that has the fewest structures to copy.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::system;

/// One `recvmmsg`, or for one header a `recvmsg`. Does not block. Says how many messages came.
///
/// # Safety
/// Every header's pointers are valid for its sizes, and nothing else uses what they point at.
pub(super) unsafe fn receive_many(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> io::Result<usize> {
    let (socket, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
    if let [header] = headers {
        // SAFETY: the caller's promise.
        let length = unsafe { system::recvmsg(socket, &mut header.msg_hdr, flags) };
        header.msg_len = u32::try_from(length).map_err(|_| io::Error::last_os_error())?;
        return Ok(1);
    }
    // SAFETY: the caller's promise.
    let received = unsafe { system::recvmmsg(socket, headers, flags) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// One `recvfrom`, without control messages. Does not block.
///
/// # Safety
/// The header's pointers are valid for its sizes, it has one piece, and nothing else uses what they point at.
pub(super) unsafe fn receive_one(
    socket: BorrowedFd<'_>,
    header: &mut libc::mmsghdr,
) -> io::Result<usize> {
    let message = &mut header.msg_hdr;
    // SAFETY: the caller's promise.
    let length = unsafe { system::recvfrom(socket.as_raw_fd(), message, libc::MSG_DONTWAIT) };
    header.msg_len = u32::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // Only now: without a message, the header has to be good for the next call as it is.
    header.msg_hdr.msg_controllen = 0;
    Ok(1)
}

/// One `sendmmsg`, or for one message a `sendmsg` or a `sendto`. Does not block. Says how many messages were sent.
///
/// # Safety
/// Every message's pointers are valid for its lengths.
pub(super) unsafe fn send_many(socket: RawFd, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if let [message] = messages {
        // SAFETY: the caller's promise.
        return unsafe { send_one(socket, &message.msg_hdr, flags) };
    }
    // SAFETY: the caller's promise; the kernel only reads what the messages point at, and writes their `msg_len`.
    // Any number is a valid argument for `socket`.
    let sent = unsafe { system::sendmmsg(socket, messages, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// # Safety
/// The message's pointers are valid for its lengths.
unsafe fn send_one(socket: RawFd, message: &libc::msghdr, flags: i32) -> io::Result<usize> {
    let sent = if message.msg_iovlen == 1 && message.msg_controllen == 0 {
        // SAFETY: the caller's promise: there is one piece, and the kernel only reads it and the name.
        unsafe { system::sendto(socket, message, flags) }
    } else {
        // SAFETY: the caller's promise; the kernel only reads what the message points at.
        unsafe { system::sendmsg(socket, message, flags) }
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(1) }
}
