use std::fmt;

use crate::auth::{RestDigest, Secret, mint_password, prepare};

/// The longest username (RFC 8489 §14.3), in bytes.
const USERNAME_MAX: usize = 508;

/// A username and its password, both prepared (RFC 8489 §9.2.2).
#[derive(Clone)]
pub struct Credentials {
    username: String,
    password: Secret,
}

/// Credentials that no server can accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// Empty, too long, or with characters that OpaqueString forbids.
    #[error("the user name must have 1 to 508 bytes and no control characters")]
    Username,
    /// Empty, or with characters that OpaqueString forbids.
    #[error("the password must not be empty and have no control characters")]
    Password,
    /// Empty.
    #[error("the shared secret must not be empty")]
    Secret,
}

impl Credentials {
    /// A user with a password.
    ///
    /// # Errors
    /// [`InvalidCredentials`]
    pub fn new(username: &str, password: &Secret) -> Result<Self, InvalidCredentials> {
        let username = prepare(username)
            .filter(|name| (1..=USERNAME_MAX).contains(&name.len()))
            .ok_or(InvalidCredentials::Username)?;
        let password = prepare(password.expose())
            .filter(|password| !password.is_empty())
            .ok_or(InvalidCredentials::Password)?;
        Ok(Self { username: username.into_owned(), password: Secret::new(password.as_ref()) })
    }

    /// An ephemeral credential, as web applications mint them from the secret that they share with
    /// the server: it is good until `expires` (seconds since 1970). `user` may be empty.
    ///
    /// # Errors
    /// [`InvalidCredentials`]
    pub fn ephemeral(
        secret: &Secret,
        user: &str,
        expires: u64,
    ) -> Result<Self, InvalidCredentials> {
        if secret.expose().is_empty() {
            return Err(InvalidCredentials::Secret);
        }
        let username = match user {
            "" => expires.to_string(),
            user => format!("{expires}:{user}"),
        };
        // The password is made of the name as the server will see it.
        let prepared = prepare(&username).ok_or(InvalidCredentials::Username)?;
        let password = mint_password(RestDigest::Sha1, secret, &prepared);
        Self::new(&prepared, &Secret::new(password))
    }

    /// The username, prepared.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password, prepared.
    pub fn password(&self) -> &Secret {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, [redacted])", self.username)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ephemeral_password_is_the_one_that_servers_expect() {
        // openssl dgst -sha1 -hmac north -binary | base64, over "1700000000:alice"
        let made = Credentials::ephemeral(&Secret::new("north"), "alice", 1_700_000_000).unwrap();
        assert_eq!(made.username(), "1700000000:alice");
        assert_eq!(made.password().expose(), "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
        let nameless = Credentials::ephemeral(&Secret::new("north"), "", 17).unwrap();
        assert_eq!(nameless.username(), "17");
    }

    #[test]
    fn impossible_credentials_are_refused() {
        let new = |name: &str, password: &str| Credentials::new(name, &Secret::new(password)).err();
        assert_eq!(new("", "x"), Some(InvalidCredentials::Username));
        assert_eq!(new(&"x".repeat(509), "x"), Some(InvalidCredentials::Username));
        assert_eq!(new("a\0b", "x"), Some(InvalidCredentials::Username));
        assert_eq!(new("x", ""), Some(InvalidCredentials::Password));
        let minted = Credentials::ephemeral(&Secret::new(""), "x", 1).err();
        assert_eq!(minted, Some(InvalidCredentials::Secret));
    }

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials::new("alice", &Secret::new("wonder")).unwrap();
        assert!(!format!("{credentials:?}").contains("wonder"));
    }
}
