//! What stands in coturn's tables and keys, whatever database they are in.

use super::{Found, Proof, StoreError, key_of};
use crate::auth::Secret;

/// More secrets than anybody rotates through: each is tried on each ephemeral credential.
const MOST_SECRETS: usize = 64;

/// A user's keys. coturn's `hmackey` is MD5 in 32 digits; versions of before 2018 wrote SHA-256 in 64 as well,
/// which is the key of RFC 8489.
///
/// # Errors
/// It is neither, so that nobody can be let in by it.
pub(super) fn keys(name: &str, hmackey: &str, sha256: Option<&str>) -> Result<Found, StoreError> {
    let md5 = key_of(hmackey);
    let sha256 = match sha256 {
        Some(hex) => key_of(hex),
        None => key_of(hmackey),
    };
    if md5.is_none() && sha256.is_none() {
        let what = format!("the hmackey of {name:?} is neither 32 nor 64 hexadecimal digits");
        return Err(StoreError::Unusable(what));
    }
    Ok(Found { proof: Proof::Keys { md5, sha256 }, keep: None })
}

/// The shared secrets among these texts. An empty one would let everybody in.
pub(super) fn secrets_of<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Secret> {
    texts.filter(|text| !text.is_empty()).take(MOST_SECRETS).map(Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "7da2270ccfa49786e0115366d3a3d14d";

    fn proof(hmackey: &str, sha256: Option<&str>) -> (bool, bool) {
        match keys("gorst", hmackey, sha256).unwrap().proof {
            Proof::Keys { md5, sha256 } => (md5.is_some(), sha256.is_some()),
            Proof::Password(_) => panic!("there is no password"),
        }
    }

    #[test]
    fn keys_of_each_kind_are_read() {
        let long = "ab".repeat(32);
        assert_eq!(proof(MD5, None), (true, false));
        assert_eq!(proof(MD5, Some(&long)), (true, true));
        assert_eq!(proof(&long, None), (false, true));
        assert_eq!(proof(MD5, Some("rubbish")), (true, false));
    }

    #[test]
    fn a_row_without_a_key_is_told_by_name_and_lets_nobody_in() {
        for wrong in ["", "  ", "hero", &MD5[1..], "0x7da2270ccfa49786e0115366d3a3d14d"] {
            let error = keys("gorst", wrong, None).unwrap_err().to_string();
            assert!(error.contains("\"gorst\"") && !error.contains("7da2"), "{error}");
        }
    }

    #[test]
    fn an_empty_secret_is_none() {
        assert_eq!(secrets_of(["", "logen"].into_iter()), [Secret::new("logen")]);
    }
}
