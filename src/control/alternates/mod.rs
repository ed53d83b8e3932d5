//! Whether the other servers, to which clients are sent, are alive: each is asked for a Binding, and
//! with credentials for an allocation as well, as a client would.
//!
//! | place | what is asked |
//! |---|---|
//! | UDP, TCP | Binding, Allocate |
//! | TLS | the same inside of TLS; a certificate that all clients would refuse counts as no answer |
//! | DTLS | the greeting of a handshake there, and the rest at the same server's UDP place |

pub(super) mod exchange;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::{self, RestDigest, mint_password};
use crate::client::{Credentials, Failure, Request};
use crate::config::{OtherServer, Redirect};
use crate::stun::error_code;
use crate::tls::{NoClient, Opinion, Probe, Probes};
use crate::turn::{Alternate, Alternates, Place, Transport};
use crate::worker::Clock;
use exchange::{Exchange, Way, greet};

/// Checks that have to fail one after another before a server is not handed out any more.
const FAILURES: u32 = 2;
/// How long a minted credential is good, in seconds: for one check, with clocks that differ.
const MINTED: u64 = 300;

/// Who asks.
#[derive(Clone)]
enum Asker {
    Nobody,
    User(Arc<Credentials>),
    /// Mints a credential for each check.
    Secret(Mint),
}

/// What credentials are minted with.
#[derive(Clone, PartialEq, Eq)]
struct Mint {
    secret: auth::Secret,
    separator: char,
    digest: RestDigest,
}

/// The other servers of this one, which are asked for as long as this lives.
pub(super) struct Others {
    /// What the core goes by.
    current: Arc<Alternates>,
    /// The same for the metrics.
    shown: Arc<ArcSwap<Alternates>>,
    /// Who is asked, and with what.
    asked: Option<(Redirect, Option<Mint>)>,
    watching: Vec<AbortHandle>,
    clock: Clock,
}

impl Others {
    /// Nobody is asked before [`Self::commit`].
    pub(super) fn new(redirect: &Redirect, clock: Clock) -> Self {
        let current = alternates(redirect);
        let shown = Arc::new(ArcSwap::new(Arc::clone(&current)));
        Self { current, shown, asked: None, watching: Vec::new(), clock }
    }

    /// What the core is to go by with these servers: what is known of one that stays is kept.
    pub(super) fn prepare(&self, redirect: &Redirect) -> Arc<Alternates> {
        if self.asked.as_ref().is_some_and(|(asked, _)| asked == redirect) {
            return Arc::clone(&self.current);
        }
        let next = alternates(redirect);
        next.take_over(&self.current);
        next
    }

    /// Asks these from now on, and the others no more.
    pub(super) fn commit(
        &mut self,
        next: Arc<Alternates>,
        redirect: &Redirect,
        auth: &auth::Settings,
    ) {
        let asked = (redirect.clone(), Mint::of(auth));
        if self.asked.as_ref() == Some(&asked) {
            return;
        }
        self.watching.drain(..).for_each(|task| task.abort());
        self.watching = watch(&next, redirect, asked.1.clone(), self.clock);
        self.shown.store(Arc::clone(&next));
        (self.current, self.asked) = (next, Some(asked));
    }

    pub(super) fn shown(&self) -> Arc<ArcSwap<Alternates>> {
        Arc::clone(&self.shown)
    }
}

/// What is configured, in the form in which the core asks for it.
fn alternates(redirect: &Redirect) -> Arc<Alternates> {
    let member = |server: &OtherServer| {
        let OtherServer { name, addresses, tls_addresses, domain, weight } = server;
        let plain = [Transport::Udp, Transport::Tcp];
        let plain = plain.iter().flat_map(|it| addresses.iter().map(|to| Place::new(*it, *to)));
        let secure = [Transport::Tls, Transport::Dtls];
        let secure =
            secure.iter().flat_map(|it| tls_addresses.iter().map(|to| Place::new(*it, *to)));
        let places = plain.chain(secure).collect();
        Alternate::new(name.clone(), *weight, domain.clone(), places)
    };
    let members = redirect.servers.iter().map(member).collect();
    Arc::new(Alternates { when: redirect.when, members })
}

/// Asks each of them from now on.
fn watch(
    alternates: &Arc<Alternates>,
    redirect: &Redirect,
    mint: Option<Mint>,
    clock: Clock,
) -> Vec<AbortHandle> {
    let mut tasks = Vec::new();
    let given = redirect.credentials.as_ref();
    // What no server takes was found when the configuration was checked.
    let given = given.and_then(|user| Credentials::new(&user.name, &user.password).ok());
    let asker = match (given, mint) {
        (Some(credentials), _) => Asker::User(Arc::new(credentials)),
        (None, Some(mint)) => Asker::Secret(mint),
        (None, None) => Asker::Nobody,
    };
    let secure = redirect.servers.iter().any(|server| !server.tls_addresses.is_empty());
    let probes = secure.then(Probes::new);
    for (member, of) in alternates.members.iter().enumerate() {
        for (place, at) in of.places.iter().enumerate() {
            let plain = |other: &&Place| {
                other.transport == Transport::Udp && other.address.is_ipv4() == at.address.is_ipv4()
            };
            let plain = of.places.iter().find(plain).map_or(at.address, |other| other.address);
            let Ok(asked) = Asked::new(at, plain, of.domain.as_deref(), probes.as_ref()) else {
                // Its name was found to be none when the configuration was checked.
                continue;
            };
            let all = Arc::clone(alternates);
            let watcher = Watcher { all, member, place, asked, asker: asker.clone(), clock };
            tasks.push(tokio::spawn(watcher.run(redirect.interval)).abort_handle());
        }
    }
    tasks
}

