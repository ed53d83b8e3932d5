//! The secret that a server without any configured credential makes for itself, kept over
//! restarts so that what was minted with it stays good.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::auth::Secret;
use crate::config::Config;
use crate::net::{effective_user, give_to_owner_of_directory};

/// The file's name in the state directory.
const NAME: &str = "secret";
/// No secret of ours is longer; what is longer is another file.
const LONGEST: u64 = 4096;
/// What is shorter can be guessed.
const SHORTEST: usize = 16;

/// A generated secret and where it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) secret: Secret,
    pub(super) place: Place,
}

/// Where a generated secret is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file that was there already.
    Found(PathBuf),
    /// In a file that was made now.
    Made(PathBuf),
    /// Nowhere: what was tried, and why it failed.
    Memory(String),
}

/// A secret that is there but must not be used, or a directory that was asked for and cannot be.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error(
        "others may read the secret in {0:?}: \
         `chmod 600` it, or remove it to have a new one made"
    )]
    Exposed(PathBuf),
    #[error("the secret in {0:?} is not one: remove it to have a new one made")]
    Broken(PathBuf),
    #[error("the secret cannot be kept in {0:?}: {1}; choose another --state-directory")]
    Directory(PathBuf, io::Error),
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Reads the secret, or makes one, in the configured directory or else in the first of `usual`
/// that lets itself be used; if there is none, it is kept in memory.
pub(super) fn find_or_make(
    configured: Option<&Path>,
    usual: Vec<PathBuf>,
) -> Result<Kept, SecretError> {
    if let Some(directory) = configured {
        return in_directory(directory);
    }
    let mut tried = Vec::new();
    for directory in usual {
        match in_directory(&directory) {
            Err(SecretError::Directory(directory, error)) => {
                tried.push(format!("{}: {error}", directory.display()));
            }
            decided => return decided,
        }
    }
    Ok(Kept { secret: Secret::new(generate()?.as_str()), place: Place::Memory(tried.join("; ")) })
}

/// Where this server keeps its state: what is configured, or the usual directories.
pub fn state_directories(config: &Config) -> Vec<PathBuf> {
    match &config.state_directory {
        Some(directory) => vec![directory.clone()],
        None => usual_directories(|name| std::env::var(name).ok()),
    }
}

/// Where state is usually kept, by the environment (systemd.exec's `StateDirectory=`, the XDG
/// base directories).
pub(super) fn usual_directories(variable: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let mut directories = Vec::new();
    // systemd lists several with colons between them.
    directories.extend(set("STATE_DIRECTORY").and_then(|all| Some(all.split(':').next()?.into())));
    directories.push(PathBuf::from("/var/lib/turnwire"));
    directories.extend(set("XDG_STATE_HOME").map(|home| Path::new(&home).join("turnwire")));
    directories.extend(set("HOME").map(|home| Path::new(&home).join(".local/state/turnwire")));
    // The XDG specification wants relative paths ignored.
    directories.retain(|directory| directory.is_absolute());
    directories
}

fn in_directory(directory: &Path) -> Result<Kept, SecretError> {
    let unusable = |error| SecretError::Directory(directory.to_owned(), error);
    let path = directory.join(NAME);
    if let Some(secret) = read(&path)? {
        return Ok(Kept { secret, place: Place::Found(path) });
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
    let text = generate()?;
    match create(&path, &text) {
        Ok(()) => Ok(Kept { secret: Secret::new(text.as_str()), place: Place::Made(path) }),
        // Another server that starts at the same time was faster: its secret is ours.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read(&path)? {
            Some(secret) => Ok(Kept { secret, place: Place::Found(path) }),
            None => Err(unusable(error)),
        },
        Err(error) => Err(unusable(error)),
    }
}

/// Waits for no pipe. In the directory of a user who may do less than root no link is followed either: it could be to
/// whatever root may read.
fn open(path: &Path) -> io::Result<File> {
    let directory = path.parent().map(fs::metadata).transpose()?;
    let others = effective_user() == 0 && directory.is_some_and(|it| it.uid() != 0);
    let follow = if others { libc::O_NOFOLLOW } else { 0 };
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | follow).open(path)
}

/// The secret in the file; `None` when there is no file.
fn read(path: &Path) -> Result<Option<Secret>, SecretError> {
    let unusable = |error| {
        let directory = path.parent().unwrap_or(path);
        SecretError::Directory(directory.to_owned(), error)
    };
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
    };
    // Of the open file, so that nobody can exchange it in between.
    let facts = file.metadata().map_err(unusable)?;
    if !facts.is_file() {
        return Err(SecretError::Broken(path.to_owned()));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(SecretError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    match file.take(LONGEST + 1).read_to_string(&mut text) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(unusable(error)),
        _ => {}
    }
    let secret = text.trim();
    if secret.len() < SHORTEST || text.len() as u64 > LONGEST {
        return Err(SecretError::Broken(path.to_owned()));
    }
    Ok(Some(Secret::new(secret)))
}

/// Makes the file with its whole content at once, or not at all; never over another.
fn create(path: &Path, text: &str) -> io::Result<()> {
    // No number of a process: in another container somebody else has the same, and keeps the state here too.
    let unlike = generate().map_err(io::Error::other)?;
    let temporary = path.with_extension(format!("{}.new", *unlike));
    let written = write_new(&temporary, text).and_then(|()| fs::hard_link(&temporary, path));
    let _ = fs::remove_file(&temporary);
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // Where root may give nothing away it may go on being the server.
    let _ = give_to_owner_of_directory(&file, path);
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// 256 bits, as characters that need no quoting anywhere.
fn generate() -> Result<Zeroizing<String>, SecretError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(SecretError::Random)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

#[cfg(test)]
#[path = "secret/tests.rs"]
mod tests;
