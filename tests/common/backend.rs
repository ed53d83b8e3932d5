use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{PATIENCE, Setup, eventually};

/// A web server behind the server.
pub(crate) enum Backend {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// One of its connections.
pub(crate) enum Passed {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Backend {
    pub(crate) fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    pub(crate) fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a backend's socket");
        listener.set_nonblocking(true).expect("an option");
        Self::Tcp(listener)
    }

    pub(crate) fn unix() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Not below the target directory, whose path may be longer than such an address.
        let path =
            std::env::temp_dir().join(format!("web-{}-{number}.sock", getrandom::u32().unwrap()));
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a backend's socket");
        listener.set_nonblocking(true).expect("an option");
        Self::Unix(listener, path)
    }

    /// Where it listens, as the configuration has it.
    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().expect("a bound socket").to_string(),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// The next connection, with patience.
    #[track_caller]
    pub(crate) fn accept(&self) -> Passed {
        eventually("the backend is connected to", || match self {
            Self::Tcp(listener) => listener.accept().ok().map(|(stream, _)| Passed::Tcp(stream)),
            Self::Unix(listener, _) => listener.accept().ok().map(|(it, _)| Passed::Unix(it)),
        })
        .patient()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

impl Passed {
    fn patient(self) -> Self {
        let socket = socket2::SockRef::from(&self);
        socket.set_nonblocking(false).expect("an option");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        self
    }

    /// Reads as much as this is, and checks it.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.read_exact(&mut got).expect("all that was sent");
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
    }

    #[track_caller]
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.write_all(bytes).expect("the backend can send");
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Passed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Passed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Setup {
    /// A server that passes HTTP on to it, with these lines besides in its section.
    pub(crate) fn backend(self, backend: &Backend, more: &str) -> Self {
        self.config(&format!("[https]\nbackend = {:?}\n{more}", backend.endpoint()))
    }
}

/// A connection with patience, and nothing said on it yet.
#[track_caller]
pub(crate) fn web_client(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Cuts a connection off, so that the other end sees a RST.
pub(crate) fn cut_off(stream: impl AsFd) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).expect("an option");
}
