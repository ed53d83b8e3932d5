//! The configuration, read again while the server runs: all of it or nothing.
//!
//! 1. It is read and checked, and what can be changed by a restart only must be as it was.
//! 2. All that it needs is made ready: addresses found, files read ([`Part::prepare`]), and sockets bound at last
//!    ([`Base::live`]): clients that come to one that is closed again are lost. Whatever fails here ends it, and nothing
//!    has changed.
//! 3. The workers go by it, all parts [commit](Commit), and the ports are given out by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::{self, Chosen, Facts};
use super::base::Base;
use super::error::StartError;
use super::log;
use super::lookout::{Lookout, Wanted, keep_known};
use super::own::with_own_database;
use super::places::{self, Listened, Places};
use super::ready::ReadyFile;
use super::web;
use super::wishes::Answer;
use crate::config::{self, Config, Flags, Level};
use crate::turn::{Discovery, Ledger, PortRange, RelayAddress};
use crate::worker::{Alternate, Change, Sockets, Workers};

/// How often it is looked whether all workers go by a change.
const LOOK: Duration = Duration::from_millis(2);
/// How long that may take: workers take it between two packets.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to find the addresses: name and STUN servers may be asked.
const FIND: Duration = Duration::from_secs(15);

/// Something beside the workers that goes by the configuration and can go by another one. Each is known to the
/// [`Reloader`] from the start.
pub(super) trait Part: Send {
    /// Makes ready what another configuration needs. It must not change anything yet: when this or another part fails,
    /// what was made ready is dropped.
    ///
    /// # Errors
    /// What cannot be had, in words.
    fn prepare<'a>(
        &'a mut self,
        before: &Config,
        after: &'a Config,
    ) -> Result<Commit<'a>, StartError>;
}

/// Puts what was made ready in force. It cannot fail.
pub(super) type Commit<'a> = Box<dyn FnOnce() + Send + 'a>;

/// What a reload is made of.
pub(super) struct Reloader {
    flags: Flags,
    /// As it was read last and is in force.
    config: Config,
    base: Base,
    ledger: Arc<Ledger>,
    parts: Vec<Box<dyn Part>>,
    lookout: Lookout,
    /// Whether the last reload has changed nothing, or not all.
    failed: bool,
}

/// Where another configuration has the server listen and relay.
enum Found {
    /// As it is now.
    Same,
    /// It listens where it does.
    Moved(Places),
    Elsewhere(Box<Sought>),
}

/// Everything about other places that can be known before anything is bound there.
struct Sought {
    config: Config,
    facts: Facts,
    chosen: Vec<Chosen>,
    discovery: Vec<Discovery>,
}

/// The same when it is bound.
#[derive(Default)]
struct Settled {
    places: Option<Places>,
    listened: Option<Listened>,
    /// Listeners that come and go.
    sockets: Option<Sockets>,
}

impl Reloader {
    /// `config` is in force, as the flags and their file have given it.
    pub(super) fn new(
        flags: Flags,
        config: Config,
        base: Base,
        ledger: Arc<Ledger>,
        parts: Vec<Box<dyn Part>>,
    ) -> Self {
        let lookout = Lookout::new(config.relay.check_interval);
        Self { flags, config, base, ledger, parts, lookout, failed: false }
    }

    /// Where clients come to over UDP.
    pub(super) fn listeners(&self) -> Vec<SocketAddr> {
        self.base.listened.listening.addresses()
    }

    /// How long live allocations may go on after SIGTERM.
    pub(super) const fn drain(&self) -> Duration {
        self.config.drain
    }

    /// What says that the server is ready.
    pub(super) const fn take_ready_file(&mut self) -> Option<ReadyFile> {
        self.base.ready_file.take()
    }

    /// Has the certificates read again, and what is wrong with them told.
    pub(super) fn read_certificates(&self) {
        self.base.certificates.read_again();
    }

    /// Reads the configuration again and has everybody go by it.
    ///
    /// # Errors
    /// What is wrong, which is told in the log as well; then nothing has changed.
    pub(super) async fn reload(&mut self, workers: &Workers) -> Answer {
        let answer = self.try_reload(workers).await;
        self.failed = answer.is_err();
        answer
    }

