//! Identities from files, and why a file cannot be read.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Identity, InvalidIdentity};
use crate::net;

/// No chain and no key is near this size; what is larger is another file.
const LARGEST: u64 = 1 << 20;
/// Symbolic links that are followed for an explanation.
const LINKS: u32 = 8;

/// The two files of an identity; they may be the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate and what stands behind it up to the root, in PEM.
    pub chain: PathBuf,
    /// The certificate's private key, in PEM and without a passphrase.
    pub key: PathBuf,
}

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct InvalidFile {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Why {
    /// The system does not let it be read; with an explanation where permissions are the reason.
    Unreadable(io::Error, Option<Box<Barrier>>),
    /// It is larger than a megabyte.
    TooLarge,
    /// Its content.
    Content(InvalidIdentity),
}

/// What stands in the way of a reader.
#[derive(Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The file itself, or a directory on the way to it.
    path: PathBuf,
    is_directory: bool,
    owner: String,
    group: String,
    mode: u32,
    /// Who wants to read.
    reader: String,
}

impl Files {
    /// Reads both.
    ///
    /// # Errors
    /// The first thing that keeps them from being used.
    pub fn load(&self) -> Result<Identity, InvalidFile> {
        let chain = read(&self.chain)?;
        let key = read(&self.key)?;
        Identity::from_pem(&chain, &key).map_err(|wrong| {
            let path = if wrong.is_about_key() { &self.key } else { &self.chain };
            InvalidFile { path: path.clone(), why: Why::Content(wrong) }
        })
    }

    /// Whether everybody on this host may read the key; `None` when that cannot be seen.
    pub fn key_is_exposed(&self) -> Option<bool> {
        others_may_read(&self.key)
    }
}

/// Whether everybody on this host may read a file, and come to it; `None` when that cannot be seen.
pub fn others_may_read(path: &Path) -> Option<bool> {
    let path = fs::canonicalize(path).ok()?;
    let allows = |path: &Path, right| Some(fs::metadata(path).ok()?.mode() & right != 0);
    if !allows(&path, 0o004)? {
        return Some(false);
    }
    for directory in path.ancestors().skip(1) {
        if !allows(directory, 0o001)? {
            return Some(false);
        }
    }
    Some(true)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, InvalidFile> {
    let invalid = |why| InvalidFile { path: path.to_owned(), why };
    let unreadable = |error: io::Error| {
        let barrier = Barrier::behind(&error, path).map(Box::new);
        invalid(Why::Unreadable(error, barrier))
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Zeroizing::new(Vec::new());
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(invalid(Why::TooLarge));
    }
    Ok(text)
}

impl Barrier {
    /// Finds what stands in the way to a file that may not be read. `None` when it is something else than owner and
    /// mode, such as the sandbox.
    pub fn behind(error: &io::Error, path: &Path) -> Option<Self> {
        if error.kind() != ErrorKind::PermissionDenied {
            return None;
        }
        let path = find_barrier(&std::path::absolute(path).ok()?, LINKS);
        let about = fs::metadata(&path).ok()?;
        let wanted = if about.is_dir() { 0o1 } else { 0o4 };
        let groups = net::effective_groups().ok()?;
        let allowed = rights(&about, net::effective_user(), &groups);
        (allowed & wanted == 0).then(|| Self {
            is_directory: about.is_dir(),
            owner: net::user_name(about.uid()),
            group: net::group_name(about.gid()),
            mode: about.mode() & 0o7777,
            reader: net::user_name(net::effective_user()),
            path,
        })
    }
}

/// What owner and mode let a user with these groups do: as others, as one of the group, or as the owner.
fn rights(about: &impl MetadataExt, user: u32, groups: &[u32]) -> u32 {
    let mode = about.mode();
    if about.uid() == user {
        mode >> 6 & 0o7
    } else if groups.contains(&about.gid()) {
        mode >> 3 & 0o7
    } else {
        mode & 0o7
    }
}

/// The last part of the way that can be seen: what follows it is hidden by it.
fn find_barrier(path: &Path, links: u32) -> PathBuf {
    let mut at = PathBuf::new();
    for part in path.components() {
        let before = at.clone();
        at.push(part);
        let Ok(about) = fs::symlink_metadata(&at) else {
            return before;
        };
        if about.is_symlink()
            && links > 0
            && let Ok(target) = fs::read_link(&at)
        {
            let target = find_barrier(&before.join(target), links - 1);
            let passable = fs::metadata(&at).is_ok_and(|about| about.is_dir());
            if !passable {
                return target;
            }
        }
    }
    at
}

impl fmt::Display for InvalidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.path.display())?;
        match &self.why {
            Why::Unreadable(error, None) => write!(f, "cannot be read: {error}"),
            Why::Unreadable(_, Some(barrier)) => write!(f, "cannot be read: {barrier}"),
            Why::TooLarge => write!(f, "is larger than {} MiB", LARGEST >> 20),
            Why::Content(wrong) => wrong.fmt(f),
        }
    }
}

impl std::error::Error for InvalidFile {}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, is_directory, owner, group, mode, reader } = self;
        match is_directory {
            true => write!(f, "the directory {} is", path.display())?,
            false => write!(f, "{} is", path.display())?,
        }
        write!(
            f,
            " {owner}:{group} with mode {mode:04o}, and this process is {reader}; give a group of \
             {reader}'s the right to {}, or hand it over with systemd's LoadCredential; as root with \
             process.user it is read at the start, and not when it has changed",
            if *is_directory {
                "enter it (chgrp, chmod g+x)"
            } else {
                "read it (chgrp, chmod g+r)"
            },
        )
    }
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;
