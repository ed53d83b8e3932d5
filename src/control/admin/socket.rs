//! The Unix socket of the admin endpoint: its place, its file and its end.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};

use crate::net::give_to_owner_of_directory;

/// Its name in the state directory.
pub(in crate::control) const SOCKET_NAME: &str = "admin.sock";
/// Clients that may wait in the system's queue.
const BACKLOG: i32 = 64;
/// What the address of a Unix socket has room for (unix(7)).
const LONGEST: usize = 107;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(in crate::control) enum SocketError {
    #[error(
        "another server of this kind is alive at {0:?}: stop it, or give this one an \
         admin.socket (--admin-socket) of its own, or \"off\""
    )]
    Taken(PathBuf),
    #[error("{0:?} is there and is no socket: remove it, or choose another admin.socket")]
    Foreign(PathBuf),
    #[error(
        "the path {0:?} is too long for a socket, which may have {LONGEST} bytes: choose \
         another admin.socket"
    )]
    TooLong(PathBuf),
    #[error("the admin socket {0:?} cannot be made: {1}; choose another admin.socket, or \"off\"")]
    System(PathBuf, io::Error),
}

/// A bound socket. Its file goes with it.
pub(in crate::control) struct Socket {
    path: PathBuf,
    /// Held as long as this process lives: whoever gets it knows that a file left behind is nobody's.
    _lock: File,
}

impl Socket {
    /// Binds it for the owner of this process alone (0600). The file of a server that has died is replaced, that of
    /// one that lives is not.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(in crate::control) fn bind(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        if path.as_os_str().len() > LONGEST {
            return Err(SocketError::TooLong(path.to_owned()));
        }
        let failed = |error| SocketError::System(path.to_owned(), error);
        let lock = lock(path)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(facts) if !facts.file_type().is_socket() => {
                return Err(SocketError::Foreign(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(SocketError::Taken(path.to_owned()));
            }
            Ok(_) => fs::remove_file(path).map_err(failed)?,
        }
        let listener = listen(path).map_err(failed)?;
        Ok((Self { path: path.to_owned(), _lock: lock }, listener))
    }

    /// The same in the first of these directories that lets it.
    ///
    /// # Errors
    /// Why not in the last one; a server that lives in one of them is the reason at once.
    pub(in crate::control) fn bind_in(
        directories: &[PathBuf],
    ) -> Result<(Self, UnixListener), SocketError> {
        let none = io::Error::new(io::ErrorKind::NotFound, "there is no state directory");
        let mut last = SocketError::System(PathBuf::from(SOCKET_NAME), none);
        for directory in directories {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            let path = directory.join(SOCKET_NAME);
            last = match made {
                Err(error) => SocketError::System(path, error),
                Ok(()) => match Self::bind(&path) {
                    Err(error @ SocketError::System(..)) => error,
                    decided => return decided,
                },
            };
        }
        Err(last)
    }

    pub(in crate::control) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the file away.
    pub(in crate::control) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            // The next server replaces it.
            tracing::debug!(event = "admin_socket", "{:?} stays: {error}", self.path);
        }
    }
}

/// Two servers that start at once do not both find that the other's file is nobody's.
fn lock(path: &Path) -> Result<File, SocketError> {
    let failed = |error| SocketError::System(path.to_owned(), error);
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = open_lock(Path::new(&name)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SocketError::Taken(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The directory may be that of a user who may do less than this process: no link of theirs is followed, no pipe of theirs
/// waited for, and only what is made here is given to them.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            // Where root may give nothing away it may go on being the server.
            let _ = give_to_owner_of_directory(&file, path);
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before anybody can connect.
    let listened = fs::set_permissions(path, Permissions::from_mode(0o600))
        .and_then(|()| socket.set_nonblocking(true))
        .and_then(|()| socket.listen(BACKLOG));
    match listened {
        Ok(()) => Ok(socket.into()),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

#[cfg(test)]
#[path = "socket/tests.rs"]
mod tests;
