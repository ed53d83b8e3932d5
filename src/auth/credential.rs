use std::sync::Arc;

use super::Key;

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Settings,
    /// A store has said so, and may say something else.
    Store,
    /// The same, and it has no other key than the one that MD5 makes.
    StoreOfMd5,
}

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
    source: Source,
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
            source: Source::Settings,
            key,
        }
    }

    /// The same, of a user that is in a store, which may have an MD5 key and nothing else.
    pub(super) fn stored(realm: &Arc<str>, username: &str, key: Key, only_md5: bool) -> Self {
        let source = if only_md5 { Source::StoreOfMd5 } else { Source::Store };
        Self { source, ..Self::lasting(realm, username, key) }
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
        let (username, expires) = (username.into(), Some(expires));
        Self { realm, username, owner, expires, source: Source::Settings, key }
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
    pub(super) fn is_stored(&self) -> bool {
        self.source != Source::Settings
    }

    /// Whether the user has no key that SHA-256 makes.
    pub(super) fn is_only_md5(&self) -> bool {
        self.source == Source::StoreOfMd5
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
