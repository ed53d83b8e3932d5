use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Key;

/// Who somebody has proved to be, with the key that proves it.
///
/// It is shared, so that an allocation keeps it for the requests that follow: none of them then
/// costs a look-up or a derived key. What it says never changes, but for whether its user has a better key.
#[derive(Debug)]
pub struct Credential {
    realm: Arc<str>,
    username: Box<str>,
    /// `None` when it counts for the username itself.
    owner: Option<Box<str>>,
    expires: Option<u64>,
    /// A store has said so, and may say something else.
    stored: bool,
    /// That store has no other key of the user than the one that MD5 makes, as far as is known now.
    only_md5: AtomicBool,
    key: Key,
}

impl Credential {
    /// That of a user who has a password of its own.
    pub(super) fn lasting(realm: &Arc<str>, username: &str, key: Key) -> Self {
        let realm = Arc::clone(realm);
        Self {
            realm,
            username: username.into(),
            owner: None,
            expires: None,
            stored: false,
            only_md5: AtomicBool::new(false),
            key,
        }
    }

    /// The same, of a user that is in a store, which may have an MD5 key and nothing else.
    pub(super) fn stored(realm: &Arc<str>, username: &str, key: Key, only_md5: bool) -> Self {
        let only_md5 = AtomicBool::new(only_md5);
        Self { stored: true, only_md5, ..Self::lasting(realm, username, key) }
    }

    /// One that is good until a time, in seconds since 1970, and counts for `owner`.
    pub(super) fn ephemeral(
        realm: &Arc<str>,
        username: &str,
        owner: &str,
        expires: u64,
        key: Key,
    ) -> Self {
        let owner = (owner != username).then(|| owner.into());
        Self { owner, expires: Some(expires), ..Self::lasting(realm, username, key) }
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

    /// Whether it is that of a user who is in a store.
    pub(super) const fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether the user has no key that SHA-256 makes.
    pub(super) fn is_only_md5(&self) -> bool {
        self.only_md5.load(Ordering::Relaxed)
    }

    /// Takes over from a later answer of the store whether there is a better key.
    pub(super) fn heed(&self, later: &Self) {
        self.only_md5.store(later.is_only_md5(), Ordering::Relaxed);
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
