//! The configuration, read again while the server runs: all of it or nothing.
//!
//! 1. It is read and checked, and what can be changed by a restart only must be as it was.
//! 2. All that it needs is made ready: addresses found, sockets bound, files read ([`Part::prepare`], [`Base::live`]).
//!    Whatever fails here ends it, and nothing has changed.
//! 3. The workers go by it, all parts [commit](Commit), and the ports are given out by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addresses::Facts;
use super::base::Base;
use super::error::StartError;
use super::log;
use super::lookout::{Lookout, Wanted};
use super::own::with_own_database;
use super::places::{self, Listened, Places};
use super::ready::ReadyFile;
use super::wishes::Answer;
use crate::config::{self, Config, Flags, Level};
use crate::turn::{Ledger, PortRange, RelayAddress};
use crate::worker::{Sockets, Workers};

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
}

/// Where another configuration has the server listen and relay.
#[derive(Default)]
struct Found {
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
        Self { flags, config, base, ledger, parts, lookout }
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
        let found = match self.find(&config, workers).await {
            Ok(found) => found,
            Err(error) => return failed(&error),
        };
        match self.change(config, found, workers).await {
            Err(error) => failed(&error),
            Ok(true) => {
                let told = "the configuration was read again and is in force";
                tracing::info!(event = "reloaded", "{told}");
                Ok(told.to_owned())
            }
            Ok(false) => {
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
        let found = Found { places: Some(places), ..Found::default() };
        if let Err(error) = self.change(self.config.clone(), found, workers).await {
            tracing::error!(
                event = "addresses_not_taken",
                "other addresses were found, and those of before stay: {error}",
            );
        }
    }

    /// Puts a configuration in force; false when a worker does not go by it in time.
    ///
    /// # Errors
    /// It cannot be used here, and nothing has changed.
    async fn change(
        &mut self,
        config: Config,
        found: Found,
        workers: &Workers,
    ) -> Result<bool, StartError> {
        let Found { places, listened, sockets } = found;
        let former = self.former(&config, &places);
        let fresh = self.base.certificates.prepare(&config.tls.certificates)?;
        let same_tls = self.config.tls.min_version == config.tls.min_version;
        let identities = fresh.identities.as_ref();
        let bound = listened.as_ref().unwrap_or(&self.base.listened).bound();
        let live =
            self.base.live(&config, places.as_ref(), former, (identities, same_tls), &bound)?;
        let tls = live.path.tls.clone();
        let parts = self.parts.iter_mut().map(|part| part.prepare(&self.config, &config));
        let commits = parts.collect::<Result<Vec<_>, _>>()?;
        let ready_file = ReadyFile::renew(config.ready_file.as_deref(), &bound)?;
        let turn = Arc::clone(&live.turn);
        let change = workers.change(live, sockets);
        let mut waited = Duration::ZERO;
        while !change.is_done() && waited < PATIENCE {
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
        commits.into_iter().for_each(|commit| commit());
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
        Ok(change.is_done())
    }

    /// Finds the addresses and binds the listeners anew, if the configuration says other things about them.
    async fn find(&self, config: &Config, workers: &Workers) -> Result<Found, StartError> {
        let same_places = self.config.same_places(config);
        if same_places && self.config.same_listeners(config) {
            return Ok(Found::default());
        }
        let mut config = config.clone();
        // What there is, whatever the number of cores is by now.
        config.worker.workers = workers.stats().len();
        let (before, listened) = (self.base.places.clone(), self.base.listened.clone());
        let begun = Instant::now();
        // A STUN server may be asked, which takes its time.
        let found = tokio::task::spawn_blocking(move || {
            let facts = Facts::gather();
            let known = if same_places { &before.chosen[..] } else { &[] };
            let chosen = places::choose(&config, &facts, known)?;
            places::try_relays(&chosen)?;
            let relays: Vec<_> = chosen.iter().map(|chosen| chosen.relay).collect();
            places::lay_out(&mut config, &relays, &facts)?;
            if begun.elapsed() >= FIND {
                // Nobody waits for it any more, and clients must not come to sockets that nobody serves.
                return Err(StartError::Late(FIND.as_secs()));
            }
            let sockets = Sockets::rebind(&listened.listening, &config.worker)?;
            let listened = Listened { listening: sockets.listening().clone(), ..listened };
            let places = Places::complete(chosen, &config, &listened, &facts)?;
            let sockets = (!sockets.is_idle()).then_some(sockets);
            Ok(Found { places: Some(places), listened: Some(listened), sockets })
        });
        let failed =
            |error| StartError::System("to find the addresses", std::io::Error::other(error));
        let found = tokio::time::timeout(FIND, found).await;
        found.map_err(|_| StartError::Late(FIND.as_secs()))?.map_err(failed)?
    }

    /// Relay addresses and ports that some allocation may have still, beside those that come.
    fn former(&self, config: &Config, places: &Option<Places>) -> Vec<(RelayAddress, PortRange)> {
        let (now, ports) = (self.base.places.relays(), self.config.relay.ports);
        let next = places.as_ref().map_or_else(|| now.clone(), Places::relays);
        let mut all: Vec<_> = now.into_iter().map(|relay| (relay, ports)).collect();
        all.extend(self.ledger.former().iter().map(|former| (former.relay, former.ports)));
        all.retain(|(relay, ports)| !(next.contains(relay) && config.relay.ports.covers(*ports)));
        all
    }
}

fn failed(why: &dyn std::fmt::Display) -> Answer {
    let told = format!("nothing was changed: {why}");
    tracing::error!(event = "reload_failed", "{told}");
    Err(told)
}
