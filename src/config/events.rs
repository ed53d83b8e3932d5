//! Records of sessions, and where they go.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::Finding;
use super::draft::Draft;
use super::found::Found;
use super::keys::put;
use super::value::{Wrong, choice, duration, secret, size};
use crate::auth::Secret;
use crate::http::Url;
use crate::worker::{RecordKind, RecordKinds};

pub(super) const URL: &str = "events.webhook.url";
pub(super) const SECRET: &str = "events.webhook.secret";
pub(super) const SECRET_FILE: &str = "events.webhook.secret_file";
pub(super) const CA_FILE: &str = "events.webhook.ca_file";

pub(super) const REDIS: &str = "events.redis.url";

const KINDS: &[(&str, RecordKind)] = &[
    ("began", RecordKind::Began),
    ("usage", RecordKind::Usage),
    ("ended", RecordKind::Ended),
    ("refused", RecordKind::Refused),
];

/// Less than one segment of the spool would hold nothing.
const SPOOL: RangeInclusive<u64> = 1 << 20..=1 << 40;
const INTERVAL: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86400);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// What is shorter can be guessed from one signature.
const SHORTEST: usize = 16;

pub(super) fn kinds(to: &mut Draft, it: &mut Found<'_, '_>) {
    let kinds = it.list(|text| choice(text, KINDS));
    put(&mut to.config.events.kinds, kinds.map(RecordKinds::from_iter));
}

/// The kinds of one sink; an empty list is those of all.
pub(super) fn own_kinds(it: &mut Found<'_, '_>) -> Option<Option<RecordKinds>> {
    let kinds = it.list(|text| choice(text, KINDS))?;
    Some(Some(kinds).filter(|kinds| !kinds.is_empty()).map(RecordKinds::from_iter))
}

pub(super) fn usage_interval(to: &mut Draft, it: &mut Found<'_, '_>) {
    let value = it.quantity(|text| duration(text, INTERVAL));
    put(&mut to.config.events.usage_interval, value);
}

pub(super) fn spool_limit(to: &mut Draft, it: &mut Found<'_, '_>) {
    put(&mut to.config.events.spool.limit, it.quantity(|text| size(text, SPOOL)));
}

pub(super) fn timeout(to: &mut Draft, it: &mut Found<'_, '_>) {
    let value = it.quantity(|text| duration(text, TIMEOUT));
    put(&mut to.config.events.webhook.timeout, value);
}

pub(super) fn webhook_url(to: &mut Draft, it: &mut Found<'_, '_>) {
    // The text stays out of the problem: there may be a token in it.
    let url = it.text(|text| Url::parse(text).map_err(|error| Wrong::new(error.to_string())));
    put(&mut to.config.events.webhook.url, url.map(Some));
}

pub(super) fn webhook_secret(to: &mut Draft, it: &mut Found<'_, '_>) {
    put(&mut to.config.events.webhook.secret, it.text(signing).map(Some));
}

/// What batches are signed with.
pub(super) fn signing(text: &str) -> Result<Secret, Wrong> {
    match text.len() {
        0..SHORTEST => Err(Wrong::new(format!("is shorter than {SHORTEST} bytes"))
            .hint("`openssl rand -base64 32` makes a good one")),
        _ => secret(text),
    }
}

pub(super) fn redis_url(to: &mut Draft, it: &mut Found<'_, '_>) {
    put(&mut to.config.events.redis.url, it.text(secret).map(Some));
}

pub(super) fn redis_stream(to: &mut Draft, it: &mut Found<'_, '_>) {
    let read = it.text(|text| match text {
        "" => Err(Wrong::new("is empty").hint("leave it out for the default")),
        text => Ok(text.to_owned()),
    });
    put(&mut to.config.events.redis.stream, read);
}

/// Redis in a server that cannot speak to it.
pub(super) fn redis(draft: &Draft) -> Vec<Finding> {
    if cfg!(feature = "redis") || draft.config.events.redis.url.is_none() {
        return Vec::new();
    }
    let wrong = Wrong::new("this turnwire was built without Redis")
        .hint("build it with the feature `redis`, or leave this out");
    vec![(vec![(REDIS, 0)], wrong)]
}

/// A webhook whose records nobody could trust, or that is none.
pub(super) fn webhook(draft: &Draft) -> Vec<Finding> {
    let webhook = &draft.config.events.webhook;
    let in_file = draft.webhook_secret_file.is_some();
    match (&webhook.url, &webhook.secret) {
        // A text alone is read without its files.
        (Some(_), None) if in_file => Vec::new(),
        (Some(_), None) => {
            let wrong = Wrong::new("what is posted there has to be signed").hint(
                "set events.webhook.secret or secret_file as well, which the application knows too",
            );
            vec![(vec![(URL, 0)], wrong)]
        }
        (Some(url), Some(_)) if webhook.authorities.is_some() && !url.is_secure() => {
            let wrong = Wrong::new("it changes nothing: the webhook is not spoken to in TLS")
                .hint("write https:// in events.webhook.url, or leave this out");
            vec![(vec![(CA_FILE, 0)], wrong)]
        }
        (None, secret) => {
            let idle = [
                (SECRET_FILE, in_file),
                (SECRET, secret.is_some() && !in_file),
                (CA_FILE, webhook.authorities.is_some()),
            ];
            let wrong = || Wrong::new("it changes nothing alone").hint("set events.webhook.url");
            let idle = idle.into_iter().filter(|(_, set)| *set);
            idle.map(|(key, _)| (vec![(key, 0)], wrong())).collect()
        }
        _ => Vec::new(),
    }
}
