//! Whether this server relays, found out by relaying.
//!
//! While somebody asks now and then, a client in this process does what any client does, at one listener after the
//! other: Allocate, ChannelBind, data to a peer, data from it, Refresh with 0. The peer is a socket of this process at a
//! loopback address. What the core opens for that, it opens for nobody else ([`turn::SelfCheck`](crate::turn::SelfCheck)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::super::alternates::exchange::{Exchange, Way};
use super::super::error::StartError;
use crate::auth::{self, Secret, User};
use crate::client::{Credentials, DataHeader, Failure, Request};
use crate::stun::{ChannelNumber, Family, error_code};
use crate::time::Mono;
use crate::turn::SelfCheck;
use crate::worker::Clock;

/// The peer's address: a loopback one that nobody relays from.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 84, 85, 82));
/// How long after a check the next one comes at least, and how much later it may come.
const EVERY: Duration = Duration::from_secs(6);
const JITTER: u64 = 3000;
/// How old a result may be that is shown: older ones are waited for, so long.
const FRESH: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(8);
/// How long checks go on after the last time that somebody has asked.
const INTEREST: Duration = Duration::from_secs(60);
/// How often data are sent before they count as lost, and how long each is waited for.
const SENDINGS: usize = 4;
const FLIGHT: Duration = Duration::from_millis(300);
/// One lost packet, or a reload in the middle of it, is no failure.
const ATTEMPTS: usize = 2;
/// How long the allocation would live if its end were lost, in seconds.
const LIFETIME: u32 = 30;

/// Whom this server knows as itself.
pub(in crate::control) struct Itself {
    pub(in crate::control) check: Arc<SelfCheck>,
    user: User,
}

/// The sockets of the peers.
pub(in crate::control) struct Echoes(Vec<std::net::UdpSocket>);

impl Itself {
    /// Makes up a name and a password, and binds the peers.
    ///
    /// # Errors
    /// No random numbers.
    pub(in crate::control) fn new() -> Result<(Self, Echoes), StartError> {
        let mut random = [0; 40];
        getrandom::fill(&mut random).map_err(StartError::Random)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (name, password) = random.split_at(8);
        let name = format!("self-check-{}", hex(name));
        let user = User { name: name.clone(), password: Secret::new(hex(password)) };
        // A host without one of the families needs no peer of it.
        let bind = |ip: IpAddr| {
            let socket = std::net::UdpSocket::bind((ip, 0)).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        let sockets: Vec<_> =
            [PEER, Ipv6Addr::LOCALHOST.into()].into_iter().filter_map(bind).collect();
        let peers = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        Ok((Self { check: Arc::new(SelfCheck::new(name, peers)), user }, Echoes(sockets)))
    }

    /// Who may come in, and this server itself.
    pub(in crate::control) fn admitted(&self, settings: &auth::Settings) -> auth::Settings {
        let mut settings = settings.clone();
        settings.users.push(self.user.clone());
        settings
    }
}

/// A step of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Stage {
    Connect,
    Allocate,
    ChannelBind,
    ToPeer,
    ToClient,
    Delete,
}

impl Stage {
    pub(in crate::control) const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Allocate => "allocate",
            Self::ChannelBind => "channel_bind",
            Self::ToPeer => "to_peer",
            Self::ToClient => "to_client",
            Self::Delete => "delete",
        }
    }
}

/// What came of the last check.
#[derive(Clone, Debug)]
pub(in crate::control) enum Checked {
    /// There was none yet.
    Nothing,
    /// There is no listener for UDP without DTLS, where it could be asked.
    Impossible,
    /// A packet went both ways.
    Passed { at: Mono, took: Duration },
    /// It did not.
    Failed { at: Mono, stage: Stage, why: String },
}

impl Checked {
    /// Whether it is no reason to send clients elsewhere.
    pub(in crate::control) const fn is_good(&self) -> bool {
        matches!(self, Self::Passed { .. } | Self::Impossible)
    }

    const fn at(&self) -> Option<Mono> {
        match self {
            Self::Passed { at, .. } | Self::Failed { at, .. } => Some(*at),
            Self::Nothing | Self::Impossible => None,
        }
    }

    pub(in crate::control) fn in_words(&self, now: Mono) -> String {
        let age = self.at().map_or(0, |at| now.since(at).as_secs());
        match self {
            Self::Nothing => "there is no result yet".to_owned(),
            Self::Impossible => "not made: nothing listens for plain UDP".to_owned(),
            Self::Passed { took, .. } => {
                format!(
                    "a packet was relayed both ways in {:.1} ms, {age} s ago",
                    took.as_secs_f64() * 1e3
                )
            }
            Self::Failed { stage, why, .. } => {
                format!("failed at {}, {age} s ago: {why}", stage.label())
            }
        }
    }
}

/// What is known of it, and who wants to know.
pub(in crate::control) struct Readiness {
    clock: Clock,
    results: watch::Receiver<Checked>,
    wanted: Arc<Wanted>,
}

