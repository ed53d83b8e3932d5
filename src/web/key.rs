//! API keys: who may have credentials.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::auth::Secret;

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// What it is called: public, and part of some paths.
    pub name: String,
    /// What credentials that were given for it are called in sessions and records.
    pub label: String,
    /// Which of the mints it is for.
    pub mint: usize,
    /// The longest time that a credential may be good.
    pub max_ttl: Duration,
    digest: [u8; 32],
}

impl Key {
    /// `secret` is what its holder proves himself with.
    pub fn new(name: &str, secret: &Secret, label: &str, mint: usize, max_ttl: Duration) -> Self {
        let digest = Sha256::digest(secret.expose()).into();
        Self { name: name.to_owned(), label: label.to_owned(), mint, max_ttl, digest }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// In the order of the configuration.
    pub const fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same key as it is now: of this name, and with the secret that it had.
    pub(super) fn now(&self, then: &Key) -> Option<&Key> {
        self.0.iter().find(|key| key.name == then.name && key.digest.ct_eq(&then.digest).into())
    }

    /// The key with this secret. How long that takes tells nothing about them: what is compared are
    /// digests, all of them.
    pub fn find(&self, secret: &[u8]) -> Option<&Key> {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let found = (1u64..).zip(&self.0).fold(0, |found, (place, key)| {
            let equal: Choice = key.digest.ct_eq(&digest);
            u64::conditional_select(&found, &place, equal)
        });
        let place = usize::try_from(found.checked_sub(1)?).ok()?;
        self.0.get(place)
    }
}

/// What stands behind a scheme in `Authorization` (RFC 9110 §11.6.2).
fn authorization<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h [u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (found, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    found.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

/// The token of RFC 6750 §2.1.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    authorization(headers, "Bearer")
}

/// The password of RFC 7617. The name before it is not looked at.
pub(super) fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    let both = STANDARD.decode(authorization(headers, "Basic")?).ok()?;
    let colon = both.iter().position(|byte| *byte == b':')?;
    Some(both[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_the_whole_of_its_secret() {
        let key = |name: &str, secret: &str| {
            Key::new(name, &Secret::new(secret), name, 0, Duration::from_secs(1))
        };
        let keys = Keys::new(vec![key("a", "first-of-the-keys"), key("b", "second")]);
        let name = |secret: &[u8]| keys.find(secret).map(|key| key.name.as_str());
        assert_eq!(name(b"first-of-the-keys"), Some("a"));
        assert_eq!(name(b"second"), Some("b"));
        for other in [&b""[..], b"first-of-the-key", b"second ", b"Second", b"a"] {
            assert_eq!(name(other), None);
        }
        assert!(Keys::default().find(b"").is_none());
        assert!(!format!("{keys:?}").contains("second"));
    }

    #[test]
    fn a_key_stays_the_same_as_long_as_its_secret_does() {
        let key = |name: &str, secret: &str, label: &str| {
            Key::new(name, &Secret::new(secret), label, 0, Duration::from_secs(1))
        };
        let then = key("a", "first", "old");
        let label = |now| Keys::new(vec![now]).now(&then).map(|key| key.label.clone());
        assert_eq!(label(key("a", "first", "new")).as_deref(), Some("new"));
        assert_eq!(label(key("a", "second", "old")), None);
        assert_eq!(label(key("b", "first", "old")), None);
    }

    #[test]
    fn both_schemes_are_read() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
        };
        assert_eq!(bearer(&headers("bearer abc")), Some(&b"abc"[..]));
        assert_eq!(bearer(&headers("Bearer   abc ")), Some(&b"abc"[..]));
        for none in ["Bearer", "Bearerabc", "Basic abc"] {
            assert_eq!(bearer(&headers(none)), None, "{none}");
        }
        // printf 'AC1:a:b' | base64
        let both = basic(&headers("Basic QUMxOmE6Yg=="));
        assert_eq!(both, Some(b"a:b".to_vec()));
        for none in ["Basic QUMx", "Basic !", "Bearer QUMxOmE6Yg=="] {
            assert_eq!(basic(&headers(none)), None, "{none}");
        }
    }
}
