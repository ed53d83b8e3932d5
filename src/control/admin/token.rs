//! Who may use the API over TCP.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Admin;
use crate::auth::Secret;
use crate::web::Problem;

/// Tokens, as they are compared.
#[derive(Default)]
pub(super) struct Tokens(Vec<Digest256>);

type Digest256 = [u8; 32];

/// What a request was let through with. Whoever is answered for longer asks again whether that is good still.
#[derive(Clone, Copy)]
pub(super) struct Pass(Digest256);

impl Tokens {
    pub(super) fn new(tokens: &[Secret]) -> Self {
        Self(tokens.iter().map(|token| Sha256::digest(token.expose()).into()).collect())
    }

    /// What this token lets through with, if it is one of them.
    fn pass(&self, token: &[u8]) -> Option<Pass> {
        let pass = Pass(Sha256::digest(token).into());
        self.have(&pass).then_some(pass)
    }

    /// Whether its token is one of them. How long that takes tells nothing about them: what is compared are digests,
    /// all of them.
    pub(super) fn have(&self, pass: &Pass) -> bool {
        let equal =
            self.0.iter().fold(Choice::from(0), |found, token| found | token.ct_eq(&pass.0));
        equal.into()
    }
}

/// Lets a request through that carries a token (RFC 6750 §2.1).
pub(super) async fn authorize(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
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
    if let Some(pass) = token.and_then(|token| settings.tokens.pass(token)) {
        drop(settings);
        request.extensions_mut().insert(pass);
        return next.run(request).await;
    }
    let detail = "this needs a token of admin.tokens, in a header \"Authorization: Bearer TOKEN\"";
    Problem::unauthorized("Bearer", detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_whole_of_one() {
        let tokens = Tokens::new(&[Secret::new("first-of-the-tokens"), Secret::new("second")]);
        let have = |token: &[u8]| tokens.pass(token).is_some();
        assert!(have(b"first-of-the-tokens") && have(b"second"));
        for other in [&b""[..], b"first-of-the-token", b"second ", b"Second"] {
            assert!(!have(other));
        }
        assert!(Tokens::default().pass(b"").is_none());
    }
}