    /// Whether the last reload has failed, so that the file says other things than what is in force.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    async fn try_reload(&mut self, workers: &Workers) -> Answer {
        let config = match config::load(&self.flags) {
            Ok(config) => with_own_database(config),
            Err(problems) => {
                let told = problems.to_string();
                let hint = self.base.sandbox.hint(&told);
                return failed(&format_args!("{told}{hint}"));
            }
        };
        if let Some(directory) = self.base.sandbox.lacks(&config) {
            return failed(&format_args!(
                "the sandbox keeps this process out of {directory:?}, which the configuration did not name when it was \
                 started: restart, or take the change back"
            ));
        }
        let fixed = self.config.fixed_changes(&config);
        if !fixed.is_empty() {
            return failed(&format_args!(
                "{} can be changed by a restart only: take the change back, or restart",
                fixed.join(", ")
            ));
        }
        if workers.is_changing() {
            return failed(
                &"not every worker goes by the last change yet: one may be stuck, and a restart ends that",
            );
        }
        let found = match self.find(&config, workers).await {
            Ok(found) => found,
            Err(error) => return failed(&error),
        };
        match self.change(config, found, workers).await {
            Err(error) => failed(&error),
            Ok(change) if change.is_done() => {
                if let Some(trouble) = change.trouble() {
                    return incomplete(&trouble);
                }
                let told = "the configuration was read again and is in force";
                tracing::info!(event = "reloaded", "{told}");
                Ok(told.to_owned())
            }
            Ok(_) => {
                let told = format!(
                    "the configuration was read again, and not every worker goes by it after {} s: \
                     one may be stuck, and a restart ends that",
                    PATIENCE.as_secs(),
                );
                tracing::error!(event = "reload_late", "{told}");
                Err(told)
            }
        }
    }

    /// The addresses that this host and its NAT have now, when they are others than those in force.
    pub(super) async fn other_places(&mut self) -> Places {
        let Self { lookout, config, base, .. } = self;
        let wanted = || Wanted {
            config: config.clone(),
            listened: base.listened.clone(),
            places: base.places.clone(),
        };
        lookout.next(wanted).await
    }

    /// Makes new allocations there; live ones keep theirs.
    pub(super) async fn move_to(&mut self, places: Places, workers: &Workers) {
        if workers.is_changing() {
            return;
        }
        let found = Found::Moved(places);
        if let Err(error) = self.change(self.config.clone(), found, workers).await {
            tracing::error!(
                event = "addresses_not_taken",
                "other addresses were found, and those of before stay: {error}",
            );
        }
    }

    /// Puts a configuration in force. The change is not done when a worker does not go by it in time.
    ///
    /// # Errors
    /// It cannot be used here, and nothing has changed.
    async fn change(
        &mut self,
        config: Config,
        found: Found,
        workers: &Workers,
    ) -> Result<Change, StartError> {
        let former = self.former(&config, &found);
        let fresh = self.base.certificates.prepare(&config.tls.certificates)?;
        let same_tls = self.config.tls.min_version == config.tls.min_version;
        let identities = fresh.identities.as_ref();
        let parts = self.parts.iter_mut().map(|part| part.prepare(&self.config, &config));
        let commits = parts.collect::<Result<Vec<_>, _>>()?;
        ReadyFile::can_be(config.ready_file.as_deref())?;
        let settled = found.settle(&self.base.listened, workers.live() > 0).await?;
        let Settled { places, listened, sockets } = settled;
        let bound = listened.as_ref().unwrap_or(&self.base.listened).bound();
        let live =
            self.base.live(&config, places.as_ref(), former, (identities, same_tls), &bound)?;
        let tls = live.path.tls.clone();
        let site = {
            let places = places.as_ref().unwrap_or(&self.base.places);
            let listened = listened.as_ref().unwrap_or(&self.base.listened);
            web::settings(&config, (places, listened), identities, self.base.generated.as_ref())
        };
        let ready_file = ReadyFile::renew(config.ready_file.as_deref(), &bound)?;
        let turn = Arc::clone(&live.turn);
        let change = workers.change(live, sockets);
        let mut waited = Duration::ZERO;
        while !change.is_done() && waited < PATIENCE {
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
        commits.into_iter().for_each(|commit| commit());
        self.base.web.replace(site, &config.worker.proxies);
        // Behind the workers: each must guard an address before anybody has a port on it.
        self.ledger.reconfigure(&turn);
        log::set_level(config.log.level);
        workers.set_verbose(config.log.level >= Level::Debug);
        if self.config.ready_file != config.ready_file
            && let Some(file) = self.base.ready_file.take()
        {
            file.remove();
        }
        self.base.ready_file = ready_file;
        self.base.certificates.commit(fresh);
        let asker = self.base.asker(&config);
        self.base.alternates.commit(Arc::clone(&turn.alternates), &config.redirect, &asker);
        self.base.tls = tls.or_else(|| self.base.tls.take().filter(|_| same_tls));
        if let Some(listened) = listened {
            self.base.listened = listened;
            self.base.listened.bound().log("listening");
        }
        if let Some(places) = places {
            self.base.places.report_change(&places, &config);
            self.base.places = places;
        }
        self.lookout.set_interval(config.relay.check_interval);
        self.lookout.forget();
        self.config = config;
        Ok(change)
    }

    /// Finds the addresses anew, if the configuration says other things about them or the listeners.
    async fn find(&self, config: &Config, workers: &Workers) -> Result<Found, StartError> {
        let same_places = self.config.same_places(config);
        if same_places && self.config.same_listeners(config) {
            return Ok(Found::Same);
        }
        let mut config = config.clone();
        // What there is, whatever the number of cores is by now.
        config.worker.workers = workers.stats().len();
        let before = self.base.places.clone();
        let same_server = self.config.relay.stun_server == config.relay.stun_server;
        // A STUN server may be asked, which takes its time.
        let found = tokio::task::spawn_blocking(move || {
            let facts = Facts::gather();
            let known = if same_places { &before.chosen[..] } else { &[] };
            let mut chosen = places::choose(&config, &facts, known)?;
            if same_server {
                // Unless it is said of another one now.
                let taken: Vec<_> = chosen.iter().map(|it| it.relay.advertised).collect();
                let mut told = before.chosen;
                told.retain(|it| !taken.contains(&it.relay.advertised));
                chosen.iter_mut().for_each(|one| keep_known(one, &told));
            }
            places::try_relays(&chosen)?;
            let relays: Vec<_> = chosen.iter().map(|chosen| chosen.relay).collect();
            places::lay_out(&mut config, &relays, &facts)?;
            let worker = &config.worker;
            let all = [&worker.listeners, &worker.tls_listeners, &worker.dtls_listeners];
            let asked: Vec<_> = all.into_iter().flatten().copied().collect();
            places::check_backend(&config, &addresses::own_sockets(&asked, &relays, &facts))?;
            let told = if same_server { &before.discovery[..] } else { &[] };
            let discovery = places::discover(&chosen, &config, &pairs(&config), told)?;
            Ok(Found::Elsewhere(Box::new(Sought { config, facts, chosen, discovery })))
        });
        let failed =
            |error| StartError::System("to find the addresses", std::io::Error::other(error));
        let found = tokio::time::timeout(FIND, found).await;
        found.map_err(|_| StartError::Late(FIND.as_secs()))?.map_err(failed)?
    }

    /// Relay addresses and ports that some allocation may have still, beside those that come.
    fn former(&self, config: &Config, found: &Found) -> Vec<(RelayAddress, PortRange)> {
        let (now, ports) = (self.base.places.relays(), self.config.relay.ports);
        let next = match found {
            Found::Same => now.clone(),
            Found::Moved(places) => places.relays(),
            Found::Elsewhere(sought) => sought.chosen.iter().map(|it| it.relay).collect(),
        };
        let mut all: Vec<_> = now.into_iter().map(|relay| (relay, ports)).collect();
        all.extend(self.ledger.former().iter().map(|former| (former.relay, former.ports)));
        all.retain(|(relay, ports)| !(next.contains(relay) && config.relay.ports.covers(*ports)));
        all
    }
}

