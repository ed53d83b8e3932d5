use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;

use crate::time::Mono;

/// RFC 8489 §9.2: a nonce with this prefix carries the STUN Security Features in the next four
/// characters.
const COOKIE: &[u8; 9] = b"obMatJos2";
/// Bit 0, the leftmost of 24: "Password algorithms" (RFC 8489 §18.1).
const PASSWORD_ALGORITHMS: u8 = 0x80;
/// Bit 1: "Username anonymity".
const USERNAME_ANONYMITY: u8 = 0x40;
/// Length of every nonce, in bytes.
const NONCE_LENGTH: usize = 9 + 4 + 16;

/// A nonce as it stands on the wire.
pub type Nonce = [u8; NONCE_LENGTH];

/// What a nonce that came back is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Made here for this address, and recent.
    Fresh,
    /// The same, without the offer of SHA-256 that others get.
    FreshForMd5,
    /// Made here for this address, too long ago or for a realm that offers something else.
    Stale,
    /// Not made here, or for another address, or altered.
    Foreign,
}

impl Worth {
    /// Whether it proves the address now.
    pub(super) const fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh | Self::FreshForMd5)
    }
}

/// Makes and judges nonces without remembering any.
///
/// A nonce is the cookie, the features, the second it was made in and a tag of 64 bits over these
/// and the client's address and port. The features are under the tag, so that one who strips them
/// on the way (bid-down, RFC 8489 §9.2.1) spoils the nonce.
///
/// The tag is SipHash-2-4, which is made for this (TCP's SYN cookies are tagged so as well): each
/// request is asked for it, and HMAC-SHA256 takes several times as long for a tag that is as short.
pub(super) struct Nonces {
    keyed: SipHasher24,
    features: [u8; 4],
    /// The same without [`PASSWORD_ALGORITHMS`].
    for_md5: [u8; 4],
    lifetime: Duration,
}

impl Nonces {
    pub(super) fn new(
        master: &[u8; 16],
        algorithms: bool,
        anonymity: bool,
        lifetime: Duration,
    ) -> Self {
        let offer = if algorithms { PASSWORD_ALGORITHMS } else { 0 };
        let hide = if anonymity { USERNAME_ANONYMITY } else { 0 };
        // The alphabets of base64 differ in the last two characters only, which do not occur here.
        let (features, for_md5) = (text([offer | hide, 0, 0]), text([hide, 0, 0]));
        let keyed = SipHasher24::new_with_key(master);
        Self { keyed, features, for_md5, lifetime }
    }

    pub(super) fn make(&self, client: SocketAddr, now: Mono) -> Nonce {
        self.with(self.features, client, now)
    }

    /// One that offers no other password algorithm than MD5.
    pub(super) fn make_for_md5(&self, client: SocketAddr, now: Mono) -> Nonce {
        self.with(self.for_md5, client, now)
    }

    fn with(&self, features: [u8; 4], client: SocketAddr, now: Mono) -> Nonce {
        let seconds = now.as_secs() as u32;
        let mut payload = [0; 12];
        payload[..4].copy_from_slice(&seconds.to_be_bytes());
        payload[4..].copy_from_slice(&self.tag(features, seconds, client));
        let mut nonce = [0; NONCE_LENGTH];
        nonce[..9].copy_from_slice(COOKIE);
        nonce[9..13].copy_from_slice(&features);
        for (text_of, bytes) in nonce[13..].as_chunks_mut().0.iter_mut().zip(payload.as_chunks().0)
        {
            *text_of = text(*bytes);
        }
        nonce
    }

    pub(super) fn judge(&self, nonce: &[u8], client: SocketAddr, now: Mono) -> Worth {
        let Ok(nonce) = <&Nonce>::try_from(nonce) else {
            return Worth::Foreign;
        };
        let mut payload = [0; 12];
        for (bytes_of, text) in payload.as_chunks_mut().0.iter_mut().zip(nonce[13..].as_chunks().0)
        {
            let Some(bytes) = bytes(*text) else {
                return Worth::Foreign;
            };
            *bytes_of = bytes;
        }
        if &nonce[..9] != COOKIE {
            return Worth::Foreign;
        }
        let features = [nonce[9], nonce[10], nonce[11], nonce[12]];
        let [s1, s2, s3, s4, tag @ ..] = payload;
        let seconds = u32::from_be_bytes([s1, s2, s3, s4]);
        if !bool::from(self.tag(features, seconds, client).ct_eq(&tag)) {
            return Worth::Foreign;
        }
        let age = (now.as_secs() as u32).checked_sub(seconds);
        match age {
            // Of a realm that offers something else: with it, this one's offer could be bid down.
            _ if features != self.features && features != self.for_md5 => Worth::Stale,
            Some(age) if u64::from(age) < self.lifetime.as_secs() => {
                let less = features != self.features;
                if less { Worth::FreshForMd5 } else { Worth::Fresh }
            }
            _ => Worth::Stale,
        }
    }

    fn tag(&self, features: [u8; 4], seconds: u32, client: SocketAddr) -> [u8; 8] {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut message = [0; 4 + 4 + 16 + 2];
        message[..4].copy_from_slice(&features);
        message[4..8].copy_from_slice(&seconds.to_be_bytes());
        message[8..24].copy_from_slice(&ip.octets());
        message[24..].copy_from_slice(&client.port().to_be_bytes());
        self.keyed.hash(&message).to_be_bytes()
    }
}

