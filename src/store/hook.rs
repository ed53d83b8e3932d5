//! An application that is asked over HTTP: `POST` with who is looked for, as JSON.
//!
//! ```text
//! POST /turn HTTP/1.1                        200 {"password": "wonder", "ttl": 300}
//! {"realm": "example.org",                   200 {"key_md5": "…", "key_sha256": "…"}
//!  "username": "alice",                      404 no such user
//!  "client": "192.0.2.1"}                    anything else: it cannot say
//!
//! POST /turn                                 200 {"secrets": ["north"]}
//! {"realm": "example.org"}                   404 none
//! ```
//!
//! It is let to know that it is asked by this server by a bearer token, by a signature over the body, or both. Whatever
//! it says that is not understood lets nobody in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Found, Proof, Question, Reply, Settings, Store, StoreError, key_of};
use crate::auth::Secret;
use crate::http::{
    Answer, Client, Error, HeaderMap, HeaderValue, Limits, Request, SIGNATURE, StatusCode, Url,
    header, signature,
};
use crate::tls::Trust;

/// The longest answer in bytes.
const LONGEST: usize = 16 << 10;
/// The most secrets of one realm: each is tried on each ephemeral credential.
const SECRETS: usize = 64;
/// The longest time for which an application may say that its answer is good, in seconds.
const DAY: u64 = 86400;

/// An application that knows the users.
pub(super) struct Hook {
    client: Client,
    headers: HeaderMap,
    signature: Option<Secret>,
}

impl Hook {
    /// # Errors
    /// There is no usable URL, or no TLS with it.
    pub(super) fn open(settings: &Settings) -> Result<Self, StoreError> {
        let unusable = |what: String| StoreError::Unusable(what);
        let url = settings.url.as_ref().ok_or_else(|| unusable("no url is given".to_owned()))?;
        let url = Url::parse(url.expose())
            .map_err(|error| unusable(format!("has a url that cannot be used: {error}")))?;
        let trust = settings.ca.clone().map_or(Trust::System, Trust::Authorities);
        let limits = Limits {
            connect: settings.timeout,
            request: settings.timeout,
            answer: LONGEST,
            kept: settings.connections as usize,
        };
        let client = Client::new(url, &trust, limits)
            .map_err(|error| unusable(format!("cannot be reached with TLS: {error}")))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = &settings.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value =
                value.map_err(|_| unusable("has a token that no header can have".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Self { client, headers, signature: settings.signature_secret.clone() })
    }

    /// Asks; `None` is a no.
    async fn ask(&self, body: Value) -> Result<Option<Value>, StoreError> {
        let body = body.to_string();
        let mut headers = self.headers.clone();
        if let Some(secret) = &self.signature {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
            let value = signature(secret.expose().as_bytes(), now, body.as_bytes());
            headers.insert(SIGNATURE, value);
        }
        let answer = self.client.send(Request { headers, ..Request::post(body) }).await;
        let Answer { status, body, .. } = answer.map_err(failed)?;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            // What stands before the application says so of everybody: nobody's call is to end of it.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let told = format!("it answers {}: see token", status.as_u16());
                return Err(StoreError::Denied(told));
            }
            other => return Err(StoreError::Unusable(format!("answers {}", other.as_u16()))),
        }
        let value: Value = serde_json::from_slice(&body)
            .map_err(|_| StoreError::Unusable("answers with something that is no JSON".into()))?;
        if !value.is_object() {
            return Err(StoreError::Unusable("answers with no JSON object".to_owned()));
        }
        Ok(Some(value))
    }
}

impl Store for Hook {
    fn look_up<'a>(&'a self, question: &'a Question) -> Reply<'a, Option<Found>> {
        Box::pin(async move {
            let Question { realm, username, client } = question;
            let client = client.map(|client| client.ip().to_canonical().to_string());
            let body = json!({ "realm": realm, "username": username, "client": client });
            self.ask(body).await?.as_ref().map(found).transpose()
        })
    }

    fn secrets<'a>(&'a self, realm: &'a str) -> Reply<'a, Vec<Secret>> {
        Box::pin(async move {
            let Some(answer) = self.ask(json!({ "realm": realm })).await? else {
                return Ok(Vec::new());
            };
            let wrong = || StoreError::Unusable("answers with no list of secrets".to_owned());
            let secrets = answer.get("secrets").and_then(Value::as_array).ok_or_else(wrong)?;
            let secret = |secret: &Value| {
                let text = secret.as_str().filter(|text| !text.is_empty());
                text.map(Secret::new).ok_or_else(wrong)
            };
            secrets.iter().take(SECRETS).map(secret).collect()
        })
    }
}

/// What an answer says of a user.
fn found(answer: &Value) -> Result<Found, StoreError> {
    let unusable = |what: &str| StoreError::Unusable(format!("answers with {what}"));
    let password = match answer.get("password") {
        None | Some(Value::Null) => None,
        Some(Value::String(password)) if !password.is_empty() => Some(password),
        Some(_) => return Err(unusable("a password that is none")),
    };
    let (md5, sha256) = (key(answer, "key_md5")?, key(answer, "key_sha256")?);
    let proof = match password {
        Some(password) => Proof::Password(Secret::new(password.as_str())),
        None if md5.is_none() && sha256.is_none() => {
            return Err(unusable("neither password nor key_md5 nor key_sha256"));
        }
        None => Proof::Keys { md5, sha256 },
    };
    let keep = match answer.get("ttl") {
        None | Some(Value::Null) => None,
        Some(ttl) => {
            let seconds = ttl.as_u64().ok_or_else(|| unusable("a ttl that is no number"))?;
            Some(Duration::from_secs(seconds.min(DAY)))
        }
    };
    Ok(Found { proof, keep })
}

fn key<const LENGTH: usize>(
    answer: &Value,
    name: &str,
) -> Result<Option<zeroize::Zeroizing<[u8; LENGTH]>>, StoreError> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let key = value.as_str().and_then(key_of);
            let wrong = || {
                let digits = 2 * LENGTH;
                let what = format!("answers with a {name} that is not {digits} hexadecimal digits");
                StoreError::Unusable(what)
            };
            key.map(Some).ok_or_else(wrong)
        }
    }
}

fn failed(error: Error) -> StoreError {
    match error {
        Error::Timeout(_) | Error::ConnectTimeout(..) => StoreError::TimedOut,
        Error::TooLong { .. } | Error::NotHttp(_) => StoreError::Unusable(error.to_string()),
        error => StoreError::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood_or_let_nobody_in() {
        let (md5, sha256) = ("ab".repeat(16), "cd".repeat(32));
        let password = found(&json!({ "password": "x", "ttl": 60, "more": [] })).unwrap();
        assert_eq!(password.keep, Some(Duration::from_secs(60)));
        assert_eq!(password.proof, Proof::Password(Secret::new("x")));
        let keys = found(&json!({ "key_md5": md5, "key_sha256": sha256 })).unwrap();
        assert!(matches!(keys.proof, Proof::Keys { md5: Some(_), sha256: Some(_) }));
        assert!(found(&json!({ "key_md5": md5, "key_sha256": null })).is_ok());
        for wrong in [
            json!({}),
            json!({ "password": "" }),
            json!({ "password": 7 }),
            json!({ "password": null }),
            json!({ "key_md5": "12" }),
            json!({ "key_md5": md5, "key_sha256": md5 }),
            json!({ "password": "x", "ttl": "soon" }),
            json!({ "password": "x", "ttl": -1 }),
        ] {
            assert!(matches!(found(&wrong), Err(StoreError::Unusable(_))), "{wrong}");
        }
    }
}
