//! The configuration, read again while the server runs: all of it or nothing.

use std::time::Duration;

use super::base::Base;
use super::log;
use crate::config::{self, Config, Flags, Level};
use crate::worker::Workers;

/// How often it is looked whether all workers go by a change.
const LOOK: Duration = Duration::from_millis(5);
/// How long that may take: workers take it between two packets.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a reload is made of.
pub(super) struct Reloader {
    flags: Flags,
    /// As it was read last and is in force.
    config: Config,
    base: Base,
}

impl Reloader {
    /// `config` is in force, as the flags and their file have given it.
    pub(super) const fn new(flags: Flags, config: Config, base: Base) -> Self {
        Self { flags, config, base }
    }

    /// How long live allocations may go on after SIGTERM.
    pub(super) const fn drain(&self) -> Duration {
        self.config.drain
    }

    /// Reads the configuration again and has the workers go by it. What is wrong is told in the log, and then nothing
    /// has changed.
    pub(super) async fn reload(&mut self, workers: &Workers) {
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
        let live = match self.base.live(&config) {
            Ok(live) => live,
            Err(error) => return failed(&error),
        };
        let change = workers.change(live);
        let mut waited = Duration::ZERO;
        while !change.is_done() && waited < PATIENCE {
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
        log::set_level(config.log.level);
        workers.set_verbose(config.log.level >= Level::Debug);
        self.config = config;
        if change.is_done() {
            tracing::info!(event = "reloaded", "the configuration was read again and is in force");
        } else {
            tracing::error!(
                event = "reload_late",
                "the configuration was read again, and not every worker goes by it after {} s: \
                 one may be stuck, and a restart ends that",
                PATIENCE.as_secs(),
            );
        }
    }
}

fn failed(why: &dyn std::fmt::Display) {
    tracing::error!(event = "reload_failed", "nothing was changed: {why}");
}
