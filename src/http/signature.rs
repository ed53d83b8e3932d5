//! How whoever is told or asked something sees that it comes from this server: a signature over the body.

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::header::{HeaderName, HeaderValue};
use sha2::Sha256;

/// The header that the signature stands in.
pub const SIGNATURE: HeaderName = HeaderName::from_static("x-turnwire-signature");

/// Its value: `t=` with the seconds since 1970, and `v1=` with HMAC-SHA256 in hexadecimal over that number as it stands
/// there, a full stop, and the body.
pub fn signature(secret: &[u8], unix: u64, body: &[u8]) -> HeaderValue {
    // unwrap: HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(format!("{unix}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect();
    // unwrap: digits and letters are a header's.
    HeaderValue::try_from(format!("t={unix},v1={hex}")).expect("printable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_shell_makes_of_it() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac north
        let expected =
            "t=1700000000,v1=e1f46f9ddf43499de0426610bd42c72d2fea8ad4c6b4438434fd9b1f30382ea1";
        assert_eq!(signature(b"north", 1_700_000_000, b"{}"), expected);
    }
}