/// What the checking task and those who ask share.
struct Wanted {
    asked: Notify,
    /// When somebody has asked last, in microseconds of the process's clock.
    last: AtomicU64,
    listeners: Mutex<Vec<SocketAddr>>,
    passed: AtomicU64,
    failed: AtomicU64,
}

impl Readiness {
    /// Checks from the first question on.
    ///
    /// # Errors
    /// The sockets of the peers cannot be watched, or their user is none.
    pub(in crate::control) fn watch(
        itself: &Itself,
        echoes: Echoes,
        listeners: &[SocketAddr],
        clock: Clock,
    ) -> Result<Self, StartError> {
        let wanted = Arc::new(Wanted {
            asked: Notify::new(),
            last: AtomicU64::new(0),
            listeners: Mutex::new(listeners.to_vec()),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let (sender, results) = watch::channel(Checked::Nothing);
        let Echoes(echoes) = echoes;
        let echoes = echoes.into_iter().map(UdpSocket::from_std).collect::<io::Result<_>>();
        let echoes =
            echoes.map_err(|error| StartError::System("the sockets of the self-check", error))?;
        let User { name, password } = &itself.user;
        let credentials = Credentials::new(name, password)
            .map_err(|error| StartError::System("the self-check", io::Error::other(error)))?;
        let checker = Checker {
            clock,
            credentials: Arc::new(credentials),
            check: Arc::clone(&itself.check),
            echoes,
            turn: 0,
        };
        tokio::spawn(checker.run(sender, Arc::clone(&wanted)));
        Ok(Self { clock, results, wanted })
    }

    /// Checks that have passed.
    pub(in crate::control) fn passed(&self) -> u64 {
        self.wanted.passed.load(Ordering::Relaxed)
    }

    /// Checks that have failed.
    pub(in crate::control) fn failed(&self) -> u64 {
        self.wanted.failed.load(Ordering::Relaxed)
    }

    /// The listeners are these now.
    pub(in crate::control) fn ask_at(&self, listeners: &[SocketAddr]) {
        *self.wanted.listeners.lock().unwrap_or_else(PoisonError::into_inner) = listeners.to_vec();
    }

    /// What came of the last check, however old.
    pub(in crate::control) fn last(&self) -> Checked {
        self.results.borrow().clone()
    }

    /// What came of the last check, or of the next one where that is too old.
    pub(in crate::control) async fn checked(&self) -> Checked {
        let now = self.clock.now().mono;
        self.wanted.last.store(now.as_micros(), Ordering::Relaxed);
        self.wanted.asked.notify_one();
        let fresh = |checked: &Checked| match checked.at() {
            Some(at) => now.since(at) < FRESH,
            None => matches!(checked, Checked::Impossible),
        };
        let mut results = self.results.clone();
        match timeout(PATIENCE, results.wait_for(fresh)).await {
            Ok(Ok(found)) => found.clone(),
            // Of an old result nothing is known any more.
            _ => Checked::Nothing,
        }
    }
}

/// The client that checks.
struct Checker {
    clock: Clock,
    credentials: Arc<Credentials>,
    check: Arc<SelfCheck>,
    echoes: Vec<UdpSocket>,
    /// Which listener is next.
    turn: usize,
}

impl Checker {
    async fn run(mut self, results: watch::Sender<Checked>, wanted: Arc<Wanted>) {
        loop {
            let last = Mono::from_micros(wanted.last.load(Ordering::Relaxed));
            if last == Mono::default() || self.clock.now().mono.since(last) > INTEREST {
                wanted.asked.notified().await;
            }
            let listeners = wanted.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let found = self.try_some(&listeners).await;
            let failed = |checked: &Checked| matches!(checked, Checked::Failed { .. });
            if failed(&results.borrow()) != failed(&found) {
                tell(&found, self.clock.now().mono);
            }
            match found {
                Checked::Passed { .. } => drop(wanted.passed.fetch_add(1, Ordering::Relaxed)),
                Checked::Failed { .. } => drop(wanted.failed.fetch_add(1, Ordering::Relaxed)),
                Checked::Nothing | Checked::Impossible => {}
            }
            if results.send(found).is_err() {
                return;
            }
            let mut random = [0; 2];
            // Without it they come at once in all servers that were started together.
            let _ = getrandom::fill(&mut random);
            sleep(EVERY + Duration::from_millis(u64::from(u16::from_le_bytes(random)) % JITTER))
                .await;
        }
    }

    async fn try_some(&mut self, listeners: &[SocketAddr]) -> Checked {
        self.turn = self.turn.wrapping_add(1);
        let Some(listener) = listeners.get(self.turn % listeners.len().max(1)) else {
            return Checked::Impossible;
        };
        let mut failed = Checked::Nothing;
        for _ in 0..ATTEMPTS {
            let began = self.clock.now().mono;
            let found = self.relay(reached_at(*listener)).await;
            self.check.set_port(0);
            let at = self.clock.now().mono;
            match found {
                Ok(()) => return Checked::Passed { at, took: at.since(began) },
                Err((stage, why)) => {
                    failed =
                        Checked::Failed { at, stage, why: format!("{why} (asked at {listener})") };
                }
            }
        }
        failed
    }

    /// One packet to a peer and one back.
    async fn relay(&self, listener: SocketAddr) -> Result<(), (Stage, String)> {
        let at = |stage: Stage| move |error: io::Error| (stage, error.to_string());
        let refused = |stage: Stage| move |failure: Failure| (stage, failure.to_string());
        let credentials = Some(Arc::clone(&self.credentials));
        let opened = Exchange::open(Way::Udp(listener), credentials, self.clock).await;
        let mut exchange = opened.map_err(at(Stage::Connect))?;
        self.check.set_port(exchange.local().map_err(at(Stage::Connect))?.port());
        let family = self.allocate(&mut exchange).await.map_err(refused(Stage::Allocate))?;
        let of_family = |echo: &&UdpSocket| {
            echo.local_addr().is_ok_and(|address| Family::of(&address.ip()) == family)
        };
        let Some(echo) = self.echoes.iter().find(of_family) else {
            return Err((
                Stage::ChannelBind,
                "this host has no loopback address of the relay's family".to_owned(),
            ));
        };
        let peer = echo.local_addr().map_err(at(Stage::ChannelBind))?;
        // The lowest number there is: it exists.
        let Some(number) = ChannelNumber::new(0x4000) else { return Ok(()) };
        let bound = exchange.ask(Request::ChannelBind { number, peer }).await;
        bound.map_err(refused(Stage::ChannelBind))?;
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(|error| (Stage::ToPeer, error.to_string()))?;
        let mut message = DataHeader::channel(number, token.len() as u16).bytes().to_vec();
        message.extend_from_slice(&token);
        let relayed = to_peer(&mut exchange, &message, echo, &token).await;
        let relayed = relayed
            .ok_or_else(|| (Stage::ToPeer, "what a client sends does not arrive".to_owned()))?;
        if !to_client(&mut exchange, echo, relayed, &token).await {
            return Err((Stage::ToClient, "what a peer sends does not arrive".to_owned()));
        }
        exchange.ask(Request::Refresh { lifetime: 0 }).await.map_err(refused(Stage::Delete))
    }

    /// An allocation of the family that there is.
    async fn allocate(&self, exchange: &mut Exchange) -> Result<Family, Failure> {
        let of = |family| Request::Allocate { family, lifetime: Some(LIFETIME) };
        match exchange.ask(of(None)).await {
            Ok(()) => Ok(Family::V4),
            Err(Failure::Refused { code: error_code::ADDRESS_FAMILY_NOT_SUPPORTED, .. }) => {
                exchange.ask(of(Some(Family::V6))).await.map(|()| Family::V6)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Sends a message until its payload has come to the peer; tells from where.
async fn to_peer(
    exchange: &mut Exchange,
    message: &[u8],
    echo: &UdpSocket,
    token: &[u8],
) -> Option<SocketAddr> {
    for _ in 0..SENDINGS {
        exchange.tell(message).await;
        let mut buffer = [0; 64];
        let arrival = async {
            loop {
                // Whatever else comes to this port is nobody's.
                if let Ok((length, from)) = echo.recv_from(&mut buffer).await
                    && buffer[..length] == *token
                {
                    return from;
                }
            }
        };
        if let Ok(from) = timeout(FLIGHT, arrival).await {
            return Some(from);
        }
    }
    None
}

/// Sends it back until it has come to the client.
async fn to_client(
    exchange: &mut Exchange,
    echo: &UdpSocket,
    relayed: SocketAddr,
    token: &[u8],
) -> bool {
    for _ in 0..SENDINGS {
        // What cannot be sent does not arrive.
        let _ = echo.send_to(token, relayed).await;
        let arrival = async {
            loop {
                match exchange.hear().await {
                    Ok(data) if data == token => return,
                    // An ICMP error of before.
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        if timeout(FLIGHT, arrival).await.is_ok() {
            return true;
        }
    }
    false
}

/// Where a listener is reached from this host.
fn reached_at(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

fn tell(found: &Checked, now: Mono) {
    match found {
        Checked::Passed { .. } | Checked::Impossible => {
            tracing::info!(event = "self_check", "self-check: {}", found.in_words(now));
        }
        Checked::Failed { stage, why, .. } => tracing::error!(
            event = "self_check_failed",
            stage = stage.label(),
            "this server does not relay to itself, and says that it is not ready: {why}",
        ),
        Checked::Nothing => {}
    }
}

#[cfg(test)]
impl Readiness {
    /// One that nobody asks.
    pub(in crate::control) fn unasked() -> Self {
        let wanted = Wanted {
            asked: Notify::new(),
            last: AtomicU64::new(0),
            listeners: Mutex::default(),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let (_, results) = watch::channel(Checked::Nothing);
        Self { clock: Clock::start(), results, wanted: Arc::new(wanted) }
    }
}
