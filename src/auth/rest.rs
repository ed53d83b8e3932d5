use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

use super::Secret;

/// The digest with which an ephemeral password is minted from the shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestDigest {
    /// What every application does today (draft-uberti-behave-turn-rest).
    Sha1,
    /// The same with HMAC-SHA256.
    Sha256,
}

/// The password of an ephemeral credential: base64(HMAC(secret, username)).
pub fn mint_password(digest: RestDigest, secret: &Secret, username: &str) -> String {
    let key = secret.expose().as_bytes();
    // unwrap: HMAC takes a key of any length.
    match digest {
        RestDigest::Sha1 => {
            let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length");
            mac.update(username.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        }
        RestDigest::Sha256 => {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
            mac.update(username.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        }
    }
}

/// Whether this may stand between expiry and user in an ephemeral username.
pub fn can_separate(separator: char) -> bool {
    !separator.is_ascii_digit() && !separator.is_control()
}

/// Splits an ephemeral username into its expiry (seconds since 1970) and its user.
///
/// `expiry:user`, `expiry` alone (the user is then empty) and, as coturn reads it, `user:expiry`.
/// `None` when there is no number in it: not an ephemeral username.
pub fn parse_username(username: &str, separator: char) -> Option<(u64, &str)> {
    match username.split_once(separator) {
        None => Some((digits(username)?, "")),
        Some((left, right)) => match digits(left) {
            Some(expiry) => Some((expiry, right)),
            None => username
                .rsplit_once(separator)
                .and_then(|(user, expiry)| Some((digits(expiry)?, user))),
        },
    }
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_of_all_three_shapes_are_read() {
        assert_eq!(parse_username("1700000000:alice", ':'), Some((1_700_000_000, "alice")));
        assert_eq!(parse_username("1700000000", ':'), Some((1_700_000_000, "")));
        assert_eq!(parse_username("alice:1700000000", ':'), Some((1_700_000_000, "alice")));
        assert_eq!(parse_username("1700:a:b", ':'), Some((1700, "a:b")));
        assert_eq!(parse_username("1700|alice", '|'), Some((1700, "alice")));
        for not_one in ["alice", "alice:bob", "", ":", "99999999999999999999999:x", "+5:x"] {
            assert_eq!(parse_username(not_one, ':'), None, "{not_one}");
        }
    }

    #[test]
    fn passwords_are_those_of_a_known_implementation() {
        // openssl dgst -sha1 -hmac north -binary | base64, over "1700000000:alice"
        let secret = Secret::new("north");
        let sha1 = mint_password(RestDigest::Sha1, &secret, "1700000000:alice");
        assert_eq!(sha1, "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
        let sha256 = mint_password(RestDigest::Sha256, &secret, "1700000000:alice");
        assert_eq!(sha256, "EuME0Xh0HllnbpbObfs8aBsd78Vr1EMwxArqbyCrGl8=");
    }
}
