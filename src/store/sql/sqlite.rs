//! SQLite, built in. A question is a function call that may wait for a disk or a lock, so a thread beside the
//! runtime makes it, one at a time.

use std::fs::{self, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::statements::{SQLITE, Statements};
use super::{Engine, Reply, Row, StoreError, Tables};
use crate::net::give_to_owner_of_directory;
use crate::store::Settings;

/// Users in an SQLite file. With `create`, one that is not there is made, for its owner alone.
///
/// # Errors
/// There is no path.
pub(in crate::store) fn sqlite(
    settings: &Settings,
    create: bool,
) -> Result<Tables<File>, StoreError> {
    let no_path = || StoreError::Unusable("no path is given".to_owned());
    let path = settings.path.clone().ok_or_else(no_path)?;
    let (limit, open) = (settings.timeout, Arc::new(Mutex::new(None)));
    Ok(Tables::new(File { path, limit, create, open }))
}

/// A database in a file.
pub(in crate::store) struct File {
    path: PathBuf,
    /// How long a question waits for others who write.
    limit: Duration,
    create: bool,
    open: Arc<Mutex<Option<Opened>>>,
}

/// A connection, and the file that it is with: another one may take that one's place.
struct Opened {
    connection: Connection,
    file: (u64, u64),
}

impl File {
    /// Has a thread do something with the connection.
    async fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = timeout(self.limit, Arc::clone(&self.open).lock_owned()).await;
        let mut open = turn.map_err(|_| StoreError::TimedOut)?;
        let (path, limit, create) = (self.path.clone(), self.limit, self.create);
        let work = spawn_blocking(move || {
            let file = id(&path, create)?;
            if open.as_ref().is_none_or(|opened| opened.file != file) {
                *open = None;
                let connection = connect(&path, limit).map_err(|error| told(&path, &error))?;
                *open = Some(Opened { connection, file });
            }
            // unwrap: it has just been filled if it was empty.
            let done = job(&open.as_ref().unwrap().connection);
            done.map_err(|error| told(&path, &error))
        });
        work.await
            .unwrap_or_else(|_| Err(StoreError::Unreachable("the question failed".to_owned())))
    }
}

impl Engine for File {
    fn statements(&self) -> &'static Statements {
        &SQLITE
    }

    fn ask<'a>(&'a self, sql: &'static str, values: &'a [&'a str]) -> Reply<'a, Vec<Row>> {
        let values = owned(values);
        Box::pin(self.with(move |connection| {
            let mut statement = connection.prepare(sql)?;
            let columns = statement.column_count();
            let rows = statement.query_map(params_from_iter(values), |row| {
                (0..columns).map(|column| Ok(text(row.get_ref(column)?))).collect()
            })?;
            rows.collect()
        }))
    }

    fn tell<'a>(&'a self, sql: &'static str, values: &'a [&'a str]) -> Reply<'a, u64> {
        let values = owned(values);
        Box::pin(self.with(move |connection| {
            let changed = connection.execute(sql, params_from_iter(values))?;
            Ok(changed as u64)
        }))
    }
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// SQLite keeps what was put in, whatever the column is declared as.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
    }
}

/// Which file it is.
fn id(path: &Path, create: bool) -> Result<(u64, u64), StoreError> {
    let found = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let failed = |error| StoreError::Unreachable(format!("{}: {error}", path.display()));
    match fs::metadata(path) {
        Err(error) if create && error.kind() == ErrorKind::NotFound => {
            // SQLite would give it to everybody whom the umask lets read.
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let owned = made.and_then(|file| {
                give_to_owner_of_directory(&file, path).inspect_err(|_| {
                    // The next one would be content with it.
                    let _ = fs::remove_file(path);
                })?;
                file.metadata()
            });
            owned.map(found).map_err(failed)
        }
        other => other.map(found).map_err(failed),
    }
}

fn connect(path: &Path, limit: Duration) -> rusqlite::Result<Connection> {
    // For writing where that is allowed: only then can it undo what another program has left half done.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(limit)?;
    Ok(connection)
}

/// SQLite's words, which have no values in them.
fn told(path: &Path, error: &rusqlite::Error) -> StoreError {
    let place = path.display();
    let Some(code) = error.sqlite_error_code() else {
        return StoreError::Unusable(format!("{place}: {error}"));
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::TimedOut,
        ErrorCode::CannotOpen | ErrorCode::SystemIoFailure => {
            StoreError::Unreachable(format!("{place}: {error}"))
        }
        ErrorCode::PermissionDenied
        | ErrorCode::ReadOnly
        | ErrorCode::AuthorizationForStatementDenied => {
            StoreError::Denied(format!("{place}: {error}"))
        }
        ErrorCode::NotADatabase => {
            StoreError::Unusable(format!("{place} is not an SQLite database"))
        }
        _ => StoreError::Unusable(format!("{place}: {error}")),
    }
}
