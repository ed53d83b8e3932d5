//! An application that is told by HTTP: batches of records, signed.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::deliver::{Deliver, Delivery, Refused};
use super::settings;
use crate::auth::Secret;
use crate::http::{Client, Error, HeaderValue, Limits, Request, StatusCode, header};
use crate::tls::{NoClient, Trust};

/// Nobody has to read a long answer.
const ANSWER: usize = 16 << 10;

/// Where batches are posted to.
pub(super) struct Webhook {
    client: Client,
    secret: Secret,
}

impl Webhook {
    /// `None` when there is none.
    ///
    /// # Errors
    /// There can be no TLS with it.
    pub(super) fn new(settings: &settings::Webhook) -> Result<Option<Self>, NoClient> {
        let (Some(url), Some(secret)) = (&settings.url, &settings.secret) else {
            return Ok(None);
        };
        let trust = match &settings.authorities {
            Some(path) => Trust::Authorities(path.clone()),
            None => Trust::System,
        };
        let request = settings.timeout;
        let connect = request.min(Duration::from_secs(5));
        let limits = Limits { connect, request, answer: ANSWER, kept: 1 };
        Ok(Some(Self { client: Client::new(url.clone(), &trust, limits)?, secret: secret.clone() }))
    }

    fn request(&self, lines: &[String], unix: u64) -> Result<Request, io::Error> {
        let body = format!("{{\"v\":1,\"records\":[{}]}}", lines.join(","));
        let signature = signature(&self.secret, unix, body.as_bytes());
        let signature = HeaderValue::from_str(&signature).map_err(io::Error::other)?;
        let mut request = Request::post(body);
        let json = HeaderValue::from_static("application/json");
        request.headers.insert(header::CONTENT_TYPE, json);
        request.headers.insert(SIGNATURE, signature);
        Ok(request)
    }
}

impl Deliver for Webhook {
    fn deliver<'a>(&'a mut self, lines: &'a [String]) -> Delivery<'a> {
        Box::pin(async move {
            let refused = |why: String| Refused { why, too_large: false };
            // Anew for each try: an old one is not believed.
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let request = self.request(lines, unix).map_err(|error| refused(error.to_string()))?;
            let url = self.client.url();
            let status = match self.client.send(request).await {
                Ok(answer) => answer.status,
                // What it says beside is no matter: what was taken is not to come again.
                Err(Error::TooLong { status, .. }) => status,
                Err(error) => return Err(refused(format!("{url}: {error}"))),
            };
            if status.is_success() {
                return Ok(());
            }
            let too_large = status == StatusCode::PAYLOAD_TOO_LARGE;
            Err(Refused { why: format!("{url} answers {status}"), too_large })
        })
    }
}

/// The value of `X-Turnwire-Signature`: `t=` with the seconds since 1970, and `v1=` with HMAC-SHA256 in hexadecimal over
/// that number as it stands there, a full stop, and the body.
pub fn signature(secret: &Secret, unix: u64, body: &[u8]) -> String {
    // unwrap: HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("any key");
    mac.update(format!("{unix}.").as_bytes());
    mac.update(body);
    let sum: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix},v1={sum}")
}

const SIGNATURE: &str = "x-turnwire-signature";

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked with `printf '1700000000.{}' | openssl dgst -sha256 -hmac hush`.
    #[test]
    fn a_signature_is_what_others_make_of_it() {
        let expected =
            "t=1700000000,v1=763081ea12e3b1f903f958994c023cde07f1224b02a538ad6f959112a2f780ba";
        assert_eq!(signature(&Secret::new("hush"), 1_700_000_000, b"{}"), expected);
    }
}
