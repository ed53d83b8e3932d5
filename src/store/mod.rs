//! Where users live besides the configuration: a file, a database, an application.
//!
//! A [`Store`] answers two questions: what is known of one user ([`Store::look_up`]), and which shared
//! secrets mint ephemeral credentials ([`Store::secrets`]). [`open`] makes one of its [`Settings`].
//! Stores are asked beside the datapath, in the order in which they are configured, and the first that
//! knows the user has the last word: [`Desk`] does that, and watches how they do.
//!
//! # A new driver
//! One file with a type that implements [`Store`], a [`Kind`], its arm in [`open`], and the keys that it
//! needs in [`Settings`]. It connects when it is first asked and again after it has lost its connection, gives
//! up after [`Settings::timeout`], and says what is wrong in words that may stand in a log ([`StoreError`]):
//! no password, no URL with one in it.
//!
//! Not here: who is let in (`auth`), and what is done until an answer has come (`turn`).

#[cfg(any(feature = "sql", feature = "redis"))]
mod backoff;
#[cfg(any(feature = "sqlite", feature = "sql", feature = "redis"))]
mod coturn;
mod desk;
mod error;
mod file;
mod files;
mod hook;
mod inventory;
mod keeper;
mod lines;
mod open;
mod place;
#[cfg(feature = "redis")]
mod redis;
mod settings;
#[cfg(any(feature = "sqlite", feature = "sql"))]
mod sql;
mod stats;
mod tables;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::auth::Secret;

pub use desk::Desk;
pub use error::StoreError;
pub use file::FileStore;
pub use files::files_named;
pub use inventory::{Inventory, Stocked, StockedToken};
pub use keeper::{Entry, InvalidEntry, Keeper, Listed};
pub use open::{keeper, open};
pub use place::DATABASE;
#[cfg(feature = "redis")]
pub(crate) use redis::{client as redis_client, told as redis_told};
pub use settings::{Kind, Settings};
pub use stats::{CLASSES, Outcome, StoreStats};

/// What a store answers with, when it has it.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A place where users live.
pub trait Store: Send + Sync {
    /// What is known of a user; `None` when there is none of that name in that realm.
    ///
    /// # Errors
    /// It cannot say: that is no "no".
    fn look_up<'a>(&'a self, question: &'a Question) -> Reply<'a, Option<Found>>;

    /// The shared secrets of a realm, of the applications that mint ephemeral credentials. They are asked for
    /// again and again, so this is to be cheap.
    ///
    /// # Errors
    /// It cannot say: those of before stay.
    fn secrets<'a>(&'a self, realm: &'a str) -> Reply<'a, Vec<Secret>>;

    /// Whether it keeps MD5 keys only of somebody, as coturn's databases do, who cannot use SHA-256 then.
    fn is_md5_only(&self) -> bool {
        false
    }
}

/// Who is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The realm, prepared by OpaqueString (RFC 8265).
    pub realm: Box<str>,
    /// The name in USERNAME, prepared, at most 508 bytes.
    pub username: Box<str>,
    /// The address from which somebody asks under that name, if it is a client's request that led here. It has been
    /// proved. The answer is kept for the user, wherever else requests come from.
    pub client: Option<SocketAddr>,
}

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What its requests are checked with.
    pub proof: Proof,
    /// How long this may be relied upon; what is configured when absent.
    pub keep: Option<Duration>,
}

/// What a user's requests are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The password itself.
    Password(Secret),
    /// Keys that were derived from it for this realm (RFC 8489 §18.5.1), at least one.
    Keys {
        /// MD5 over `username:realm:password`: coturn's `hmackey`.
        md5: Option<Zeroizing<[u8; 16]>>,
        /// SHA-256 over the same.
        sha256: Option<Zeroizing<[u8; 32]>>,
    },
}

impl Found {
    /// Somebody with a password.
    pub fn password(password: impl Into<String>) -> Self {
        Self { proof: Proof::Password(Secret::new(password)), keep: None }
    }

    /// Somebody with the MD5 key that coturn keeps, in hexadecimal digits; `None` when it is none.
    pub fn hmackey(hex: &str) -> Option<Self> {
        let md5 = Some(key_of(hex)?);
        Some(Self { proof: Proof::Keys { md5, sha256: None }, keep: None })
    }
}

/// A key in hexadecimal digits of either case.
pub(crate) fn key_of<const LENGTH: usize>(hex: &str) -> Option<Zeroizing<[u8; LENGTH]>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != LENGTH || !rest.is_empty() {
        return None;
    }
    let mut key = Zeroizing::new([0; LENGTH]);
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_as_many_digits_as_it_needs_and_nothing_else() {
        // printf 'u:r:p' | md5sum
        let hex = "bd32e5fa2a6e8fbaee9e9adae7dfba1f";
        assert!(Found::hmackey(hex).is_some());
        assert_eq!(Found::hmackey(&hex.to_uppercase()), Found::hmackey(hex));
        let too_many = format!("{hex}00");
        for wrong in ["", "0x", &hex[1..], &too_many, "zz32e5fa2a6e8fbaee9e9adae7dfba1f"] {
            assert_eq!(Found::hmackey(wrong), None, "{wrong}");
        }
        let not_ascii = "é".repeat(16);
        assert_eq!(Found::hmackey(&not_ascii), None);
    }
}
