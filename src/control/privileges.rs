//! Root until everything is bound and read, an ordinary user from then on.

use super::error::StartError;
use crate::net::{self, Account};

/// Becomes the configured user, if there is one and this process is not that user already.
///
/// # Errors
/// The user is not known here, or may not be become.
pub(super) fn drop(user: Option<&str>, group: Option<&str>) -> Result<(), StartError> {
    let Some(name) = user else {
        return Ok(());
    };
    let account = known(net::account(name), "user", name)?;
    let group = group.map(|group| known(net::group(group), "group", group)).transpose()?;
    if account.is_current() {
        return Ok(());
    }
    net::become_user(&account, group)
        .map_err(|error| StartError::Become(name.to_owned(), error))?;
    let Account { name, .. } = &account;
    tracing::info!(event = "user", user = name.as_str(), "all is bound and read: now {name}");
    Ok(())
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