/// Whether the nonce says that the server offers PASSWORD-ALGORITHMS (RFC 8489 §9.2.4).
pub(super) fn offers_algorithms(nonce: &[u8]) -> bool {
    let features = nonce.strip_prefix(COOKIE).and_then(|rest| rest.first_chunk());
    features.and_then(|text| bytes(*text)).is_some_and(|bits| bits[0] & PASSWORD_ALGORITHMS != 0)
}

/// Three bytes as four characters of base64 (RFC 4648 §5).
fn text([a, b, c]: [u8; 3]) -> [u8; 4] {
    let at = |sextet: u8| ALPHABET[usize::from(sextet & 0x3F)];
    [at(a >> 2), at(a << 4 | b >> 4), at(b << 2 | c >> 6), at(c)]
}

/// The inverse of [`text`].
fn bytes(text: [u8; 4]) -> Option<[u8; 3]> {
    let [a, b, c, d] = text.map(|letter| SEXTETS[usize::from(letter)]);
    // Only what is no letter has a value beyond six bits.
    ((a | b | c | d) < 64).then_some([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d])
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The place of each byte in [`ALPHABET`], and 64 for all others.
const SEXTETS: [u8; 256] = {
    let mut sextets = [64; 256];
    let mut place = 0;
    while place < ALPHABET.len() {
        sextets[ALPHABET[place] as usize] = place as u8;
        place += 1;
    }
    sextets
};

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces() -> Nonces {
        Nonces::new(&[1; 16], true, false, Duration::from_secs(600))
    }

    fn client() -> SocketAddr {
        "192.0.2.1:1234".parse().unwrap()
    }

    #[test]
    fn a_nonce_is_good_for_its_address_and_time_only() {
        let (nonces, start) = (nonces(), Mono::from_secs(3599));
        let nonce = nonces.make(client(), start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(nonces.judge(&nonce, client(), at(0)), Worth::Fresh);
        assert_eq!(nonces.judge(&nonce, client(), at(599)), Worth::Fresh);
        assert_eq!(nonces.judge(&nonce, client(), at(600)), Worth::Stale);
        let other = "192.0.2.1:1235".parse().unwrap();
        assert_eq!(nonces.judge(&nonce, other, at(0)), Worth::Foreign);
        assert_eq!(nonces.judge(b"", client(), at(0)), Worth::Foreign);
    }

    #[test]
    fn one_that_offers_less_than_others_get_says_so() {
        let (nonces, start) = (nonces(), Mono::from_secs(3599));
        let nonce = nonces.make_for_md5(client(), start);
        assert!(!offers_algorithms(&nonce));
        assert_eq!(nonces.judge(&nonce, client(), start), Worth::FreshForMd5);
        assert_eq!(nonces.judge(&nonce, client(), start + Duration::from_secs(600)), Worth::Stale);
        let plain = Nonces::new(&[1; 16], false, false, Duration::from_secs(600));
        assert_eq!(plain.judge(&nonce, client(), start), Worth::Fresh);
    }

    #[test]
    fn three_bytes_are_four_characters_and_nothing_else_is_read_as_such() {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        for seed in 0..=u8::MAX {
            let three = [seed, seed.wrapping_mul(7).wrapping_add(3), seed ^ 0xA5];
            assert_eq!(text(three), *URL_SAFE_NO_PAD.encode(three).as_bytes());
            assert_eq!(bytes(text(three)), Some(three));
            let read = URL_SAFE_NO_PAD.decode([b'A', seed, b'_', b'-']).ok();
            assert_eq!(bytes([b'A', seed, b'_', b'-']).map(Vec::from), read);
        }
    }

    #[test]
    fn a_nonce_with_another_character_is_another_nonce() {
        let (nonces, now) = (nonces(), Mono::from_secs(77));
        let nonce = nonces.make(client(), now);
        for place in 0..NONCE_LENGTH {
            for other in (0..=u8::MAX).filter(|other| *other != nonce[place]) {
                let mut altered = nonce;
                altered[place] = other;
                assert_eq!(nonces.judge(&altered, client(), now), Worth::Foreign);
            }
        }
    }

    #[test]
    fn one_of_a_realm_that_offers_less_is_not_fresh_in_this_one() {
        // RFC 8489 §9.2.1
        for (anonymity, worth) in [(false, Worth::FreshForMd5), (true, Worth::Stale)] {
            let weaker = Nonces::new(&[1; 16], false, anonymity, Duration::from_secs(600));
            let nonce = weaker.make(client(), Mono::default());
            assert_eq!(weaker.judge(&nonce, client(), Mono::default()), Worth::Fresh);
            assert_eq!(nonces().judge(&nonce, client(), Mono::default()), worth);
        }
    }

    #[test]
    fn stripped_features_spoil_it() {
        // RFC 8489 §9.2.1
        let nonces = nonces();
        let mut nonce = nonces.make(client(), Mono::default());
        assert!(offers_algorithms(&nonce));
        nonce[9..13].copy_from_slice(b"AAAA");
        assert!(!offers_algorithms(&nonce));
        assert_eq!(nonces.judge(&nonce, client(), Mono::default()), Worth::Foreign);
    }
}
