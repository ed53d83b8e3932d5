//! Self-contained access tokens of third-party authorization (RFC 7635 §6.2): an authorization
//! server seals a session key into them, and this server opens them with the key both share.

use std::fmt;
use std::time::Duration;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::Key;

/// Length of the nonce in a token: what RFC 5116 §5.1 and §5.2 say for both algorithms.
pub const TOKEN_NONCE: usize = 12;
/// Length of what the algorithms append to prove that nothing was changed.
const TAG: usize = 16;
/// The longest token looked at, in bytes. One that is sealed here has 64 or 76.
const LONGEST: usize = 512;

/// How tokens are sealed (RFC 7635 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// AEAD_AES_256_GCM, which every implementation has.
    A256Gcm,
    /// AEAD_AES_128_GCM.
    A128Gcm,
}

impl TokenAlgorithm {
    /// Length of its keys, in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Self::A256Gcm => 32,
            Self::A128Gcm => 16,
        }
    }
}

/// Which tokens are taken; without keys, none.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The name that THIRD-PARTY-AUTHORIZATION tells and that tokens are sealed for; the realm when
    /// there is none.
    pub server_name: Option<String>,
    /// Keys, each with a `kid` of its own.
    pub keys: Vec<TokenKey>,
    /// By how much the authorization server's clock may differ (RFC 7635 §7: Delta).
    pub clock_skew: Duration,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self { server_name: None, keys: Vec::new(), clock_skew: Duration::from_secs(5) }
    }
}

/// A key shared with an authorization server.
#[derive(Clone)]
pub struct TokenKey {
    /// Its name, which clients send as USERNAME.
    pub kid: String,
    algorithm: TokenAlgorithm,
    bytes: Zeroizing<Vec<u8>>,
    /// From when on it is used, in seconds since 1970.
    pub valid_from: Option<u64>,
    /// Until when it is used.
    pub valid_until: Option<u64>,
}

impl TokenKey {
    /// A key that is always valid. Of a longer one, as authorization servers have them for both
    /// algorithms at once, the first bytes are used (RFC 7635, appendix A). `None` for a shorter one.
    pub fn new(kid: impl Into<String>, algorithm: TokenAlgorithm, bytes: &[u8]) -> Option<Self> {
        let bytes = Zeroizing::new(bytes.get(..algorithm.key_length())?.to_vec());
        Some(Self { kid: kid.into(), algorithm, bytes, valid_from: None, valid_until: None })
    }

    /// Whether it is used at this time.
    pub fn is_valid(&self, unix: u64) -> bool {
        self.valid_from.is_none_or(|from| from <= unix)
            && self.valid_until.is_none_or(|until| unix < until)
    }

    fn decrypt(&self, nonce: &[u8; TOKEN_NONCE], sealed: Payload<'_, '_>) -> Option<Vec<u8>> {
        let nonce = Nonce::from(*nonce);
        // unwrap: `new` has made the length right.
        let bytes = &self.bytes;
        let opened = match self.algorithm {
            TokenAlgorithm::A256Gcm => {
                Aes256Gcm::new_from_slice(bytes).expect("32 bytes").decrypt(&nonce, sealed)
            }
            TokenAlgorithm::A128Gcm => {
                Aes128Gcm::new_from_slice(bytes).expect("16 bytes").decrypt(&nonce, sealed)
            }
        };
        opened.ok()
    }

    fn encrypt(&self, nonce: &[u8; TOKEN_NONCE], plain: Payload<'_, '_>) -> Option<Vec<u8>> {
        let nonce = Nonce::from(*nonce);
        // unwrap: `new` has made the length right.
        let bytes = &self.bytes;
        let sealed = match self.algorithm {
            TokenAlgorithm::A256Gcm => {
                Aes256Gcm::new_from_slice(bytes).expect("32 bytes").encrypt(&nonce, plain)
            }
            TokenAlgorithm::A128Gcm => {
                Aes128Gcm::new_from_slice(bytes).expect("16 bytes").encrypt(&nonce, plain)
            }
        };
        sealed.ok()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kid, algorithm, valid_from, valid_until, .. } = self;
        write!(f, "TokenKey({kid:?}, {algorithm:?}, {valid_from:?}, {valid_until:?}, [redacted])")
    }
}

/// What is sealed in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The session key, `mac_key`.
    pub key: Key,
    /// When it was issued, in seconds since 1970.
    pub issued: u64,
    /// How long it is good, in seconds.
    pub lifetime: u32,
}

