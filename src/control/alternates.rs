//! Whether the other servers, to which clients are sent, are alive: each is asked for a Binding, and
//! with credentials for an allocation as well, as a client would.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::auth::{self, RestDigest, mint_password};
use crate::client::{
    self, Credentials, Event, Expiry, Failure, REQUEST_MAX, Request, Session, Timing,
};
use crate::config::{OtherServer, Redirect};
use crate::stun::{Frame, Framer, TransactionId, error_code};
use crate::turn::{Alternate, Alternates, Place, Transport};
use crate::worker::Clock;

/// A request is sent twice and given up after 1.5 s.
const TIMING: Timing = Timing { rto: Duration::from_millis(500), requests: 2, last: 2 };
/// How long a connection may take.
const CONNECT: Duration = Duration::from_millis(1500);
/// Checks that have to fail one after another before a server is not handed out any more.
const FAILURES: u32 = 2;
/// The longest answer.
const ANSWER: usize = 4096;
/// How long a minted credential is good, in seconds: for one check, with clocks that differ.
const MINTED: u64 = 300;

/// Who asks.
#[derive(Clone)]
enum Asker {
    Nobody,
    User(Arc<Credentials>),
    /// Mints a credential for each check.
    Secret(auth::Secret, char, RestDigest),
}

/// What is configured, in the form in which the core asks for it.
pub(super) fn alternates(redirect: &Redirect) -> Arc<Alternates> {
    let member = |server: &OtherServer| {
        let OtherServer { name, addresses, tls_addresses, domain, weight } = server;
        let plain = [Transport::Udp, Transport::Tcp];
        let plain = plain.iter().flat_map(|it| addresses.iter().map(|to| Place::new(*it, *to)));
        let secure = tls_addresses.iter().map(|to| Place::new(Transport::Dtls, *to));
        let places = plain.chain(secure).collect();
        Alternate::new(name.clone(), *weight, domain.clone(), places)
    };
    let members = redirect.servers.iter().map(member).collect();
    Arc::new(Alternates { when: redirect.when, members })
}

/// Asks each of them from now on, for as long as the runtime lives.
pub(super) fn watch(
    alternates: &Arc<Alternates>,
    redirect: &Redirect,
    auth: &auth::Settings,
    clock: Clock,
) {
    let digest = auth.rest_digests.first().copied().unwrap_or(RestDigest::Sha1);
    let given = redirect.credentials.as_ref();
    // What no server takes was found when the configuration was checked.
    let given = given.and_then(|user| Credentials::new(&user.name, &user.password).ok());
    let asker = match (given, auth.secrets.first()) {
        (Some(credentials), _) => Asker::User(Arc::new(credentials)),
        (None, Some(secret)) => Asker::Secret(secret.clone(), auth.separator, digest),
        (None, None) => Asker::Nobody,
    };
    for (member, of) in alternates.members.iter().enumerate() {
        for (place, at) in of.places.iter().enumerate() {
            if at.transport != Transport::Dtls {
                let watcher = Watcher { all: Arc::clone(alternates), member, place, clock };
                tokio::spawn(watcher.run(asker.clone(), redirect.interval));
            }
        }
    }
}

/// Looks after one place.
struct Watcher {
    all: Arc<Alternates>,
    member: usize,
    place: usize,
    clock: Clock,
}

impl Watcher {
    async fn run(self, asker: Asker, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut known, mut failures) = (None, 0);
        let (transport, address) = {
            let place = &self.all.members[self.member].places[self.place];
            (place.transport, place.address)
        };
        loop {
            ticks.tick().await;
            let found = check(transport, address, &asker, self.clock).await;
            failures = if found.is_ok() { 0 } else { failures + 1 };
            // At first it is not handed out, so that one failure is enough to say so.
            if found.is_err() && failures < FAILURES && known.is_some() {
                continue;
            }
            if known != Some(found.is_ok()) {
                known = Some(found.is_ok());
                self.tell(&found);
            }
        }
    }

    fn tell(&self, found: &Result<(), String>) {
        let member = &self.all.members[self.member];
        let place = &member.places[self.place];
        place.set_alive(found.is_ok());
        if place.transport == Transport::Udp {
            // The others of the family cannot be asked from here, and live or die with it.
            let alike = |other: &&Place| {
                other.transport == Transport::Dtls
                    && other.address.is_ipv4() == place.address.is_ipv4()
            };
            member.places.iter().filter(alike).for_each(|other| other.set_alive(found.is_ok()));
        }
        let (server, address) = (member.name.as_str(), place.address);
        let transport = place.transport.label();
        match found {
            Ok(()) => tracing::info!(
                event = "alternate_alive",
                server,
                %address,
                transport,
                "the other server answers: clients may be sent there",
            ),
            Err(why) => tracing::warn!(
                event = "alternate_dead",
                server,
                %address,
                transport,
                "no client is sent to the other server: {why}",
            ),
        }
    }
}

