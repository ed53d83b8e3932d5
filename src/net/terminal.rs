//! A terminal that shows nothing of what is typed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Does something while the terminal does not show what is typed, and has it show that again afterwards.
///
/// # Errors
/// It is no terminal.
pub fn without_echo<T>(terminal: BorrowedFd<'_>, work: impl FnOnce() -> T) -> io::Result<T> {
    let mut before = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the kernel writes one structure.
    if unsafe { libc::tcgetattr(terminal.as_raw_fd(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it has been written.
    let before = unsafe { before.assume_init() };
    let mut silent = before;
    silent.c_lflag &= !libc::ECHO;
    // The line's end is shown all the same.
    silent.c_lflag |= libc::ECHONL;
    set(terminal, &silent)?;
    let done = work();
    set(terminal, &before)?;
    Ok(done)
}

fn set(terminal: BorrowedFd<'_>, how: &libc::termios) -> io::Result<()> {
    // SAFETY: the kernel reads one structure.
    match unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
