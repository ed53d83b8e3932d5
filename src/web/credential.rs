//! Credentials that are good for a while (draft-uberti-behave-turn-rest).

use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::{RestDigest, Secret, mint_password, prepare};

/// The longest name that somebody may be given a credential by, in bytes.
const NAME_MAX: usize = 128;

/// With what credentials of one realm are minted, and where they are good.
#[derive(Clone, Debug)]
pub struct Mint {
    /// The realm.
    pub realm: String,
    /// The secret that its servers know.
    pub secret: Secret,
    /// How a password is made with it.
    pub digest: RestDigest,
    /// What stands between expiry and name.
    pub separator: char,
    /// STUN and TURN URIs (RFC 7064, RFC 7065).
    pub uris: Vec<String>,
}

/// A name that nobody can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has at most {NAME_MAX} bytes and no control characters")]
pub struct InvalidName;

/// A credential, and where it is good.
#[derive(Clone, Debug)]
pub struct Credential<'m> {
    /// `expiry:label` or `expiry:label/name`.
    pub username: String,
    /// What is proved with it.
    pub password: String,
    /// How long it lets somebody in from now on.
    pub ttl: Duration,
    /// STUN and TURN URIs.
    pub uris: &'m [String],
}

impl Mint {
    /// Mints a credential for somebody whom `label` answers for, and who has a name of his own if `name` is not empty.
    /// `unix` is the time in seconds since 1970.
    ///
    /// # Errors
    /// It is a name that nobody can have.
    pub fn credential(
        &self,
        unix: u64,
        ttl: Duration,
        label: &str,
        name: &str,
    ) -> Result<Credential<'_>, InvalidName> {
        let (expires, separator) = (unix.saturating_add(ttl.as_secs()), self.separator);
        let username = match name {
            "" => format!("{expires}{separator}{label}"),
            name => format!("{expires}{separator}{label}/{name}"),
        };
        let username =
            prepare(&username).filter(|_| name.len() <= NAME_MAX).ok_or(InvalidName)?.into_owned();
        let password = mint_password(self.digest, &self.secret, &username);
        Ok(Credential { username, password, ttl, uris: &self.uris })
    }
}

impl Credential<'_> {
    /// Whether it is a relay that a URI names; others need no credential.
    pub fn is_relay(uri: &str) -> bool {
        uri.starts_with("turn")
    }

    /// The URIs of relays.
    pub fn relays(&self) -> impl Iterator<Item = &String> {
        self.uris.iter().filter(|uri| Self::is_relay(uri))
    }

    /// The entries of `iceServers` (W3C WebRTC, `RTCIceServer`): STUN first, which needs no credential.
    pub fn ice_servers(&self) -> Value {
        let stun: Vec<_> = self.uris.iter().filter(|uri| !Self::is_relay(uri)).collect();
        let turn: Vec<_> = self.relays().collect();
        let (username, credential) = (&self.username, &self.password);
        let mut servers = Vec::new();
        if !stun.is_empty() {
            servers.push(json!({ "urls": stun }));
        }
        if !turn.is_empty() {
            servers.push(json!({ "urls": turn, "username": username, "credential": credential }));
        }
        Value::Array(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mint() -> Mint {
        let uris = ["stun:h:1", "turn:h:1?transport=udp", "turns:h:2?transport=tcp"];
        Mint {
            realm: "r".into(),
            secret: Secret::new("north"),
            digest: RestDigest::Sha1,
            separator: ':',
            uris: uris.map(str::to_owned).into(),
        }
    }

    #[test]
    fn a_credential_says_whom_it_is_for_and_until_when() {
        let mint = mint();
        let hour = Duration::from_secs(3600);
        let minted = mint.credential(1_699_996_400, hour, "alice", "").unwrap();
        // openssl dgst -sha1 -hmac north -binary | base64, over "1700000000:alice"
        assert_eq!(minted.username, "1700000000:alice");
        assert_eq!(minted.password, "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
        let named = mint.credential(1_699_996_400, hour, "app", "bob:7").unwrap();
        assert_eq!(named.username, "1700000000:app/bob:7");
        for name in ["a\nb", &"x".repeat(NAME_MAX + 1)] {
            assert_eq!(mint.credential(1, hour, "app", name).unwrap_err(), InvalidName);
        }
    }

    #[test]
    fn only_relays_get_to_know_it() {
        let mint = mint();
        let minted = mint.credential(1, Duration::from_secs(1), "app", "").unwrap();
        let servers = minted.ice_servers();
        assert_eq!(servers[0], json!({ "urls": ["stun:h:1"] }));
        assert_eq!(
            servers[1]["urls"],
            json!(["turn:h:1?transport=udp", "turns:h:2?transport=tcp"])
        );
        assert_eq!(servers[1]["username"], json!(minted.username));
        assert_eq!(servers[1]["credential"], json!(minted.password));
    }
}
