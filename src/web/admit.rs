//! Who may have a credential, and how often.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::{Client, Credential, Key, Problem, Refused, Settings, Shape, Web};

/// As many requests as one with a wrong key counts for: guessing is slow.
const WRONG: u32 = 10;

/// What a request has to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presented<'r> {
    /// What is to be a key's secret.
    pub(super) secret: Option<&'r [u8]>,
    /// What the request calls the key by, if it does.
    pub(super) name: Option<&'r str>,
    /// How it would have to come: the scheme of HTTP, and in words.
    pub(super) challenge: (&'static str, &'static str),
}

impl<'r> Presented<'r> {
    const BEARER: (&'static str, &'static str) =
        ("Bearer", "an API key of web.keys, in a header \"Authorization: Bearer KEY\"");
    pub(super) const BASIC: (&'static str, &'static str) = (
        "Basic realm=\"API keys\"",
        "an API key of web.keys: its name as the account, its secret as the password",
    );

    /// A token that says itself which key it is (RFC 6750).
    pub(super) const fn token(secret: Option<&'r [u8]>) -> Self {
        Self { secret, name: None, challenge: Self::BEARER }
    }
}

impl Web {
    /// Counts a request of this client.
    ///
    /// # Errors
    /// There were too many.
    pub(super) fn charge(&self, client: &Client, headers: &HeaderMap) -> Result<(), Problem> {
        let per_minute = self.settings().per_address;
        self.rates.address(client.ip(headers), self.now().mono, 1, per_minute).map_err(|wait| {
            self.stats.refuse(Refused::AddressRate);
            too_many("from this address", "web.address_requests_per_minute", wait)
        })
    }

    /// Counts a wrong key of this client for more than a request, as far as it has some left.
    fn punish(&self, client: &Client, headers: &HeaderMap) {
        let per_minute = self.settings().per_address;
        self.rates.penalty(client.ip(headers), self.now().mono, WRONG - 1, per_minute);
    }

    /// The key whose secret was shown. With the right one a request counts for the key alone: an application's server
    /// asks for all its users from one address. Who has none left there is not told which one is right.
    ///
    /// # Errors
    /// There is none, or it came too often.
    pub(super) fn admit<'s>(
        &self,
        settings: &'s Settings,
        (client, headers): (&Client, &HeaderMap),
        presented: Presented<'_>,
    ) -> Result<&'s Key, Problem> {
        self.charge(client, headers)?;
        let (scheme, how) = presented.challenge;
        let Some(secret) = presented.secret.filter(|secret| !secret.is_empty()) else {
            self.stats.refuse(Refused::NoKey);
            return Err(Problem::unauthorized(scheme, format!("this needs {how}")));
        };
        let found = settings.keys.find(secret);
        let named = |key: &&Key| presented.name.is_none_or(|name| name == key.name);
        let Some(key) = found.filter(named) else {
            self.stats.refuse(Refused::WrongKey);
            self.punish(client, headers);
            return Err(Problem::unauthorized(
                scheme,
                format!("this is no API key: it needs {how}"),
            ));
        };
        self.rates.give_back(client.ip(headers), self.now().mono, settings.per_address);
        self.rates.key(&key.name, self.now().mono, settings.per_key).map_err(|wait| {
            self.stats.refuse(Refused::KeyRate);
            too_many("with this key", "web.key_requests_per_minute", wait)
        })?;
        Ok(key)
    }

    /// Counts a request that makes no sense.
    pub(super) fn malformed(&self, problem: Problem) -> Problem {
        self.stats.refuse(Refused::Malformed);
        problem
    }

    /// A credential for a key's holder, or for whom he has named. A longer time than the key's is cut to it.
    ///
    /// # Errors
    /// What was asked for makes no sense.
    pub(super) fn give<'s>(
        &self,
        settings: &'s Settings,
        key: &Key,
        (ttl, name): (Option<&str>, Option<&str>),
        shape: Shape,
    ) -> Result<Credential<'s>, Problem> {
        let ttl = ttl
            .map_or(Ok(settings.ttl), seconds)
            .map_err(|it| self.malformed(it))?
            .min(key.max_ttl);
        let mint = settings.mints.get(key.mint).ok_or_else(|| {
            let detail = "there is no shared secret to mint credentials with";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        let minted = mint.credential(self.now().unix, ttl, &key.label, name.unwrap_or_default());
        let minted = minted.map_err(|error| self.malformed(Problem::bad(error.to_string())))?;
        self.stats.give(shape);
        Ok(minted)
    }
}

/// Counts requests that bring a secret of another kind than a key, and those with a wrong one several times.
pub(super) async fn guess(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    web.charge(&client, &headers)?;
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        web.punish(&client, &headers);
    }
    Ok(response)
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    let wrong = || Problem::bad(format!("ttl must be a whole number of seconds, and is {text:?}"));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

fn too_many(what: &str, key: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many requests {what}: come again in {seconds} s ({key})");
    Problem::too_many(seconds, detail)
}
