//! The configuration, read again while the server runs: all of it or nothing.
//!
//! 1. It is read and checked, and what can be changed by a restart only must be as it was.
//! 2. All that it needs is made ready: addresses found, sockets bound, files read ([`Part::prepare`], [`Base::live`]).
//!    Whatever fails here ends it, and nothing has changed.
//! 3. The workers go by it, all parts [commit](Commit), and the ports are given out by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::Facts;
use super::base::Base;
use super::error::StartError;
use super::log;
use super::places::{self, Places};
use super::wishes::Answer;
use crate::config::{self, Config, Flags, Level};
use crate::turn::Ledger;
use crate::worker::Workers;

/// How often it is looked whether all workers go by a change.
const LOOK: Duration = Duration::from_millis(2);
/// How long that may take: workers take it between two packets.
const PATIENCE: Duration = Duration::from_secs(10);

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
}

impl Reloader {
    /// `config` is in force, as the flags and their file have given it.
    pub(super) const fn new(
        flags: Flags,
        config: Config,
        base: Base,
        ledger: Arc<Ledger>,
        parts: Vec<Box<dyn Part>>,
    ) -> Self {
        Self { flags, config, base, ledger, parts }
    }

    /// Where clients come to over UDP.
    pub(super) fn listeners(&self) -> Vec<SocketAddr> {
        self.base.listened.bound.udp.clone()
    }

    /// How long live allocations may go on after SIGTERM.
    pub(super) const fn drain(&self) -> Duration {
        self.config.drain
    }

    /// Reads the configuration again and has everybody go by it.
    ///
    /// # Errors
    /// What is wrong, which is told in the log as well; then nothing has changed.
    pub(super) async fn reload(&mut self, workers: &Workers) -> Answer {
        let config = match config::load(&self.flags) {
            Ok(config) => config,
            Err(problems) => return failed(&problems),
        };
        let fixed = self.config.fixed_changes(&config);
        if !fixed.is_empty() {
            return failed(&format_args!(
                "{} can be changed by a restart only: take the change back, or restart",
                fixed.join(", ")
            ));
        }
        match self.change(config, workers).await {
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

    /// Puts a configuration in force; false when a worker does not go by it in time.
    ///
    /// # Errors
    /// It cannot be used here, and nothing has changed.
    async fn change(&mut self, config: Config, workers: &Workers) -> Result<bool, StartError> {
        let places = self.find_places(&config).await?;
        let former = self.former(&config, &places);
        let live = self.base.live(&config, places.as_ref(), former)?;
        let parts = self.parts.iter_mut().map(|part| part.prepare(&self.config, &config));
        let commits = parts.collect::<Result<Vec<_>, _>>()?;
        let turn = Arc::clone(&live.turn);
        let change = workers.change(live);
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
        if let Some(places) = places {
            places.report(&config);
            self.base.places = places;
        }
        self.config = config;
        Ok(change.is_done())
    }

    /// Finds the addresses anew, if the configuration says other things about them.
    async fn find_places(&self, config: &Config) -> Result<Option<Places>, StartError> {
        if self.config.same_places(config) {
            return Ok(None);
        }
        let (config, listened) = (config.clone(), self.base.listened.clone());
        // A STUN server may be asked, which takes its time.
        let found = tokio::task::spawn_blocking(move || {
            let facts = Facts::gather();
            let chosen = places::choose(&config, &facts)?;
            places::try_relays(&chosen)?;
            Places::complete(chosen, &config, &listened, &facts)
        });
        let failed =
            |error| StartError::System("to find the addresses", std::io::Error::other(error));
        found.await.map_err(failed)?.map(Some)
    }

    /// Relay addresses and ports that some allocation may have still, beside those that come.
    fn former(
        &self,
        config: &Config,
        places: &Option<Places>,
    ) -> Vec<(crate::turn::RelayAddress, crate::turn::PortRange)> {
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
