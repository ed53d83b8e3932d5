//! What goes into records: sessions that begin, use and end, and those that do not begin.

use std::time::Duration;

use super::engine::Engine;
use super::{RecordKind, Records, What};
use crate::time::{Mono, Now};
use crate::turn::{Client, Reply, Session};

/// When it is tried again to tell usage for which there was no room.
const AGAIN: Duration = Duration::from_millis(100);

impl Engine {
    /// When [`Self::report`] has something to do.
    pub(super) fn next_report(&self) -> Option<Mono> {
        let due = self.server.next_report()?;
        let full = self.events.records.as_ref().is_some_and(|records| !records.have_room());
        Some(if full { due.max(self.now.mono + AGAIN) } else { due })
    }

    /// Tells what sessions have used, where it is time for it and there is room.
    pub(super) fn report(&mut self, now: Now) {
        let due = self.server.next_report().is_some_and(|due| due <= now.mono);
        if due && self.events.records.as_ref().is_none_or(Records::have_room) {
            self.server.report(now.mono);
        }
    }

    pub(super) fn record(&self, now: Now, what: What) {
        if let Some(records) = &self.events.records
            && records.want(what.kind())
        {
            records.tell(now.mono, what);
        }
    }

    /// The last record of a session: there is no later one that would have what is in it.
    pub(super) fn record_end(&self, now: Now, session: &Session, stopping: bool) {
        if let Some(records) = &self.events.records
            && records.want(RecordKind::Ended)
        {
            let what = What::Ended(Box::new(session.clone()));
            if stopping {
                records.tell_at_last(now.mono, what);
            } else {
                records.tell(now.mono, what);
            }
        }
    }

    pub(super) fn record_refusal(&mut self, client: &Client, reply: Reply) {
        if let (Some(cause), Some(records)) = (reply.refusal, &self.events.records)
            && records.want(RecordKind::Refused)
            && let Some(left_out) = self.sieve.pass(self.now.mono, reply.method, &cause)
        {
            let what = What::Refused { client: client.tuple, cause, left_out };
            if records.have_room() {
                records.tell(self.now.mono, what);
            }
        }
    }
}
