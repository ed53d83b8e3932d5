//! A conversation of this server with a TURN server as its client, over UDP, TCP or TLS: one request at a time.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::client::{
    self, Credentials, Event, Expiry, Failure, REQUEST_MAX, Request, Session, Timing,
};
use crate::stun::{Frame, Framer, TransactionId};
use crate::tls::{Dislike, Probe, dtls_greeting, is_dtls_answer};
use crate::worker::Clock;

/// A request is sent twice and given up after 1.5 s.
const TIMING: Timing = Timing { rto: Duration::from_millis(500), requests: 2, last: 2 };
/// How long a connection may take, and a handshake.
const CONNECT: Duration = Duration::from_millis(1500);
/// How long one greeting of DTLS is waited for, which may be lost.
const GREETING: Duration = Duration::from_millis(500);
const GREETINGS: usize = 3;
/// The longest answer.
const ANSWER: usize = 4096;

/// How a server is spoken to, and where.
#[derive(Clone)]
pub(in crate::control) enum Way {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Tls(SocketAddr, Probe),
}

/// A session with its socket.
pub(in crate::control) struct Exchange {
    session: Session,
    leg: Leg,
    clock: Clock,
    out: Vec<u8>,
}

enum Leg {
    Udp(UdpSocket),
    /// With what has been read and is not a whole message yet.
    Tcp(TcpStream, Vec<u8>),
    /// The same.
    Tls(Box<Sealed>, Vec<u8>),
}

impl Exchange {
    pub(in crate::control) async fn open(
        way: Way,
        credentials: Option<Arc<Credentials>>,
        clock: Clock,
    ) -> io::Result<Self> {
        let (leg, over) = match way {
            Way::Udp(address) => (Leg::Udp(connected(address).await?), client::Transport::Udp),
            Way::Tcp(address) => {
                (Leg::Tcp(connect(address).await?, Vec::new()), client::Transport::Tcp)
            }
            Way::Tls(address, probe) => {
                let stream = connect(address).await?;
                let tls = probe.connect().map_err(io::Error::other)?;
                let mut sealed = Sealed { stream, tls };
                in_time(sealed.agree()).await?;
                (Leg::Tls(Box::new(sealed), Vec::new()), client::Transport::Tcp)
            }
        };
        let session = Session::new(over, credentials, TIMING);
        Ok(Self { session, leg, clock, out: vec![0; REQUEST_MAX] })
    }

    /// The address that it speaks from.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::control) fn local(&self) -> io::Result<SocketAddr> {
        match &self.leg {
            Leg::Udp(socket) => socket.local_addr(),
            Leg::Tcp(stream, _) => stream.local_addr(),
            Leg::Tls(sealed, _) => sealed.stream.local_addr(),
        }
    }

    /// Sends a message that is none of a request: data for a peer.
    pub(in crate::control) async fn tell(&mut self, message: &[u8]) {
        self.out[..message.len()].copy_from_slice(message);
        self.send(message.len()).await;
    }

    /// The next data from a peer.
    ///
    /// # Errors
    /// The connection is broken.
    pub(in crate::control) async fn hear(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let packet = self.leg.receive().await?;
            if let Event::Data(data) = self.session.receive(&packet) {
                return Ok(packet[data.payload].to_vec());
            }
        }
    }

    pub(in crate::control) async fn ask(&mut self, request: Request) -> Result<(), Failure> {
        let lost = Failure::NoAnswer { method: request.method().0 };
        let (now, id) = (self.clock.now().mono, new_id());
        // The buffer is long enough for every request.
        let length = self.session.begin(now, id, request, &mut self.out).unwrap_or(0);
        self.send(length).await;
        loop {
            let Some(deadline) = self.session.deadline() else { return Err(lost) };
            let left = deadline.since(self.clock.now().mono);
            let Ok(received) = timeout(left, self.leg.receive()).await else {
                match self.session.expire(self.clock.now().mono, &mut self.out) {
                    Expiry::Send(length) => self.send(length).await,
                    Expiry::Failed(failure) => return Err(failure),
                    Expiry::Nothing => {}
                }
                continue;
            };
            // An ICMP error on UDP: what is sent next may fare better. A broken stream is broken.
            let Ok(packet) = received else {
                match self.leg {
                    Leg::Tcp(..) | Leg::Tls(..) => return Err(lost),
                    Leg::Udp(_) => continue,
                }
            };
            match self.session.receive(&packet) {
                Event::Done(_) => return Ok(()),
                Event::Failed(failure) => return Err(failure),
                Event::Challenged => {
                    let (now, id) = (self.clock.now().mono, new_id());
                    let length = self.session.repeat(now, id, &mut self.out).unwrap_or(0);
                    self.send(length).await;
                }
                Event::Data(_) | Event::Ignored => {}
            }
        }
    }

    /// What cannot be sent is sent again, or is missed.
    async fn send(&mut self, length: usize) {
        let bytes = &self.out[..length];
        match &mut self.leg {
            Leg::Udp(socket) => drop(socket.send(bytes).await),
            Leg::Tcp(stream, _) => drop(stream.write_all(bytes).await),
            Leg::Tls(sealed, _) => drop(sealed.write(bytes).await),
        }
    }
}