impl Token {
    /// Opens a token for the server of this name: the value of ACCESS-TOKEN, or its base64, which
    /// RFC 7635 §6.2 lets an authorization server hand out and a client send as it is.
    ///
    /// `None` if the key did not seal it for this server, or if there is no usable session key in it.
    pub fn open(value: &[u8], key: &TokenKey, server_name: &str) -> Option<Self> {
        if value.len() > LONGEST {
            return None;
        }
        let decoded;
        let value = match value {
            // The high byte of the nonce's length.
            [0, ..] => value,
            text => {
                decoded = decode_base64(text)?;
                &decoded
            }
        };
        let [0, length, rest @ ..] = value else {
            return None;
        };
        if usize::from(*length) != TOKEN_NONCE {
            return None;
        }
        let (nonce, sealed) = rest.split_first_chunk()?;
        if sealed.len() < TAG {
            return None;
        }
        let sealed = Payload { msg: sealed, aad: server_name.as_bytes() };
        Self::read(&Zeroizing::new(key.decrypt(nonce, sealed)?))
    }

    /// The encrypted block of RFC 7635 §6.2, figure 4. What an issuer appends to it is ignored.
    fn read(block: &[u8]) -> Option<Self> {
        let (length, rest) = block.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        let (lifetime, _) = rest.split_first_chunk()?;
        Some(Self {
            key: Key::session(key)?,
            // The first 48 bits are whole seconds.
            issued: u64::from_be_bytes(*timestamp) >> 16,
            lifetime: u32::from_be_bytes(*lifetime),
        })
    }

    /// Seals a token as an authorization server does. `nonce` must never be used twice with a key.
    /// `None` for a time beyond 48 bits or a session key that [`Key::session`] refuses.
    pub fn seal(
        key: &TokenKey,
        server_name: &str,
        nonce: [u8; TOKEN_NONCE],
        mac_key: &[u8],
        issued: u64,
        lifetime: u32,
    ) -> Option<Vec<u8>> {
        Key::session(mac_key)?;
        let timestamp = issued.checked_mul(1 << 16)?;
        let mut block = Zeroizing::new(Vec::new());
        block.extend((mac_key.len() as u16).to_be_bytes());
        block.extend(mac_key);
        block.extend(timestamp.to_be_bytes());
        block.extend(lifetime.to_be_bytes());
        let plain = Payload { msg: &block, aad: server_name.as_bytes() };
        let mut token = vec![0, TOKEN_NONCE as u8];
        token.extend(nonce);
        token.extend(key.encrypt(&nonce, plain)?);
        Some(token)
    }

    /// A name for whoever holds it, the same for each of its requests: the kid and a few digits of a
    /// hash of the session key.
    pub(super) fn owner(&self, kid: &str) -> String {
        format!("{kid}/{:08x}", self.key.fingerprint())
    }

    /// How many seconds it is still good with clocks that differ by up to `skew`; `None` when it is
    /// not (RFC 7635 §7, §9: lifetime + Delta - abs(now - issued)).
    pub fn remaining(&self, unix: u64, skew: u64) -> Option<u64> {
        let allowed = u64::from(self.lifetime).saturating_add(skew);
        allowed.checked_sub(unix.abs_diff(self.issued)).filter(|left| *left > 0)
    }
}

