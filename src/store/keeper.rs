//! Stores that can be written, and what is written: keys, and no passwords.

use super::{Inventory, Reply, Store};
use crate::auth::{Algorithm, Key, Secret, prepare};

/// A store that can be written: the databases. `turnwire users` works on it.
pub trait Keeper: Store {
    /// Makes the tables that are missing, coturn's and the one of this server's own.
    ///
    /// # Errors
    /// It cannot be reached, or does not let this program make them.
    fn prepare(&self) -> Reply<'_, ()>;

    /// The users of a realm, or of every realm, by realm and name.
    ///
    /// # Errors
    /// It cannot say.
    fn users<'a>(&'a self, realm: Option<&'a str>) -> Reply<'a, Vec<Listed>>;

    /// Adds a user, or gives an old one a new password; says whether there was one.
    ///
    /// # Errors
    /// It cannot be written.
    fn put_user<'a>(&'a self, user: &'a Entry) -> Reply<'a, bool>;

    /// Removes a user; says whether there was one.
    ///
    /// # Errors
    /// It cannot be written.
    fn remove_user<'a>(&'a self, realm: &'a str, name: &'a str) -> Reply<'a, bool>;

    /// Adds a shared secret; says whether it is new.
    ///
    /// # Errors
    /// It cannot be written.
    fn put_secret<'a>(&'a self, realm: &'a str, secret: &'a Secret) -> Reply<'a, bool>;

    /// Removes a shared secret; says whether there was such a one.
    ///
    /// # Errors
    /// It cannot be written.
    fn remove_secret<'a>(&'a self, realm: &'a str, secret: &'a Secret) -> Reply<'a, bool>;

    /// Everything that coturn keeps there.
    ///
    /// # Errors
    /// It cannot be reached, or it is no database of coturn's.
    fn inventory(&self) -> Reply<'_, Inventory>;
}

/// A user who is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The realm.
    pub realm: String,
    /// The name.
    pub name: String,
    /// Whether there is a key for SHA-256 that belongs to the password of today.
    pub sha256: bool,
}

/// A user who is to be written. No password is kept, only what is derived from it.
#[derive(Clone, Debug)]
pub struct Entry {
    realm: String,
    name: String,
    md5: Secret,
    sha256: Secret,
}

/// Why nobody of that name can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// Empty, too long for coturn's tables, or with characters that OpaqueString forbids.
    #[error("the realm {0:?} must have 1 to 127 characters and no control characters")]
    Realm(String),
    /// Empty, too long, or with characters that OpaqueString forbids.
    #[error("the user name {0:?} must have 1 to 508 bytes and no control characters")]
    Name(String),
    /// Empty, or with characters that OpaqueString forbids.
    #[error("a password must not be empty and have no control characters")]
    Password,
}

impl Entry {
    /// Derives the keys of a user (RFC 8489 §18.5.1).
    ///
    /// # Errors
    /// One of the three texts is none that a client could send.
    pub fn new(realm: &str, name: &str, password: &Secret) -> Result<Self, InvalidEntry> {
        let fine = prepare(realm).filter(|realm| realm.chars().count() <= 127);
        let realm = fine.ok_or_else(|| InvalidEntry::Realm(realm.to_owned()))?;
        let fine = prepare(name).filter(|name| name.len() <= 508);
        let name = fine.ok_or_else(|| InvalidEntry::Name(name.to_owned()))?;
        let password = prepare(password.expose()).ok_or(InvalidEntry::Password)?;
        let hex = |algorithm| hex(Key::derive(algorithm, &name, &realm, &password).expose());
        let (md5, sha256) = (hex(Algorithm::Md5), hex(Algorithm::Sha256));
        Ok(Self { realm: realm.into_owned(), name: name.into_owned(), md5, sha256 })
    }

    /// The name, as OpaqueString prepares it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The realm, as OpaqueString prepares it.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The key of MD5 in hexadecimal digits: coturn's `hmackey`.
    pub const fn md5(&self) -> &Secret {
        &self.md5
    }

    /// The key of SHA-256 in hexadecimal digits.
    pub const fn sha256(&self) -> &Secret {
        &self.sha256
    }
}

fn hex(key: &[u8]) -> Secret {
    let mut text = String::with_capacity(2 * key.len());
    for byte in key {
        for digit in [byte >> 4, byte & 15] {
            // unwrap: four bits are a digit.
            text.push(char::from_digit(u32::from(digit), 16).unwrap());
        }
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_that_coturn_writes() {
        let entry = Entry::new("north.gov", "gorst", &Secret::new("hero")).unwrap();
        // From coturn's own description of its databases.
        assert_eq!(entry.md5.expose(), "7da2270ccfa49786e0115366d3a3d14d");
        // printf 'gorst:north.gov:hero' | sha256sum
        let sha256 = "09d34a27958c1a248939ee283773900b10eb8e49ddbaab29c9306f0e2ec01e5c";
        assert_eq!(entry.sha256.expose(), sha256);
        assert!(!format!("{entry:?}").contains("7da2"));
    }

    #[test]
    fn nobody_is_written_who_could_never_come_in() {
        let entry = |realm: &str, name: &str, password: &str| {
            Entry::new(realm, name, &Secret::new(password)).unwrap_err()
        };
        let long = "x".repeat(509);
        assert_eq!(entry("", "a", "b"), InvalidEntry::Realm(String::new()));
        assert_eq!(entry("r", &long, "b"), InvalidEntry::Name(long.clone()));
        assert_eq!(entry("r", "a\0", "b"), InvalidEntry::Name("a\0".to_owned()));
        assert_eq!(entry("r", "a", ""), InvalidEntry::Password);
    }
}
