//! An access token: from a stranger, who has no key, and from an authorization server that seals
//! nonsense. Opening it never fails in the middle, and nothing opens that was not sealed.
#![no_main]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use turnwire::auth::{Key, TOKEN_NONCE, Token, TokenAlgorithm, TokenKey, decode_base64};

const KEY: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
const SERVER: &str = "turn.example.org";

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// ACCESS-TOKEN as it came.
    Stranger(&'a [u8]),
    /// The encrypted block.
    Server { nonce: [u8; TOKEN_NONCE], block: &'a [u8] },
    /// A good token with one byte changed, or none.
    Damaged { mac_key: [u8; 20], issued: u64, lifetime: u32, at: u16, bits: u8 },
}

fn key(algorithm: TokenAlgorithm) -> TokenKey {
    TokenKey::new("kid", algorithm, &KEY).expect("long enough")
}

fuzz_target!(|input: Input<'_>| {
    let long = key(TokenAlgorithm::A256Gcm);
    match input {
        Input::Stranger(value) => {
            let _ = decode_base64(value);
            assert_eq!(Token::open(value, &long, SERVER), None);
            assert_eq!(Token::open(value, &key(TokenAlgorithm::A128Gcm), SERVER), None);
        }
        Input::Server { nonce, block } => {
            let plain = Payload { msg: block, aad: SERVER.as_bytes() };
            let cipher = Aes256Gcm::new_from_slice(&KEY).expect("32 bytes");
            let sealed = cipher.encrypt(&Nonce::from(nonce), plain).expect("short enough");
            let value = [&[0, TOKEN_NONCE as u8][..], &nonce, &sealed].concat();
            let opened = Token::open(&value, &long, SERVER);
            let length = block.first_chunk().map(|two| usize::from(u16::from_be_bytes(*two)));
            let whole = length.is_some_and(|length| {
                (20..=32).contains(&length) && block.len() >= 2 + length + 12
            });
            assert_eq!(opened.is_some(), whole && value.len() <= 512);
            if let Some(token) = opened {
                assert!(token.issued < 1 << 48);
                if let Some(left) = token.remaining(token.issued, 5) {
                    assert_eq!(left, u64::from(token.lifetime) + 5);
                }
            }
        }
        Input::Damaged { mac_key, issued, lifetime, at, bits } => {
            let issued = issued >> 16;
            let sealed = Token::seal(&long, SERVER, [9; 12], &mac_key, issued, lifetime);
            let mut value = sealed.expect("48 bits of seconds");
            let at = usize::from(at) % value.len();
            value[at] ^= bits;
            let key = Key::session(&mac_key).expect("20 bytes");
            let expected = (bits == 0).then_some(Token { key, issued, lifetime });
            assert_eq!(Token::open(&value, &long, SERVER), expected);
        }
    }
});
