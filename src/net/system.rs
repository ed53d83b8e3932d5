//! The datapath's system calls without the C library's wrappers.
//!
//! Each of those is a cancellation point of POSIX threads: in a process with several threads it pays two atomic
//! operations, which on the way of a packet add up to some percent. Nothing here is ever cancelled.

use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, c_long, c_uint, mmsghdr, msghdr, syscall};

/// `sendmsg(2)`
///
/// # Safety
/// The message's pointers are valid for its lengths.
pub(super) unsafe fn sendmsg(socket: RawFd, message: &msghdr, flags: c_int) -> c_long {
    // SAFETY: the caller's promise; the arguments are those of sendmsg(2).
    unsafe { syscall(libc::SYS_sendmsg, socket, ptr::from_ref(message), flags) }
}

/// `sendmmsg(2)`
///
/// # Safety
/// Every message's pointers are valid for its lengths.
pub(super) unsafe fn sendmmsg(socket: RawFd, messages: &mut [mmsghdr], flags: c_int) -> c_long {
    let count = messages.len() as c_uint;
    // SAFETY: the caller's promise; the arguments are those of sendmmsg(2).
    unsafe { syscall(libc::SYS_sendmmsg, socket, messages.as_mut_ptr(), count, flags) }
}

/// `recvmsg(2)`
///
/// # Safety
/// The message's pointers are valid for its lengths, and nothing else uses what they point at.
pub(super) unsafe fn recvmsg(socket: RawFd, message: &mut msghdr, flags: c_int) -> c_long {
    // SAFETY: the caller's promise; the arguments are those of recvmsg(2).
    unsafe { syscall(libc::SYS_recvmsg, socket, ptr::from_mut(message), flags) }
}

/// `recvmmsg(2)` without a time limit.
///
/// # Safety
/// Every message's pointers are valid for its lengths, and nothing else uses what they point at.
pub(super) unsafe fn recvmmsg(socket: RawFd, messages: &mut [mmsghdr], flags: c_int) -> c_long {
    let (count, no_limit) = (messages.len() as c_uint, ptr::null_mut::<libc::timespec>());
    // SAFETY: the caller's promise; the arguments are those of recvmmsg(2).
    unsafe { syscall(libc::SYS_recvmmsg, socket, messages.as_mut_ptr(), count, flags, no_limit) }
}

/// `sendto(2)`: the name and the first piece of a message.
///
/// # Safety
/// The message's pointers are valid for its lengths, and it has a piece.
pub(super) unsafe fn sendto(socket: RawFd, message: &msghdr, flags: c_int) -> c_long {
    let (name, name_len) = (message.msg_name, message.msg_namelen);
    // SAFETY: the caller's promise; the arguments are those of sendto(2).
    unsafe {
        let piece = *message.msg_iov;
        syscall(libc::SYS_sendto, socket, piece.iov_base, piece.iov_len, flags, name, name_len)
    }
}

/// `recvfrom(2)`: into the first piece of a message, with the name.
///
/// # Safety
/// The message's pointers are valid for its lengths, it has a piece, and nothing else uses what they point at.
pub(super) unsafe fn recvfrom(socket: RawFd, message: &mut msghdr, flags: c_int) -> c_long {
    let (name, name_len) = (message.msg_name, ptr::from_mut(&mut message.msg_namelen));
    // SAFETY: the caller's promise; the arguments are those of recvfrom(2).
    unsafe {
        let piece = *message.msg_iov;
        syscall(libc::SYS_recvfrom, socket, piece.iov_base, piece.iov_len, flags, name, name_len)
    }
}

/// `send(2)`
pub(super) fn send(socket: RawFd, bytes: &[u8], flags: c_int) -> c_long {
    let nobody = ptr::null::<libc::sockaddr>();
    // SAFETY: the kernel reads the bytes. Any number is a valid argument for `socket`.
    unsafe { syscall(libc::SYS_sendto, socket, bytes.as_ptr(), bytes.len(), flags, nobody, 0) }
}

/// `recv(2)`
pub(super) fn recv(socket: RawFd, bytes: &mut [u8], flags: c_int) -> c_long {
    let (pointer, length) = (bytes.as_mut_ptr(), bytes.len());
    let nobody = ptr::null_mut::<libc::sockaddr>();
    let no_length = ptr::null_mut::<libc::socklen_t>();
    // SAFETY: the kernel writes at most that many bytes. Any number is a valid argument for `socket`.
    unsafe { syscall(libc::SYS_recvfrom, socket, pointer, length, flags, nobody, no_length) }
}

/// `epoll_wait(2)`
///
/// # Safety
/// `events` has room for `max` events.
pub(super) unsafe fn epoll_wait(
    epoll: RawFd,
    events: *mut libc::epoll_event,
    max: c_int,
    milliseconds: c_int,
) -> c_long {
    // Its older form is not there on every architecture; without a signal mask it is the same.
    let no_mask = ptr::null::<libc::sigset_t>();
    // SAFETY: the caller's promise; the arguments are those of epoll_pwait(2).
    unsafe { syscall(libc::SYS_epoll_pwait, epoll, events, max, milliseconds, no_mask, 0_usize) }
}
