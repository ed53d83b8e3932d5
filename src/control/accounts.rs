//! Records of sessions beside the workers: begun with the server, changed by a reload, ended last.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::StartError;
use super::reload::{Commit, Part};
use super::secret::state_directories;
use crate::config::Config;
use crate::events::{Hub, Stats};
use crate::worker::{Clock, Records};

/// Records that may wait on their way from the workers: a burst of sessions that end at once.
const QUEUE: usize = 32 << 10;

/// The sinks of a running server; nothing once they were ended.
#[derive(Clone)]
pub(super) struct Accounts(Arc<Mutex<Option<Hub>>>);

impl Accounts {
    /// Begins, as it is configured, and gives the workers' end.
    pub(super) fn start(config: &Config, clock: Clock) -> Result<(Self, Records), StartError> {
        let (records, queue) = Records::queue(QUEUE);
        let mut hub = Hub::start(queue, clock)?;
        let prepared = hub.prepare(&config.events, &state_directories(config))?;
        hub.commit(prepared);
        Ok((Self(Arc::new(Mutex::new(Some(hub)))), records))
    }

    pub(super) fn stats(&self) -> Option<Stats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Hub::stats)
    }

    /// Writes everything down, when the workers have ended.
    pub(super) fn finish(&self) {
        let hub = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hub) = hub {
            hub.finish();
        }
    }
}

impl Part for Accounts {
    fn prepare<'a>(&'a mut self, _: &Config, after: &'a Config) -> Result<Commit<'a>, StartError> {
        let hub = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = state_directories(after);
        let prepared = hub.as_ref().map(|hub| hub.prepare(&after.events, &state)).transpose()?;
        Ok(Box::new(|| {
            let mut hub = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(hub), Some(prepared)) = (hub.as_mut(), prepared) {
                hub.commit(prepared);
            }
        }))
    }
}