/// Base64 with or without padding, of both alphabets: keys come as either.
pub fn decode_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim_ascii();
    let bare = match text {
        [bare @ .., b'=', b'='] | [bare @ .., b'='] => bare,
        bare => bare,
    };
    let usual = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(bare));
    usual.or_else(|_| STANDARD_NO_PAD.decode(bare)).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::Digest;

    /// RFC 7635, appendix A
    const SERVER: &str = "blackdow.carleon.gov";
    const LONG_TERM: &[u8; 32] = b"HGkj32KJGiuy098sdfaqbNjOiaz71923";
    const MAC_KEY: &[u8; 20] = b"ZksjpweoixXmvn67534m";
    const NONCE: &[u8; 12] = b"h4j3k2l2n4b5";
    const TIMESTAMP: u64 = 92_470_300_704_768;
    const SEALED: [(TokenAlgorithm, &str); 2] = [
        (
            TokenAlgorithm::A256Gcm,
            "000c68346a336b326c326e346235617ef134a3d5e44e9a19cc7dc104b0c03d03b2a551d8fdf5cd3b6dca6f10\
             cfb77e5b2ddec84d293a5c50499359f0c2e26f76",
        ),
        (
            TokenAlgorithm::A128Gcm,
            "000c68346a336b326c326e3462357fb9e99f0827be3df1e1bd651493d3031d36df57079784aee5eacb65fad4\
             f27fab1a3f97974b69f851b24bf5af09eda357e0",
        ),
    ];

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> =
            text.bytes().map(|c| (c as char).to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn the_rfcs_sample_tickets_are_opened_and_sealed_alike() {
        for (algorithm, sample) in SEALED {
            let key = TokenKey::new("x", algorithm, LONG_TERM).unwrap();
            let sample = hex(sample);
            let token = Token::open(&sample, &key, SERVER).unwrap();
            let expected = Token {
                key: Key::session(MAC_KEY).unwrap(),
                issued: TIMESTAMP >> 16,
                lifetime: 3600,
            };
            assert_eq!(token, expected);
            let sealed = Token::seal(&key, SERVER, *NONCE, MAC_KEY, TIMESTAMP >> 16, 3600);
            assert_eq!(sealed.unwrap(), sample);
            let text = STANDARD.encode(&sample);
            assert_eq!(Token::open(text.as_bytes(), &key, SERVER), Some(expected));
        }
    }

    #[test]
    fn nothing_else_opens() {
        let key = TokenKey::new("x", TokenAlgorithm::A256Gcm, LONG_TERM).unwrap();
        let sample = hex(SEALED[0].1);
        // RFC 7635 §6.2: the server's name is under the seal.
        assert_eq!(Token::open(&sample, &key, "other.example.org"), None);
        let other = TokenKey::new("x", TokenAlgorithm::A128Gcm, LONG_TERM).unwrap();
        assert_eq!(Token::open(&sample, &other, SERVER), None);
        for at in 0..sample.len() {
            let mut damaged = sample.clone();
            damaged[at] ^= 1;
            assert_eq!(Token::open(&damaged, &key, SERVER), None, "{at}");
            assert_eq!(Token::open(&sample[..at], &key, SERVER), None, "{at}");
        }
        assert_eq!(Token::open(&[&sample[..], &[0]].concat(), &key, SERVER), None);
        assert_eq!(Token::open(&[0; 70_000], &key, SERVER), None);
    }

    #[test]
    fn it_is_good_for_its_lifetime_and_the_skew_of_the_clocks() {
        // RFC 7635 §7
        let key = Key::session(MAC_KEY).unwrap();
        let token = Token { key, issued: 1000, lifetime: 60 };
        assert_eq!(token.remaining(1000, 5), Some(65));
        assert_eq!(token.remaining(1064, 5), Some(1));
        assert_eq!(token.remaining(1065, 5), None);
        assert_eq!(token.remaining(936, 5), Some(1));
        assert_eq!(token.remaining(935, 5), None);
        assert_eq!(Token { lifetime: 0, ..token }.remaining(1000, 0), None);
    }

    #[test]
    fn a_key_of_256_bits_makes_one_of_160_for_the_older_digest() {
        // RFC 7635, appendix B
        use sha1::{Digest as _, Sha1};
        let long = Key::session(&[7; 32]).unwrap();
        let short = Key::session(&Sha1::digest([7; 32])).unwrap();
        let mut tags = [[0; 32]; 2];
        for (key, tag) in [long, short].into_iter().zip(&mut tags) {
            let mut buffer = [0; 64];
            let id = crate::stun::TransactionId::new([1; 12]);
            let kind = crate::stun::Kind::request(crate::stun::Method::ALLOCATE);
            let mut writer = crate::stun::Writer::new(&mut buffer, kind, &id);
            writer.integrity(key.mac(Digest::Sha1));
            let length = writer.finish().unwrap();
            tag[..20].copy_from_slice(&buffer[length - 20..length]);
        }
        assert_eq!(tags[0], tags[1]);
        assert_eq!(Key::session(&[7; 16]), None);
        assert_eq!(Key::session(&[7; 33]), None);
    }

    #[test]
    fn keys_are_read_in_every_dress_of_base64_and_never_shown() {
        for text in ["+/+/AAE=", "-_-_AAE=", "-_-_AAE", "+/+/AAE", " +/+/AAE=\n"] {
            let bytes = decode_base64(text.as_bytes()).unwrap();
            assert_eq!(bytes[..], [0xFB, 0xFF, 0xBF, 0x00, 0x01], "{text}");
        }
        assert!(decode_base64(b"not base64!").is_none());
        let key = TokenKey::new("north", TokenAlgorithm::A128Gcm, LONG_TERM).unwrap();
        assert!(format!("{key:?}").starts_with("TokenKey(\"north\", A128Gcm"), "{key:?}");
        assert!(TokenKey::new("x", TokenAlgorithm::A256Gcm, &LONG_TERM[..31]).is_none());
    }
}
