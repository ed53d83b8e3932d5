//! One store as it is configured.

use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Secret;

/// One store, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it is called in the log and in metrics.
    pub name: String,
    /// What is spoken with it.
    pub kind: Kind,
    /// Where it is, for those that are files.
    pub path: Option<PathBuf>,
    /// Where it is, for the others. A password may be in it, so it is never shown.
    pub url: Option<Secret>,
    /// The only realm about which it is asked; every realm when absent.
    pub realm: Option<String>,
    /// How long a question may take; after that it has no answer.
    pub timeout: Duration,
    /// Questions that it is asked at a time, which is also the number of connections with it.
    pub connections: u32,
    /// Over HTTP: a file with the certificates that are trusted, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Over HTTP: sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Over HTTP: with this each question is signed.
    pub signature_secret: Option<Secret>,
}

impl Settings {
    /// The longest time that a question takes when nothing else is configured.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// The number of connections when nothing else is configured.
    pub const CONNECTIONS: u32 = 8;

    /// With the defaults, and without a place.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            path: None,
            url: None,
            realm: None,
            timeout: Self::TIMEOUT,
            connections: Self::CONNECTIONS,
            ca: None,
            token: None,
            signature_secret: None,
        }
    }
}

/// What is spoken with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file of users.
    File,
    /// An SQLite database with coturn's tables.
    Sqlite,
    /// PostgreSQL with coturn's tables.
    Postgresql,
    /// MySQL or MariaDB with coturn's tables.
    Mysql,
    /// Redis with coturn's keys.
    Redis,
    /// An application that is asked over HTTP.
    Http,
}

impl Kind {
    /// All of them, by the words of the configuration.
    pub const ALL: &[(&'static str, Self)] = &[
        ("file", Self::File),
        ("sqlite", Self::Sqlite),
        ("postgresql", Self::Postgresql),
        ("mysql", Self::Mysql),
        ("redis", Self::Redis),
        ("http", Self::Http),
    ];

    /// Whether it lies in a file, so that it has a path and no URL.
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Sqlite)
    }

    /// What it needs that this program was built without, and the feature that brings it.
    pub const fn missing(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Sqlite if !cfg!(feature = "sqlite") => Some(("SQLite", "sqlite")),
            Self::Postgresql if !cfg!(feature = "sql") => Some(("PostgreSQL", "sql")),
            Self::Mysql if !cfg!(feature = "sql") => Some(("MySQL", "sql")),
            Self::Redis if !cfg!(feature = "redis") => Some(("Redis", "redis")),
            _ => None,
        }
    }

    /// Whether it keeps MD5 keys, as coturn's databases do, so that hardly anybody in it can use SHA-256.
    pub const fn is_md5_only(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgresql | Self::Mysql | Self::Redis)
    }
}
