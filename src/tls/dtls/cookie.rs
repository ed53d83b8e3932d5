//! Who has proved an address, without remembering anybody. Not here: whether a handshake is begun then.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::hello::ClientHello;
use crate::time::Mono;

/// Seconds for which one key makes cookies. A cookie is good until the next one's end, which is
/// ages for a client that only has to send it back.
const ROTATION: u64 = 30;

/// Bytes of a cookie: the number of its key, and the tag.
pub(super) const LENGTH: usize = 1 + TAG;
const TAG: usize = 16;

/// A cookie as it stands on the wire.
pub type Cookie = [u8; LENGTH];

/// Makes and judges the cookies of HelloVerifyRequests without remembering any (RFC 6347 §4.2.1):
/// an HMAC over both addresses and the client's random, with a key that is derived anew every half
/// minute. Because of the random, each handshake takes a cookie of its own, and whoever has seen one
/// cannot begin others with it in its client's name.
pub struct Cookies {
    master: [u8; 32],
}

impl Cookies {
    /// `master` must be unpredictable.
    pub const fn new(master: [u8; 32]) -> Self {
        Self { master }
    }

    /// The cookie that proves the client's address, for the handshake that it begins with this hello.
    pub fn mint(
        &self,
        now: Mono,
        client: SocketAddr,
        server: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> Cookie {
        self.make(now.as_secs() / ROTATION, client, server, hello.random)
    }

    /// Whether the client has got the hello's cookie here, not long ago, for this handshake.
    pub fn admits(
        &self,
        now: Mono,
        client: SocketAddr,
        server: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> bool {
        let Ok(cookie) = <&Cookie>::try_from(hello.cookie) else {
            return false;
        };
        let rotation = now.as_secs() / ROTATION;
        let of = match (rotation as u8).wrapping_sub(cookie[0]) {
            0 => rotation,
            1 => rotation.wrapping_sub(1),
            _ => return false,
        };
        self.make(of, client, server, hello.random).ct_eq(cookie).into()
    }

    fn make(
        &self,
        rotation: u64,
        client: SocketAddr,
        server: SocketAddr,
        random: &[u8; 32],
    ) -> Cookie {
        let key = hmac(&self.master, &[&rotation.to_be_bytes()]);
        // RFC 6347 §4.2.1: the second hello has the parameters of the first, its random among them.
        let tag = hmac(&key, &[&bytes(client), &bytes(server), random]);
        let mut cookie = [rotation as u8; LENGTH];
        cookie[1..].copy_from_slice(&tag[..TAG]);
        cookie
    }
}

/// Family, address and port.
fn bytes(address: SocketAddr) -> [u8; 19] {
    let mut bytes = [0; 19];
    match address.ip() {
        IpAddr::V4(ip) => bytes[1..5].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => {
            bytes[0] = 1;
            bytes[1..17].copy_from_slice(&ip.octets());
        }
    }
    bytes[17..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // unwrap: HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; 32] = [1; 32];

    fn hello<'a>(random: &'a [u8; 32], cookie: &'a [u8]) -> ClientHello<'a> {
        ClientHello { random, cookie, sequence: 0 }
    }

    #[test]
    fn a_cookie_is_for_one_pair_of_addresses_and_one_handshake_and_a_short_time() {
        let cookies = Cookies::new([7; 32]);
        let [one, other, server] =
            ["192.0.2.1:1000", "192.0.2.1:1001", "203.0.113.1:5349"].map(|it| it.parse().unwrap());
        let v6 = "[::c000:201]:1000".parse().unwrap();
        let at = Mono::from_secs;
        let cookie = cookies.mint(at(100), one, server, &hello(&ONE, &[]));
        let good = &hello(&ONE, &cookie);
        assert!(cookies.admits(at(100), one, server, good));
        assert!(cookies.admits(at(149), one, server, good));
        assert!(!cookies.admits(at(150), one, server, good));
        assert!(!cookies.admits(at(80), one, server, good));
        // 256 rotations later the number is the same, and the key is not.
        assert!(!cookies.admits(at(100 + 256 * ROTATION), one, server, good));
        for client in [other, v6] {
            assert!(!cookies.admits(at(100), client, server, good));
        }
        assert!(!cookies.admits(at(100), one, other, good));
        assert!(!Cookies::new([8; 32]).admits(at(100), one, server, good));
        assert!(!cookies.admits(at(100), one, server, &hello(&ONE, &cookie[..LENGTH - 1])));
        assert!(!cookies.admits(at(100), one, server, &hello(&ONE, &[])));
        for place in 0..ONE.len() {
            let mut random = ONE;
            random[place] ^= 1;
            assert!(!cookies.admits(at(100), one, server, &hello(&random, &cookie)), "{place}");
        }
        for place in 0..LENGTH {
            let mut damaged = cookie;
            damaged[place] ^= 1;
            assert!(!cookies.admits(at(100), one, server, &hello(&ONE, &damaged)), "{place}");
        }
    }

    #[test]
    fn the_first_rotation_has_none_before_it() {
        let cookies = Cookies::new([7; 32]);
        let one = "192.0.2.1:1000".parse().unwrap();
        let hello = hello(&ONE, &[0xFF; LENGTH]);
        assert!(!cookies.admits(Mono::from_secs(1), one, one, &hello));
    }
}
