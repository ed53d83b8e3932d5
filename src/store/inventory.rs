//! Everything that stands in a database of coturn's, as whoever moves away from coturn reads it.

use super::{Settings, StoreError, open};
use crate::auth::Secret;

/// Everything that stands in a database of coturn's, for whoever moves away from coturn: read once, and nothing is
/// changed by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Its users.
    pub users: Vec<Stocked>,
    /// The realm of each shared secret. The secrets themselves stay where they are.
    pub secrets: Vec<String>,
    /// Ranges of peers by realm (`""` for every realm): those that may be relayed to.
    pub allowed: Vec<(String, String)>,
    /// The same: those that may not.
    pub denied: Vec<(String, String)>,
    /// Limits: realm, option, value.
    pub options: Vec<[String; 3]>,
    /// Origins, and the realms that they lead to.
    pub origins: Vec<(String, String)>,
    /// Keys of access tokens.
    pub tokens: Vec<StockedToken>,
    /// Names of those who may use coturn's web page.
    pub admins: Vec<String>,
    /// Tables that could not be read, and why.
    pub unread: Vec<(&'static str, StoreError)>,
}

/// A user who stands in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stocked {
    /// The realm.
    pub realm: String,
    /// The name.
    pub name: String,
    /// Whether the key is one that somebody can come in by.
    pub usable: bool,
}

/// A key for access tokens (RFC 7635) that stands in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockedToken {
    /// Its name.
    pub kid: String,
    /// In base64.
    pub key: Secret,
    /// `A256GCM` or `A128GCM`; empty for the former.
    pub algorithm: String,
    /// When it was made, in seconds since 1970.
    pub timestamp: u64,
    /// For how many seconds it is good; 0 for ever.
    pub lifetime: u64,
    /// The realm of whoever comes with it; empty for the one that asked.
    pub realm: String,
}

impl Inventory {
    /// Reads all of a database. One in a file is not made.
    ///
    /// # Errors
    /// It cannot be reached, is none of coturn's, or is of a kind that coturn does not know.
    pub async fn of(settings: &Settings) -> Result<Self, StoreError> {
        open::keeper(settings, false)?.inventory().await
    }
}

/// A number in a column; coturn reads what is none as 0.
#[cfg(any(feature = "sqlite", feature = "sql", feature = "redis"))]
pub(super) fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}
