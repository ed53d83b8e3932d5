//! A file of users, which is read again when it has changed: by a tool that writes it anew, by an editor.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

use super::{Found, Proof, Question, Reply, Settings, Store, StoreError, lines, tables};
use crate::auth::Secret;

/// More than any list of users has; keeps a device file from filling the memory.
const MAX_FILE: u64 = 64 << 20;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) users: HashMap<Box<str>, Found>,
    pub(super) secrets: Vec<Secret>,
}

/// Users in a file. One whose name ends in `.toml` has tables, any other has lines.
pub struct FileStore {
    shelf: Arc<Shelf>,
}

struct Shelf {
    path: PathBuf,
    read: Mutex<Reading>,
}

/// What the file said when it was read last.
struct Reading {
    stamp: Stamp,
    /// All of it, or what is wrong with it: of a file that is half right nothing is taken.
    users: Result<Arc<Users>, StoreError>,
}

/// What changes when a file is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileStore {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be read, or a line is none.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let no_path = || StoreError::Unusable("no path is given".to_owned());
        let path = settings.path.clone().ok_or_else(no_path)?;
        let reading = read(&path)?;
        if let Err(wrong) = &reading.users {
            return Err(wrong.clone());
        }
        let shelf = Arc::new(Shelf { path, read: Mutex::new(reading) });
        Ok(Self { shelf })
    }

    /// What the file says now. Whoever writes it meanwhile does so in another file and puts that in its place.
    async fn users(&self) -> Result<Arc<Users>, StoreError> {
        let shelf = Arc::clone(&self.shelf);
        let read = spawn_blocking(move || shelf.users()).await;
        read.unwrap_or_else(|_| Err(StoreError::Unreachable("reading it has failed".to_owned())))
    }
}

impl Shelf {
    fn users(&self) -> Result<Arc<Users>, StoreError> {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = std::fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata));
        if stamp.map_err(|error| unreachable(&self.path, &error))? != last.stamp {
            *last = read(&self.path)?;
        }
        last.users.clone()
    }
}

impl Store for FileStore {
    fn look_up<'a>(&'a self, question: &'a Question) -> Reply<'a, Option<Found>> {
        Box::pin(async { Ok(self.users().await?.users.get(&question.username).cloned()) })
    }

    fn secrets<'a>(&'a self, _: &'a str) -> Reply<'a, Vec<Secret>> {
        Box::pin(async { Ok(self.users().await?.secrets.clone()) })
    }

    /// As it was read last.
    fn is_md5_only(&self) -> bool {
        let last = self.shelf.read.lock().unwrap_or_else(PoisonError::into_inner);
        let only_md5 = |found: &Found| matches!(found.proof, Proof::Keys { sha256: None, .. });
        last.users.as_ref().is_ok_and(|users| users.users.values().any(only_md5))
    }
}

fn read(path: &Path) -> Result<Reading, StoreError> {
    let failed = |error: io::Error| unreachable(path, &error);
    let file = File::open(path).map_err(failed)?;
    // Of the file that is read, not of one that has taken its place.
    let stamp = Stamp::of(&file.metadata().map_err(failed)?);
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    let users = users_of(path, bytes).map(Arc::new).map_err(StoreError::Unusable);
    Ok(Reading { stamp, users })
}

fn users_of(path: &Path, bytes: Vec<u8>) -> Result<Users, String> {
    let name = path.display();
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{name} is larger than {} MiB", MAX_FILE >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{name}:{line}: this is not UTF-8 text")
    })?;
    let toml = path.extension().is_some_and(|extension| extension == "toml");
    let users = if toml { tables::read(&text) } else { lines::read(&text) };
    users.map_err(|(line, what)| format!("{name}:{line}: {what}"))
}

fn unreachable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unreachable(format!("{}: {error}", path.display()))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

#[cfg(test)]
#[path = "tests/file.rs"]
mod tests;
