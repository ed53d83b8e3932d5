use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::directory::Entry;
use super::rest::{RestDigest, mint_password, parse_username};
use super::{
    Algorithm, Credential, DenialKind, Directory, Key, Keys, Secret, TokenKey, TokenSettings,
    prepare, userhash,
};
use crate::time::Mono;

/// A user with a password of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, at most 508 bytes (RFC 8489 §14.3).
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// What becomes of a live allocation when the ephemeral credential it was made with expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpiry {
    /// It goes on and may be refreshed: a call is not cut because it is long. The default.
    #[default]
    Keep,
    /// Its requests are refused from then on, so that it ends with its lifetime.
    Refuse,
    /// It ends at that second.
    End,
}

/// What becomes of a live allocation when the credential that it was made with is taken back, by a
/// change of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRevocation {
    /// It goes on and may be refreshed: a secret can be replaced without cutting a call. The default.
    #[default]
    Keep,
    /// Its requests are refused from then on, so that it ends with its lifetime.
    Refuse,
    /// It ends at once.
    End,
}

/// Who may come in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The realm, at most 127 characters, not empty (RFC 8489 §14.9).
    pub realm: String,
    /// Users with their own passwords.
    pub users: Vec<User>,
    /// Shared secrets of the applications that mint ephemeral credentials; each is tried, so that
    /// one can be replaced without a gap.
    pub secrets: Vec<Secret>,
    /// Between expiry and user in an ephemeral username.
    pub separator: char,
    /// The digests with which ephemeral passwords may be minted.
    pub rest_digests: Vec<RestDigest>,
    /// Whether PASSWORD-ALGORITHMS offers SHA-256 (RFC 8489 §9.2).
    pub sha256: bool,
    /// Whether clients are asked to hide their names in USERHASH (RFC 8489 §9.2.1). An ephemeral
    /// username cannot be found by its hash, so this excludes `secrets`.
    pub username_anonymity: bool,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// What an expired ephemeral credential does to its live allocations.
    pub on_expiry: OnExpiry,
    /// What a credential that was taken back does to its live allocations.
    pub on_revocation: OnRevocation,
    /// Third-party authorization (RFC 7635). Clients cannot hide a `kid`, so keys for it exclude
    /// `username_anonymity`.
    pub tokens: TokenSettings,
    /// What stores say about users who are not among [`Self::users`]; nothing where there is no store.
    pub directory: Option<Arc<Directory>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            realm: "turnwire".to_owned(),
            users: Vec::new(),
            secrets: Vec::new(),
            separator: ':',
            rest_digests: vec![RestDigest::Sha1, RestDigest::Sha256],
            sha256: true,
            username_anonymity: false,
            nonce_lifetime: Duration::from_secs(3600),
            on_expiry: OnExpiry::Keep,
            on_revocation: OnRevocation::Keep,
            tokens: TokenSettings::default(),
            directory: None,
        }
    }
}

/// A credential setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// Empty, too long, or with characters that OpaqueString forbids.
    #[error("the realm must have 1 to 127 characters and no control characters")]
    Realm,
    /// Empty, too long, or with characters that OpaqueString forbids.
    #[error("the user name {0:?} must have 1 to 508 bytes and no control characters")]
    Username(String),
    /// Empty, or with characters that OpaqueString forbids.
    #[error("the password of {0:?} must not be empty and have no control characters")]
    Password(String),
    /// Two users of one name.
    #[error("the user {0:?} is there twice")]
    Duplicate(String),
    /// Empty.
    #[error("a shared secret must not be empty")]
    EmptySecret,
    /// `username_anonymity` together with `secrets` or with keys of access tokens.
    #[error(
        "username anonymity cannot be offered together with shared secrets or access tokens: \
         an ephemeral user name or a kid cannot be found by its hash"
    )]
    Anonymity,
    /// Empty or too long.
    #[error("the server name for access tokens must have 1 to 255 bytes and no control characters")]
    ServerName,
    /// Empty or too long.
    #[error("the kid {0:?} must have 1 to 508 bytes and no control characters")]
    Kid(String),
    /// Two keys of one name.
    #[error("the kid {0:?} is there twice")]
    DuplicateKid(String),
}

/// An ephemeral username, whose password each secret and digest may have made. It may be somebody's name in a store
/// as well.
#[derive(Clone, Copy)]
pub(super) struct Minted<'a> {
    /// Its user part.
    pub(super) owner: &'a str,
    /// Until when it is good, in seconds since 1970.
    pub(super) expires: u64,
}

/// The settings in the form in which they are asked.
pub(super) struct Credentials {
    pub(super) settings: Settings,
    pub(super) realm: Arc<str>,
    users: HashMap<String, Keys>,
    hashes: HashMap<[u8; 32], String>,
}

impl Credentials {
    pub(super) fn new(mut settings: Settings) -> Result<Self, InvalidCredential> {
        let realm = prepare(&settings.realm)
            .filter(|realm| realm.chars().count() <= 127)
            .ok_or(InvalidCredential::Realm)?;
        let realm: Arc<str> = realm.into();
        if settings.secrets.iter().any(|secret| secret.expose().is_empty()) {
            return Err(InvalidCredential::EmptySecret);
        }
        let unhashable = !settings.secrets.is_empty() || !settings.tokens.keys.is_empty();
        if settings.username_anonymity && unhashable {
            return Err(InvalidCredential::Anonymity);
        }
        check_tokens(&settings.tokens)?;
        let (mut users, mut hashes) = (HashMap::new(), HashMap::new());
        for user in settings.users.drain(..) {
            let name = prepare(&user.name)
                .filter(|name| name.len() <= 508)
                .ok_or_else(|| InvalidCredential::Username(user.name.clone()))?
                .into_owned();
            let keys = Keys::of_password(&realm, &name, user.password.expose())
                .ok_or_else(|| InvalidCredential::Password(name.clone()))?;
            hashes.insert(userhash(&name, &realm), name.clone());
            if users.insert(name.clone(), keys).is_some() {
                return Err(InvalidCredential::Duplicate(name));
            }
        }
        settings.realm = realm.as_ref().into();
        Ok(Self { settings, realm, users, hashes })
    }

