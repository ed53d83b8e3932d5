//! Readiness: epoll, and a way for other threads to end a sleep.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::system;

/// Says which of many sockets have work. Level-triggered, but for
/// [`Interest::Edges`]: what is left undone is told again by the next wait.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

/// What to wake up for. Errors and a lost connection wake up always, so a socket of which nothing is wanted
/// any more should be closed or taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Only errors and the loss of a connection.
    Errors,
    /// There is something to read, or the peer has ended its side.
    Read,
    /// There is room to write.
    Write,
    /// Both.
    ReadWrite,
    /// Both, told once when it comes about and not again while it lasts: for connections, which are read until
    /// they have nothing left and written to until they take nothing more. Half the price for each event.
    Edges,
}

/// The answer of one wait. It stands apart from the poller, so that sockets can be added and taken out while
/// going through it; an event may then be about a socket that is gone.
pub struct Events {
    ready: Vec<libc::epoll_event>,
}

/// One socket that has work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    token: u64,
    flags: u32,
}

impl Poller {
    /// Makes a poller that watches nothing yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(|epoll| Self { epoll })
    }

    /// Watches `fd` from now on; its events carry `token`. Closing the (only) descriptor ends it.
    ///
    /// # Errors
    /// It is watched already, or the system's limit of watches is reached.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes what a watched `fd` is watched for, and its token.
    ///
    /// # Errors
    /// It is not watched.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Stops watching `fd`.
    ///
    /// # Errors
    /// It is not watched.
    pub fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::Errors)
    }

    /// Sleeps until something is ready or `timeout` is over (`None`: for ever), never shorter: fractions of a
    /// millisecond are rounded up, so that a deadline has passed when the wait for it ends. A signal ends it early.
    ///
    /// # Errors
    /// None that a sound program meets.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.ready.clear();
        let room = i32::try_from(events.ready.capacity()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `room` events, and the vector has that capacity.
        let count = unsafe {
            system::epoll_wait(
                self.epoll.as_raw_fd(),
                events.ready.as_mut_ptr(),
                room,
                milliseconds(timeout),
            )
        };
        match usize::try_from(count) {
            // SAFETY: the kernel has written `count` events.
            Ok(count) => unsafe { events.ready.set_len(count) },
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn control(
        &self,
        operation: i32,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.flags() as u32, u64: token };
        // SAFETY: the kernel reads one event.
        match unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd.as_raw_fd(), &mut event)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Interest {
    fn flags(self) -> i32 {
        match self {
            Self::Errors => 0,
            Self::Read => libc::EPOLLIN | libc::EPOLLRDHUP,
            Self::Write => libc::EPOLLOUT,
            Self::ReadWrite => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLOUT,
            Self::Edges => Self::ReadWrite.flags() | libc::EPOLLET,
        }
    }
}

impl Events {
    /// Makes room for `max` events per wait (at least 1); more ready sockets than that are told in turn.
    pub fn with_capacity(max: usize) -> Self {
        Self { ready: Vec::with_capacity(max.max(1)) }
    }

    /// How many came.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// The wait ended by its timeout or by a signal.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Event `i` of the last wait.
    pub fn get(&self, i: usize) -> Option<Event> {
        self.ready.get(i).map(|event| Event { token: event.u64, flags: event.events })
    }

    /// All events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }
}

impl Event {
    /// What the socket was added with.
    pub fn token(self) -> u64 {
        self.token
    }

    /// A read will not block; it may say that the connection has ended.
    pub fn readable(self) -> bool {
        self.has(libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP)
    }

    /// A write will not block; it may say that the connection has ended.
    pub fn writable(self) -> bool {
        self.has(libc::EPOLLOUT | libc::EPOLLHUP)
    }

    /// The socket has a pending error, or its error queue holds some.
    pub fn error(self) -> bool {
        self.has(libc::EPOLLERR)
    }

    /// The peer has ended its side of the connection, or all of it.
    pub fn hangup(self) -> bool {
        self.has(libc::EPOLLRDHUP | libc::EPOLLHUP)
    }

    fn has(self, flags: i32) -> bool {
        self.flags & flags as u32 != 0
    }
}

/// Ends a [`Poller::wait`] from another thread: watch it like a socket, and share it (it is `Sync`).
#[derive(Debug)]
pub struct Waker {
    eventfd: File,
}

impl Waker {
    /// Makes a waker; watch it with [`Interest::Read`].
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let eventfd = owned(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        Ok(Self { eventfd: eventfd.into() })
    }

    /// Makes the waker readable until it is drained. Many calls count as one.
    pub fn wake(&self) {
        // It fails only when the counter is full, and then the waker is readable already.
        let _ = (&self.eventfd).write(&1_u64.to_ne_bytes());
    }

    /// Takes all wake-ups so far away. Drain first, then look at what the other threads have left.
    pub fn drain(&self) {
        // It fails only when there is nothing to take away.
        let _ = (&self.eventfd).read(&mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// Lets sleeps of this thread end on time, instead of when it suits the kernel (up to 50 microseconds later).
pub fn sharpen_timers() {
    // It cannot fail with these arguments; if it did, sleeps would be as long as before.
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// The descriptor that a system call has just made.
fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Rounded up; `-1` is for ever.
fn milliseconds(timeout: Option<Duration>) -> i32 {
    timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Instant;

    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    #[test]
    fn timeouts_are_rounded_up() {
        assert_eq!(milliseconds(None), -1);
        for (micros, expected) in
            [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (u64::MAX, i32::MAX)]
        {
            assert_eq!(milliseconds(Some(Duration::from_micros(micros))), expected, "{micros}");
        }
    }

    #[test]
    fn a_wait_is_never_shorter_than_its_timeout() {
        let poller = Poller::new().unwrap();
        let mut events = Events::with_capacity(4);
        let timeout = Duration::from_micros(2_300);
        let start = Instant::now();
        poller.wait(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout);
        assert!(events.is_empty());
    }

    #[test]
    fn a_waker_ends_a_wait_once() {
        let poller = Poller::new().unwrap();
        let waker = Waker::new().unwrap();
        poller.add(waker.as_fd(), 5, Interest::Read).unwrap();
        let mut events = Events::with_capacity(4);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|_| waker.wake()));
            poller.wait(&mut events, LONG).unwrap();
        });
        assert_eq!(events.len(), 1);
        let event = events.get(0).unwrap();
        assert!(event.token() == 5 && event.readable() && !event.writable() && !event.error());
        waker.drain();
        waker.drain();
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.iter().count(), 0);
    }

    #[test]
    fn interest_can_change_and_end() {
        let poller = Poller::new().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut events = Events::with_capacity(1);
        let mut flags = |token: u64| {
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            events
                .iter()
                .map(|e| (e.token() == token, e.readable(), e.writable()))
                .collect::<Vec<_>>()
        };
        poller.add(socket.as_fd(), 1, Interest::ReadWrite).unwrap();
        assert_eq!(
            poller.add(socket.as_fd(), 1, Interest::Read).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(flags(1), [(true, false, true)]);
        poller.modify(socket.as_fd(), 2, Interest::Write).unwrap();
        assert_eq!(flags(2), [(true, false, true)]);
        poller.modify(socket.as_fd(), 3, Interest::Read).unwrap();
        assert_eq!(flags(3), []);
        poller.delete(socket.as_fd()).unwrap();
        assert_eq!(poller.delete(socket.as_fd()).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_edge_is_told_once_until_more_comes() {
        let poller = Poller::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut events = Events::with_capacity(4);
        poller.add(server.as_fd(), 8, Interest::Edges).unwrap();
        poller.wait(&mut events, LONG).unwrap();
        assert!(events.get(0).unwrap().writable());
        for bytes in [b"one".as_slice(), b"and more"] {
            client.write_all(bytes).unwrap();
            poller.wait(&mut events, LONG).unwrap();
            assert!(events.get(0).unwrap().readable());
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty(), "told again");
        }
        drop(client);
        poller.wait(&mut events, LONG).unwrap();
        assert!(events.get(0).unwrap().hangup());
        // Less than there is room for: nothing is left but the end.
        let mut buffer = [0; 16];
        let mut read = || crate::net::read(server.as_fd(), &mut buffer).unwrap();
        assert_eq!([read(), read()], [11, 0]);
    }

    #[test]
    fn a_closed_connection_is_a_hangup_that_can_be_read() {
        let poller = Poller::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        poller.add(server.as_fd(), 8, Interest::Read).unwrap();
        drop(client);
        let mut events = Events::with_capacity(4);
        poller.wait(&mut events, LONG).unwrap();
        let event = events.get(0).unwrap();
        assert!(event.hangup() && event.readable());
    }
}
