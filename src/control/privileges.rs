//! Root until everything is bound and read, an ordinary user from then on.

use super::error::StartError;
use super::secret::state_directories;
use crate::config::Config;
use crate::net::{self, Account};

/// Makes the directory of the state, if it is not there, for the user that this process will become: root's own would be
/// closed to that user. Whether it can be used is seen, and said, where it is.
///
/// # Errors
/// The user is not known here.
pub(super) fn make_state_directory(config: &Config) -> Result<(), StartError> {
    let heir = heir(config.user.as_deref(), config.group.as_deref())?;
    if let (Some((account, group)), Some(path)) = (heir, state_directories(config).first()) {
        let _ = account.make_directory(path, group);
    }
    Ok(())
}

/// Becomes the configured user, if there is one and this process is not that user already.
///
/// # Errors
/// The user is not known here, or may not be become.
pub(super) fn drop(user: Option<&str>, group: Option<&str>) -> Result<(), StartError> {
    let Some((account, group)) = heir(user, group)? else {
        return Ok(());
    };
    let Account { name, .. } = &account;
    net::become_user(&account, group).map_err(|error| StartError::Become(name.clone(), error))?;
    tracing::info!(event = "user", user = name.as_str(), "all is bound and read: now {name}");
    Ok(())
}

/// Whom this process has to become, and with which group, if it is not that user already.
fn heir(
    user: Option<&str>,
    group: Option<&str>,
) -> Result<Option<(Account, Option<u32>)>, StartError> {
    let Some(name) = user else {
        return Ok(None);
    };
    let account = known(net::account(name), "user", name)?;
    let group = group.map(|group| known(net::group(group), "group", group)).transpose()?;
    Ok((!account.is_current()).then_some((account, group)))
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