    /// Whether a credential is still one of these.
    pub(super) fn have(&self, credential: &Credential) -> Option<bool> {
        let (name, key) = (credential.username(), credential.key());
        let Some(algorithm) = key.algorithm() else {
            // The token itself is gone; whoever has the key could make another.
            return Some(self.token_key(name.as_bytes()).is_some());
        };
        if let Some(keys) = self.own(name) {
            return Some(keys.have(key));
        }
        if credential.is_stored() {
            return self.directory().map_or(Some(false), |it| it.vouches_for(credential));
        }
        let minted = self.minted(name).is_some()
            && self.shared_key(name, algorithm, |one| one == key).is_some();
        // As long as a store has not said its secrets, it may have been one of them.
        (minted || self.knows_all_secrets()).then_some(minted)
    }

    fn directory(&self) -> Option<&Directory> {
        self.settings.directory.as_deref()
    }

    /// The key of this name for access tokens.
    pub(super) fn token_key(&self, kid: &[u8]) -> Option<&TokenKey> {
        self.settings.tokens.keys.iter().find(|key| key.kid.as_bytes() == kid)
    }

    pub(super) fn name_behind(&self, hash: &[u8]) -> Option<&str> {
        self.hashes.get(<&[u8; 32]>::try_from(hash).ok()?).map(String::as_str)
    }

    pub(super) fn by_hash(&self, hash: &[u8]) -> Option<&Keys> {
        self.own(self.name_behind(hash)?)
    }

    /// The keys of a user who has a password in the configuration.
    pub(super) fn own(&self, username: &str) -> Option<&Keys> {
        self.users.get(username)
    }

    /// What a name says if a secret has made its password; `None` when it does not look like that, or there are no
    /// secrets.
    pub(super) fn minted<'a>(&self, username: &'a str) -> Option<Minted<'a>> {
        let (expires, user) = parse_username(username, self.settings.separator)?;
        let any = || self.stored_secrets().is_some_and(|all| !all.is_empty());
        if self.settings.secrets.is_empty() && self.knows_all_secrets() && !any() {
            return None;
        }
        let owner = if user.is_empty() { username } else { user };
        Some(Minted { owner, expires })
    }

    /// What stores say about a name that the configuration does not know. The flag: it may be out of date.
    pub(super) fn in_stores(
        &self,
        username: &str,
        now: Mono,
    ) -> Result<(Arc<Keys>, bool), DenialKind> {
        let directory = self.directory().ok_or(DenialKind::UnknownUser)?;
        match directory.find(&self.realm, username, now) {
            Entry::User(keys, doubtful) => Ok((keys, doubtful)),
            Entry::NoUser => Err(DenialKind::UnknownUser),
            Entry::NotAsked => Err(DenialKind::NotAsked),
            Entry::Unavailable => Err(DenialKind::StoreDown),
        }
    }

    /// Whether there are stores to ask.
    pub(super) const fn has_stores(&self) -> bool {
        self.settings.directory.is_some()
    }

    /// Whether one of them may have an MD5 key only of somebody.
    pub(super) fn may_have_only_md5(&self) -> bool {
        self.directory().is_some_and(Directory::may_have_only_md5)
    }

    /// The shared secrets that stores have, as far as they have said.
    fn stored_secrets(&self) -> Option<Arc<[Secret]>> {
        self.directory()?.secrets(&self.realm).0
    }

    /// Whether every store has said which secrets it has.
    pub(super) fn knows_all_secrets(&self) -> bool {
        self.directory().is_none_or(|directory| directory.secrets(&self.realm).1)
    }

    /// The key that an ephemeral credential has: of those that each secret and digest make, one that fits.
    pub(super) fn shared_key(
        &self,
        username: &str,
        algorithm: Algorithm,
        fits: impl Fn(&Key) -> bool,
    ) -> Option<Key> {
        let stored = self.stored_secrets();
        let stored = stored.as_deref().unwrap_or_default();
        let secrets = self.settings.secrets.iter().chain(stored);
        let mut keys = secrets.flat_map(|secret| {
            self.settings.rest_digests.iter().map(move |digest| {
                let password = mint_password(*digest, secret, username);
                Key::derive(algorithm, username, &self.settings.realm, &password)
            })
        });
        keys.find(|key| fits(key))
    }
}

fn check_tokens(tokens: &TokenSettings) -> Result<(), InvalidCredential> {
    let usable = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    if tokens.server_name.as_ref().is_some_and(|name| !usable(name, 255)) {
        return Err(InvalidCredential::ServerName);
    }
    for (place, key) in tokens.keys.iter().enumerate() {
        // RFC 8489 §14.3: it stands in USERNAME.
        if !usable(&key.kid, 508) {
            return Err(InvalidCredential::Kid(key.kid.clone()));
        }
        if tokens.keys[..place].iter().any(|other| other.kid == key.kid) {
            return Err(InvalidCredential::DuplicateKid(key.kid.clone()));
        }
    }
    Ok(())
}