/// Asks once.
async fn check(
    transport: Transport,
    address: SocketAddr,
    asker: &Asker,
    clock: Clock,
) -> Result<(), String> {
    let credentials = match asker {
        Asker::Nobody => None,
        Asker::User(credentials) => Some(Arc::clone(credentials)),
        Asker::Secret(secret, separator, digest) => {
            let username = format!("{}{separator}check", clock.now().unix + MINTED);
            let password = auth::Secret::new(mint_password(*digest, secret, &username));
            let minted = Credentials::new(&username, &password);
            Some(Arc::new(minted.map_err(|error| error.to_string())?))
        }
    };
    let mut exchange = Exchange::open(transport, address, credentials.clone(), clock)
        .await
        .map_err(|error| format!("it cannot be reached: {error}"))?;
    exchange.ask(Request::Binding).await.map_err(|failure| failure.to_string())?;
    if credentials.is_none() {
        return Ok(());
    }
    match exchange.ask(Request::Allocate { family: None, lifetime: None }).await {
        Ok(()) => {}
        // It has no relay of this family, and has believed the credentials.
        Err(Failure::Refused { code: error_code::ADDRESS_FAMILY_NOT_SUPPORTED, .. }) => {
            return Ok(());
        }
        Err(failure) => return Err(failure.to_string()),
    }
    // Whether it ends well is the same to us: it would end by itself.
    let _ = exchange.ask(Request::Refresh { lifetime: 0 }).await;
    Ok(())
}

/// A session with its socket.
struct Exchange {
    session: Session,
    leg: Leg,
    clock: Clock,
    out: Vec<u8>,
}

enum Leg {
    Udp(UdpSocket),
    /// With what has been read and is not a whole message yet.
    Tcp(TcpStream, Vec<u8>),
}

impl Exchange {
    async fn open(
        transport: Transport,
        address: SocketAddr,
        credentials: Option<Arc<Credentials>>,
        clock: Clock,
    ) -> io::Result<Self> {
        let (leg, over) = if transport.is_stream() {
            let connection = timeout(CONNECT, TcpStream::connect(address)).await;
            let connection = connection.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            (Leg::Tcp(connection, Vec::new()), client::Transport::Tcp)
        } else {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).await?;
            // Connected: the kernel lets nobody else answer.
            socket.connect(address).await?;
            (Leg::Udp(socket), client::Transport::Udp)
        };
        let session = Session::new(over, credentials, TIMING);
        Ok(Self { session, leg, clock, out: vec![0; REQUEST_MAX] })
    }

    async fn ask(&mut self, request: Request) -> Result<(), Failure> {
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
                    Leg::Tcp(..) => return Err(lost),
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
                let hopeless = |error| io::Error::new(io::ErrorKind::InvalidData, error);
                let frame = Framer { limit: ANSWER }.next(input).map_err(hopeless)?;
                if let Frame::Message { length, consumed } = frame {
                    let mut message: Vec<_> = input.drain(..consumed).collect();
                    message.truncate(length);
                    return Ok(message);
                }
                let mut more = [0; ANSWER];
                match stream.read(&mut more).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => input.extend_from_slice(&more[..read]),
                }
            },
        }
    }
}

fn new_id() -> TransactionId {
    let mut id = [0; 12];
    // Without random numbers the process would not have started; the socket is connected besides.
    let _ = getrandom::fill(&mut id);
    TransactionId::new(id)
}
