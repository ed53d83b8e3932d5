//! Which records are made and where they go, as it is configured.

use std::path::PathBuf;
use std::time::Duration;

use super::stats::Sink;
use crate::auth::Secret;
use crate::http::Url;
use crate::worker::{RecordKind, RecordKinds};

/// Which records are made and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which kinds a sink gets that names none of its own.
    pub kinds: RecordKinds,
    /// How often the traffic of a live session is told; never when zero.
    pub usage_interval: Duration,
    /// A file with a line for each record.
    pub file: File,
    /// Where records wait for the webhook and for Redis.
    pub spool: Spool,
    /// An application that is told by HTTP.
    pub webhook: Webhook,
    /// A stream in Redis.
    pub redis: Redis,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Where it is; there is none when absent.
    pub path: Option<PathBuf>,
    /// Which kinds it gets, if not those of all.
    pub kinds: Option<RecordKinds>,
}

/// The spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Its directory; `events` in the state directory when absent.
    pub directory: Option<PathBuf>,
    /// How many bytes may wait in it.
    pub limit: u64,
}

/// The webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where batches are posted to; there is none when absent.
    pub url: Option<Url>,
    /// What they are signed with.
    pub secret: Option<Secret>,
    /// The certificates that may vouch for the server, if not this system's.
    pub authorities: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Which kinds it gets, if not those of all.
    pub kinds: Option<RecordKinds>,
}

/// The stream in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where Redis is, as for the store of users; there is none when absent.
    pub url: Option<Secret>,
    /// The key of the stream.
    pub stream: String,
    /// About how many entries it keeps; all of them when 0.
    pub max_length: u64,
    /// Which kinds it gets, if not those of all.
    pub kinds: Option<RecordKinds>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kinds: RecordKinds::ALL,
            usage_interval: Duration::from_secs(60),
            file: File::default(),
            spool: Spool { directory: None, limit: 256 << 20 },
            webhook: Webhook {
                url: None,
                secret: None,
                authorities: None,
                timeout: Duration::from_secs(10),
                kinds: None,
            },
            redis: Redis {
                url: None,
                stream: "turnwire:events".to_owned(),
                max_length: 1_000_000,
                kinds: None,
            },
        }
    }
}

impl Settings {
    /// The kinds that the file gets.
    pub fn file_kinds(&self) -> RecordKinds {
        self.kinds_of(self.file.path.is_some(), self.file.kinds)
    }

    /// The kinds that the webhook gets.
    pub fn webhook_kinds(&self) -> RecordKinds {
        self.kinds_of(self.webhook.url.is_some(), self.webhook.kinds)
    }

    /// The kinds that Redis gets.
    pub fn redis_kinds(&self) -> RecordKinds {
        self.kinds_of(self.redis.url.is_some(), self.redis.kinds)
    }

    fn kinds_of(&self, there: bool, own: Option<RecordKinds>) -> RecordKinds {
        if there { own.unwrap_or(self.kinds) } else { RecordKinds::NONE }
    }

    /// The kinds that come from the spool.
    pub(super) fn spooled_kinds(&self) -> RecordKinds {
        self.webhook_kinds().or(self.redis_kinds())
    }

    /// The sinks that read from the spool.
    pub(super) fn spooled(&self) -> Vec<Sink> {
        let webhook = self.webhook.url.is_some().then_some(Sink::Webhook);
        webhook.into_iter().chain(self.redis.url.is_some().then_some(Sink::Redis)).collect()
    }

    /// The kinds that somebody wants.
    pub fn wanted(&self) -> RecordKinds {
        self.file_kinds().or(self.spooled_kinds())
    }

    /// How often the traffic of a live session is to be told, if anybody wants to know.
    pub fn usage_interval(&self) -> Option<Duration> {
        let wanted = self.wanted().has(RecordKind::Usage) && !self.usage_interval.is_zero();
        wanted.then_some(self.usage_interval)
    }
}
