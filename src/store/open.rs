//! A store of its settings.

use std::sync::Arc;

use super::hook::Hook;
#[cfg(any(feature = "sqlite", feature = "sql"))]
use super::sql;
use super::{FileStore, Keeper, Kind, Settings, Store, StoreError};

/// Makes a store of its settings. What has to be connected with is connected with later.
///
/// # Errors
/// It can never work: there is no place, the driver is not built in, a file cannot be read.
pub fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    match settings.kind {
        Kind::File => Ok(Arc::new(FileStore::open(settings)?)),
        Kind::Http => Ok(Arc::new(Hook::open(settings)?)),
        _ => Ok(keeper(settings, false)?),
    }
}

/// Makes a store that can be written of its settings. With `create`, a database in a file is made when it is not there.
///
/// # Errors
/// It can never work, or users are not written there by this program.
pub fn keeper(settings: &Settings, create: bool) -> Result<Arc<dyn Keeper>, StoreError> {
    match settings.kind {
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => Ok(Arc::new(sql::sqlite(settings, create)?)),
        #[cfg(not(feature = "sqlite"))]
        Kind::Sqlite => {
            let _ = create;
            Err(StoreError::NotBuiltIn("SQLite", "sqlite"))
        }
        #[cfg(feature = "sql")]
        Kind::Postgresql => Ok(Arc::new(sql::postgresql(settings)?)),
        #[cfg(feature = "sql")]
        Kind::Mysql => Ok(Arc::new(sql::mysql(settings)?)),
        #[cfg(not(feature = "sql"))]
        Kind::Postgresql => Err(StoreError::NotBuiltIn("PostgreSQL", "sql")),
        #[cfg(not(feature = "sql"))]
        Kind::Mysql => Err(StoreError::NotBuiltIn("MySQL", "sql")),
        #[cfg(feature = "redis")]
        Kind::Redis => Ok(Arc::new(super::redis::Redis::open(settings)?)),
        #[cfg(not(feature = "redis"))]
        Kind::Redis => Err(StoreError::NotBuiltIn("Redis", "redis")),
        Kind::File | Kind::Http => Err(StoreError::Unusable(
            "users are not written there by turnwire: it is read, and written by others".to_owned(),
        )),
    }
}
