use std::sync::Arc;

use super::Key;

/// Who somebody has proved to be, with the key that proves it.
///
/// It is shared, so that an allocation keeps it for the requests that follow: none of them then
/// costs a look-up or a derived key. What it says never changes.
#[derive(Debug)]
pub struct Credential {
    realm: Arc<str>,
    username: Box<str>,
    /// `None` when it counts for the username itself.
    owner: Option<Box<str>>,
    expires: Option<u64>,
    key: Key,
}

impl Credential {
    /// That of a user who has a password of its own.
    pub(super) fn lasting(realm: &Arc<str>, username: &str, key: Key) -> Self {
        let realm = Arc::clone(realm);
        Self { realm, username: username.into(), owner: None, expires: None, key }
    }

    /// One that is good until a time, in seconds since 1970, and counts for `owner`.
    pub(super) fn ephemeral(
        realm: &Arc<str>,
        username: &str,
        owner: &str,
        expires: u64,
        key: Key,
    ) -> Self {
        let realm = Arc::clone(realm);
        let owner = (owner != username).then(|| owner.into());
        Self { realm, username: username.into(), owner, expires: Some(expires), key }
    }

    /// The realm that it is of: users of one name in two realms are two users.
    pub const fn realm(&self) -> &Arc<str> {
        &self.realm
    }

    /// The name in USERNAME or behind USERHASH, prepared; with an access token, its kid.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Whom it counts for: the same, or the user part of an ephemeral username. An access token does
    /// not say whose it is: each counts for itself.
    pub fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or(&self.username)
    }

    /// Whether both are one user's. A kid is everybody's, so of access tokens only the same one is.
    pub fn is_of_same_user(&self, other: &Self) -> bool {
        let same_kind = self.key.is_session() == other.key.is_session();
        same_kind
            && self.realm == other.realm
            && self.username == other.username
            && (!self.key.is_session() || self.owner == other.owner)
    }

    /// When it expires, in seconds since 1970.
    pub const fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// The key that signs requests and their responses.
    pub const fn key(&self) -> &Key {
        &self.key
    }
}
