//! The server's own database of users, which `turnwire users` makes.

use std::path::PathBuf;

use super::secret::state_directories;
use crate::config::Config;
use crate::store::{DATABASE, Kind, Settings};

/// What it is called in the log and in metrics.
const NAME: &str = "turnwire.db";

/// The configuration with the server's own database as its store, when none is configured and the database is there.
pub(super) fn with_own_database(mut config: Config) -> Config {
    if !config.stores.is_empty() || Kind::Sqlite.missing().is_some() {
        return config;
    }
    let dropped = config.user.is_some();
    let mut places =
        state_directories(&config).into_iter().map(|directory| directory.join(DATABASE));
    let found = places.find(|path| {
        path.try_exists().unwrap_or_else(|error| {
            // Beside a server that has always been an ordinary user's there may be another's.
            if dropped {
                tracing::warn!(
                    event = "own_database",
                    "users in {path:?} cannot be looked for: {error}; that directory has to be process.user's"
                );
            }
            false
        })
    });
    config.stores.extend(found.map(store));
    config.own_database = !config.stores.is_empty();
    config
}

fn store(path: PathBuf) -> Settings {
    tracing::info!(event = "own_database", "users are looked for in {path:?} as well");
    Settings { path: Some(path), ..Settings::new(NAME, Kind::Sqlite) }
}
