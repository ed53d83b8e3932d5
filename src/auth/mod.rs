//! Who is asking: the long-term credential mechanism of RFC 8489 §9.2 with all of its parts
//! (MD5 and SHA-256 keys, USERHASH, security features in the nonce), the ephemeral "REST"
//! credentials that web applications mint with a shared secret, and the access tokens of RFC 7635.
//!
//! Driven by two calls: [`Authority::check`] judges a request, [`Authority::challenge`] makes the
//! nonce that a refused one is answered with. Both are pure: the time, the client's address and
//! the message come in as arguments. Nothing is remembered about who has asked: a nonce is a
//! tag over the time and the client's address, so that strangers cost no memory.
//!
//! Not here: what an authenticated client may do (`turn`).

mod check;
mod claim;
mod credential;
mod credentials;
mod directory;
mod key;
mod keys;
mod nonce;
mod opaque;
mod origin;
mod realms;
mod rest;
mod secret;
mod token;

pub use check::{Authenticated, Authority, Denial, DenialKind};
pub use claim::Claim;
pub use credential::Credential;
pub use credentials::{InvalidCredential, OnExpiry, OnRevocation, Settings, User};
pub use directory::{Answer, Directory, Retention, UserName};
pub use key::{Algorithm, Key, userhash};
pub use keys::Keys;
pub use nonce::Nonce;
pub use opaque::prepare;
pub use origin::canonical_origin;
pub use realms::{InvalidRealms, ORIGINS, Reach, Realms, Way};
pub use rest::{RestDigest, can_separate, mint_password, parse_username};
pub use secret::Secret;
pub use token::{TOKEN_NONCE, Token, TokenAlgorithm, TokenKey, TokenSettings, decode_base64};
