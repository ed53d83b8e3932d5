//! An application that is told by HTTP: batches of records, signed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::deliver::{Deliver, Delivery, Refused};
use super::settings;
use crate::auth::Secret;
use crate::http::{
    Client, Error, HeaderValue, Limits, Request, SIGNATURE, StatusCode, header, signature,
};
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

    fn request(&self, lines: &[String], unix: u64) -> Request {
        let body = format!("{{\"v\":1,\"records\":[{}]}}", lines.join(","));
        let signature = signature(self.secret.expose().as_bytes(), unix, body.as_bytes());
        let mut request = Request::post(body);
        let json = HeaderValue::from_static("application/json");
        request.headers.insert(header::CONTENT_TYPE, json);
        request.headers.insert(SIGNATURE, signature);
        request
    }
}

impl Deliver for Webhook {
    fn deliver<'a>(&'a mut self, lines: &'a [String]) -> Delivery<'a> {
        Box::pin(async move {
            let refused = |why: String| Refused { why, too_large: false };
            // Anew for each try: an old one is not believed.
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let request = self.request(lines, unix);
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