/// What is asked of one place.
enum Asked {
    Plain(Way),
    Tls(SocketAddr, Probe),
    /// The greeting here, the rest over UDP there.
    Dtls(SocketAddr, SocketAddr),
}

impl Asked {
    fn new(
        place: &Place,
        plain: SocketAddr,
        domain: Option<&str>,
        probes: Option<&Probes>,
    ) -> Result<Self, NoClient> {
        let address = place.address;
        Ok(match (place.transport, probes) {
            (Transport::Tls, Some(probes)) => Self::Tls(address, probes.of(domain, address.ip())?),
            (Transport::Dtls, _) => Self::Dtls(address, plain),
            (Transport::Udp, _) => Self::Plain(Way::Udp(address)),
            (Transport::Tcp | Transport::Tls, _) => Self::Plain(Way::Tcp(address)),
        })
    }
}

/// What is known of a place: alive, perhaps with a doubt about its certificate, or why it is not.
type Found = Result<Option<String>, String>;

/// Looks after one place.
struct Watcher {
    all: Arc<Alternates>,
    member: usize,
    place: usize,
    asked: Asked,
    asker: Asker,
    clock: Clock,
}

impl Watcher {
    async fn run(self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut known, mut failures) = (None, 0);
        loop {
            ticks.tick().await;
            let found = self.check().await;
            failures = if found.is_ok() { 0 } else { failures + 1 };
            // At first it is not handed out, so that one failure is enough to say so.
            if found.is_err() && failures < FAILURES && known.is_some() {
                continue;
            }
            // Why it is dead may change with each check; that it is has been said.
            let news = found.clone().map_err(drop);
            if known.as_ref() != Some(&news) {
                known = Some(news);
                self.tell(&found);
            }
        }
    }

    fn tell(&self, found: &Found) {
        let member = &self.all.members[self.member];
        let place = &member.places[self.place];
        place.set_alive(found.is_ok());
        let (server, address) = (member.name.as_str(), place.address);
        let transport = place.transport.label();
        match found {
            Ok(Some(doubt)) => tracing::warn!(
                event = "alternate_doubtful",
                server,
                %address,
                transport,
                "the other server answers and clients may be sent there, but some will refuse it: \
                 {doubt}",
            ),
            Ok(None) => tracing::info!(
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

    /// Asks once.
    async fn check(&self) -> Found {
        let credentials = self.asker.credentials(self.clock)?;
        match &self.asked {
            Asked::Plain(way) => self.converse(way.clone(), credentials).await.map(|()| None),
            Asked::Dtls(address, plain) => {
                greet(*address).await.map_err(|error| format!("it answers no DTLS: {error}"))?;
                self.converse(Way::Udp(*plain), credentials).await.map(|()| None)
            }
            Asked::Tls(address, probe) => {
                let way = Way::Tls(*address, probe.clone());
                self.converse(way, credentials).await?;
                match probe.opinion() {
                    Opinion::Good => Ok(None),
                    Opinion::Doubtful(why) => Ok(Some(why.to_string())),
                    Opinion::Bad(why) => Err(why.to_string()),
                }
            }
        }
    }

    async fn converse(
        &self,
        way: Way,
        credentials: Option<Arc<Credentials>>,
    ) -> Result<(), String> {
        let with_allocation = credentials.is_some();
        let mut exchange = Exchange::open(way, credentials, self.clock)
            .await
            .map_err(|error| format!("it cannot be reached: {error}"))?;
        exchange.ask(Request::Binding).await.map_err(|failure| failure.to_string())?;
        if !with_allocation {
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
}

impl Mint {
    /// With the first secret, in the form that is taken first.
    fn of(auth: &auth::Settings) -> Option<Self> {
        let digest = auth.rest_digests.first().copied().unwrap_or(RestDigest::Sha1);
        let secret = auth.secrets.first()?.clone();
        Some(Self { secret, separator: auth.separator, digest })
    }
}

impl Asker {
    /// Those of one check.
    fn credentials(&self, clock: Clock) -> Result<Option<Arc<Credentials>>, String> {
        match self {
            Self::Nobody => Ok(None),
            Self::User(credentials) => Ok(Some(Arc::clone(credentials))),
            Self::Secret(Mint { secret, separator, digest }) => {
                let username = format!("{}{separator}check", clock.now().unix + MINTED);
                let password = auth::Secret::new(mint_password(*digest, secret, &username));
                let minted = Credentials::new(&username, &password);
                Ok(Some(Arc::new(minted.map_err(|error| error.to_string())?)))
            }
        }
    }
}