impl Found {
    /// Binds what is new. It is the last that can fail: clients that come to a socket before anybody serves it wait, and
    /// would have waited for nothing. `calls` when some are live.
    async fn settle(self, before: &Listened, calls: bool) -> Result<Settled, StartError> {
        let Sought { config, facts, chosen, discovery } = match self {
            Self::Same => return Ok(Settled::default()),
            Self::Moved(places) => {
                return Ok(Settled { places: Some(places), ..Settled::default() });
            }
            Self::Elsewhere(sought) => *sought,
        };
        let before = before.clone();
        // Sockets that are about to be closed are waited for.
        let bound = tokio::task::spawn_blocking(move || {
            let sockets = Sockets::rebind(&before.listening, &config.worker, calls)?;
            let listened = Listened { listening: sockets.listening().clone(), ..before };
            let places = Places::of(chosen, discovery, &listened, &facts);
            let sockets = (!sockets.is_idle()).then_some(sockets);
            Ok(Settled { places: Some(places), listened: Some(listened), sockets })
        });
        bound
            .await
            .map_err(|error| StartError::System("new sockets", std::io::Error::other(error)))?
    }
}

/// The first and the second address of each alternate, as they are configured.
fn pairs(config: &Config) -> Vec<(SocketAddr, SocketAddr)> {
    let worker = &config.worker;
    let first = |it: &Alternate| SocketAddr::new(it.first, worker.listeners[it.listener].port());
    worker.alternates.iter().map(|it| (first(it), it.second)).collect()
}

fn incomplete(trouble: &str) -> Answer {
    let told = format!(
        "the configuration was read again and is in force, and some new listeners are not served ({trouble}): \
         is the limit of watches (fs.epoll.max_user_watches) reached?"
    );
    tracing::error!(event = "listeners_unserved", "{told}");
    Err(told)
}

fn failed(why: &dyn std::fmt::Display) -> Answer {
    let told = format!("nothing was changed: {why}");
    tracing::error!(event = "reload_failed", "{told}");
    Err(told)
}
