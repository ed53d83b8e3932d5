use std::sync::Arc;

use super::{FileStore, Kind, Settings, Store, StoreError};

/// Makes a store of its settings. What has to be connected with is connected with later.
///
/// # Errors
/// It can never work: there is no place, the driver is not built in, a file cannot be read.
pub fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    match settings.kind {
        Kind::File => Ok(Arc::new(FileStore::open(settings)?)),
        Kind::Sqlite => Err(StoreError::NotBuiltIn("SQLite", "sqlite")),
        Kind::Postgresql => Err(StoreError::NotBuiltIn("PostgreSQL", "sql")),
        Kind::Mysql => Err(StoreError::NotBuiltIn("MySQL", "sql")),
        Kind::Redis => Err(StoreError::NotBuiltIn("Redis", "redis")),
        Kind::Http => Err(StoreError::NotBuiltIn("stores over HTTP", "http")),
    }
}