impl Leg {
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut buffer = vec![0; ANSWER];
                let length = socket.recv(&mut buffer).await?;
                buffer.truncate(length);
                Ok(buffer)
            }
            Self::Tcp(stream, input) => loop {
                if let Some(message) = whole(input)? {
                    return Ok(message);
                }
                let mut more = [0; ANSWER];
                match stream.read(&mut more).await? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    read => input.extend_from_slice(&more[..read]),
                }
            },
            Self::Tls(sealed, input) => loop {
                if let Some(message) = whole(input)? {
                    return Ok(message);
                }
                sealed.read(input).await?;
            },
        }
    }
}

/// Takes the first message out of what has been read, if it is whole.
fn whole(input: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let hopeless = |error| io::Error::new(ErrorKind::InvalidData, error);
    let frame = Framer { limit: ANSWER }.next(input).map_err(hopeless)?;
    let Frame::Message { length, consumed } = frame else {
        return Ok(None);
    };
    let mut message: Vec<_> = input.drain(..consumed).collect();
    message.truncate(length);
    Ok(Some(message))
}

/// A connection in TLS.
struct Sealed {
    stream: TcpStream,
    tls: ClientConnection,
}

impl Sealed {
    async fn agree(&mut self) -> io::Result<()> {
        self.flush().await?;
        while self.tls.is_handshaking() {
            self.receive().await?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        self.flush().await
    }

    /// Adds what comes next to `input`.
    async fn read(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        let mut plain = [0; ANSWER];
        loop {
            match self.tls.reader().read(&mut plain) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    input.extend_from_slice(&plain[..read]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.receive().await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; ANSWER];
        let read = self.stream.read(&mut bytes).await?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &bytes[..read];
        while !rest.is_empty() {
            if self.tls.read_tls(&mut rest)? == 0 {
                // RFC 8446 §6.1: nothing counts that comes after its leave.
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.tls
                .process_new_packets()
                .map_err(|error| io::Error::other(Dislike::from(error)))?;
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out)?;
        }
        self.stream.write_all(&out).await
    }
}

/// Says the first word of DTLS and waits for an answer.
pub(in crate::control) async fn greet(address: SocketAddr) -> io::Result<()> {
    let socket = connected(address).await?;
    let mut random = [0; 32];
    // Without random numbers the process would not have started.
    let _ = getrandom::fill(&mut random);
    let mut answer = [0; ANSWER];
    for _ in 0..GREETINGS {
        // What cannot be sent is missed, and what ICMP says of it as well.
        let _ = socket.send(&dtls_greeting(&random)).await;
        let answered = timeout(GREETING, async {
            loop {
                if let Ok(length) = socket.recv(&mut answer).await
                    && is_dtls_answer(&answer[..length])
                {
                    return;
                }
            }
        });
        if answered.await.is_ok() {
            return Ok(());
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// A socket that nobody else answers: the kernel lets nobody.
async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    in_time(TcpStream::connect(address)).await
}

async fn in_time<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECT, future).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}

fn new_id() -> TransactionId {
    let mut id = [0; 12];
    // Without random numbers the process would not have started; the socket is connected besides.
    let _ = getrandom::fill(&mut id);
    TransactionId::new(id)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::tls::{Probes, Trust, talks_after_its_leave};

    #[test]
    fn a_server_that_talks_on_after_its_leave_has_closed_the_connection() {
        let (told, tell) = mpsc::channel();
        // Who turns in a circle never comes back, and no timer of its own thread stops it.
        thread::spawn(move || {
            let server = talks_after_its_leave();
            let probe = Probes::trusting(&Trust::Anyone).unwrap().of(None, server.ip()).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let heard = runtime.unwrap().block_on(async {
                let way = Way::Tls(server, probe);
                Exchange::open(way, None, Clock::start()).await.unwrap().hear().await
            });
            told.send(heard.unwrap_err().kind())
        });
        assert_eq!(tell.recv_timeout(Duration::from_secs(10)), Ok(ErrorKind::UnexpectedEof));
    }
}
