//! Root until everything is bound and read, an ordinary user from then on.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use super::error::StartError;
use super::secret::state_directories;
use crate::config::Config;
use crate::net::{self, Account};

/// Makes the directory of the state, if it is not there, for the user that this process will become: root's own would be
/// closed to that user.
///
/// # Errors
/// The user is not known here.
pub(super) fn make_state_directory(config: &Config) -> Result<(), StartError> {
    if let (Some(heir), Some(path)) = (heir(config)?, state_directories(config).first()) {
        // Whether that user can use it is seen, and said, when root is given up.
        let _ = heir.make_directory(path);
    }
    Ok(())
}

/// Becomes the configured user, if there is one and this process is not that user already.
///
/// # Errors
/// The user or the group is not known here, or may not be become.
pub(super) fn drop(config: &Config) -> Result<(), StartError> {
    let Some(heir) = heir(config)? else {
        return Ok(());
    };
    let group = config.group.as_deref();
    let group = group.map(|group| known(net::group(group), "group", group)).transpose()?;
    let name = &heir.name;
    net::become_user(&heir, group).map_err(|error| StartError::Become(name.clone(), error))?;
    tracing::info!(event = "user", user = name.as_str(), "all is bound and read: now {name}");
    if let Some(path) = state_directories(config).first() {
        warn_of_closed(path, name);
    }
    Ok(())
}

/// Whom this process has to become, if it is not that user already.
fn heir(config: &Config) -> Result<Option<Account>, StartError> {
    let account = config.user.as_deref().map(|name| known(net::account(name), "user", name));
    Ok(account.transpose()?.filter(|account| !account.is_current()))
}

/// A directory that an earlier start has made, or `turnwire users`, may be root's.
fn warn_of_closed(directory: &Path, name: &str) {
    let probe = directory.join(format!(".{}.probe", std::process::id()));
    let closed = File::create_new(&probe).and_then(|_| fs::remove_file(&probe)).err();
    if let Some(error) = closed.filter(|error| error.kind() == ErrorKind::PermissionDenied) {
        tracing::warn!(
            event = "state_directory",
            "{name} cannot write into {directory:?}, where `turnwire users` keeps users and records wait: {error}; \
             `chown -R {name} {}`, and start again",
            directory.display(),
        );
    }
}

fn known<T>(
    found: std::io::Result<Option<T>>,
    what: &'static str,
    name: &str,
) -> Result<T, StartError> {
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(StartError::Unknown(what, name.to_owned())),
        Err(error) => Err(StartError::System("to look up who process.user is", error)),
    }
}
