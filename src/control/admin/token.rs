//! Who may use the API over TCP.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Admin;
use super::page::Problem;
use crate::auth::Secret;

/// Tokens, as they are compared.
#[derive(Default)]
pub(super) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    pub(super) fn new(tokens: &[Secret]) -> Self {
        Self(tokens.iter().map(|token| Sha256::digest(token.expose()).into()).collect())
    }

    /// Whether it is one of them. How long that takes tells nothing about them: what is compared are digests, all of
    /// them.
    fn have(&self, token: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let equal =
            self.0.iter().fold(Choice::from(0), |found, token| found | token.ct_eq(&digest));
        equal.into()
    }
}

/// Lets a request through that carries a token (RFC 6750 §2.1).
pub(super) async fn authorize(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let settings = admin.settings.load();
    if settings.tokens.0.is_empty() {
        let detail = "over TCP this needs a token, and none is configured: set admin.tokens, or \
                      use the admin socket";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    if token.is_some_and(|token| settings.tokens.have(token)) {
        drop(settings);
        return next.run(request).await;
    }
    let detail = "this needs a token of admin.tokens, in a header \"Authorization: Bearer TOKEN\"";
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_whole_of_one() {
        let tokens = Tokens::new(&[Secret::new("first-of-the-tokens"), Secret::new("second")]);
        assert!(tokens.have(b"first-of-the-tokens") && tokens.have(b"second"));
        for other in [&b""[..], b"first-of-the-token", b"second ", b"Second"] {
            assert!(!tokens.have(other));
        }
        assert!(!Tokens::default().have(b""));
    }
}
