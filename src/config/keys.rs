//! What may be written: every key with where its value goes. All else follows from this table: the reader, the sections,
//! what is secret, the reference.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::certificates::{self, CERTIFICATES, KEYS as CERTIFICATE_KEYS};
use super::draft::Draft;
use super::events;
use super::found::Found;
use super::https::{BACKEND, HEADER, HEADERS, PLAIN, endpoint};
use super::realms;
use super::stores::{self, ASK};
use super::value::{
    admin_socket, admin_token, choice, duration, external, host_and_port, ip_address,
    name_and_password, path, ports, prefix, secret, separator, size, socket_address, software,
    text,
};
use super::web::{KEYS as WEB_KEYS, LISTEN, PAGE, TTL, origin, uri};
use super::{Format, Level};
use crate::auth::{OnExpiry, OnRevocation, RestDigest};
use crate::tls::Version;
use crate::turn::{PeerRule, Redirect};

/// A key of the file.
pub(super) struct Key {
    /// Its section and its name.
    pub(super) path: &'static str,
    /// Whether its value must never be shown.
    pub(super) secret: bool,
    /// Puts the value in its place.
    pub(super) read: fn(&mut Draft, &mut Found<'_, '_>),
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
}

/// The key of this path.
pub(super) fn known(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether keys stand in this section.
pub(super) fn is_section(path: &str) -> bool {
    sections().any(|section| section == path)
}

/// Every section, in the order of the reference file.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.chunk_by(|a, b| section_and_name(a.path).0 == section_and_name(b.path).0)
        .map(|keys| section_and_name(keys[0].path).0)
}

/// The paths of every key, as `section.name`.
pub fn known_keys() -> impl Iterator<Item = &'static str> {
    settled().chain(realms::keys())
}

/// The same without those of tables of which there may be several.
pub(super) fn settled() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.path)
}

/// The two parts of a key's path.
pub(super) fn section_and_name(path: &'static str) -> (&'static str, &'static str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

const fn key(path: &'static str, read: fn(&mut Draft, &mut Found<'_, '_>)) -> Key {
    Key { path, secret: false, read }
}

const fn secret_key(path: &'static str, read: fn(&mut Draft, &mut Found<'_, '_>)) -> Key {
    Key { path, secret: true, read }
}

/// A value that could not be read leaves the default where it is.
pub(super) fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

const fn seconds(low: u64, high: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(low)..=Duration::from_secs(high)
}

/// The levels of the log by name.
pub(super) const LEVELS: &[(&str, Level)] = &[
    (Level::Error.name(), Level::Error),
    (Level::Warn.name(), Level::Warn),
    (Level::Info.name(), Level::Info),
    (Level::Debug.name(), Level::Debug),
];

/// The formats of the log by name.
pub(super) const FORMATS: &[(&str, Format)] = &[("text", Format::Text), ("json", Format::Json)];

const VERSIONS: &[(&str, Version)] = &[("1.2", Version::Tls12), ("1.3", Version::Tls13)];

const DIGESTS: &[(&str, RestDigest)] =
    &[("sha1", RestDigest::Sha1), ("sha256", RestDigest::Sha256)];

const REDIRECTS: &[(&str, Redirect)] =
    &[("never", Redirect::Never), ("busy", Redirect::Busy), ("always", Redirect::Always)];

const ON_REVOCATION: &[(&str, OnRevocation)] =
    &[("keep", OnRevocation::Keep), ("refuse", OnRevocation::Refuse), ("end", OnRevocation::End)];
const ON_EXPIRY: &[(&str, OnExpiry)] =
    &[("keep", OnExpiry::Keep), ("refuse", OnExpiry::Refuse), ("end", OnExpiry::End)];

/// Where DTLS alone is listened for.
pub(super) const DTLS: &str = "listen.dtls";

/// Threads beyond this have no core to run on.
pub(super) const WORKERS: RangeInclusive<u64> = 0..=1024;
const COUNT: RangeInclusive<u64> = 0..=u32::MAX as u64;
const BUFFER: RangeInclusive<u64> = 0..=1 << 30;
/// Longer than this would be felt.
const GATHER: RangeInclusive<u64> = 0..=100;
const DAY: u64 = 86400;

/// All keys, in the order of the reference file.
static KEYS: &[Key] = &[
    key("listen.addresses", |to, it| {
        put(&mut to.config.worker.listeners, it.some(socket_address));
    }),
    key(DTLS, |to, it| put(&mut to.config.worker.dtls_listeners, it.list(socket_address))),
    key("listen.dtls_on_udp", |to, it| put(&mut to.config.worker.dtls_on_udp, it.boolean())),
    key("listen.nat_alternates", |to, it| {
        put(&mut to.config.nat_alternates, it.list(socket_address));
    }),
    key("listen.tls", |to, it| {
        put(&mut to.config.worker.tls_listeners, it.list(socket_address));
    }),
    key("listen.proxies", |to, it| put(&mut to.config.worker.proxies, it.list(prefix))),
    key("listen.workers", |to, it| put(&mut to.config.worker.workers, it.number(WORKERS))),
    key("listen.buffer", |to, it| {
        put(&mut to.config.worker.listener_buffer, it.quantity(|text| size(text, BUFFER)));
    }),
    key("listen.trains", |to, it| put(&mut to.config.worker.trains, it.boolean())),
    key("listen.gather_microseconds", |to, it| {
        put(&mut to.config.worker.gather, it.number(GATHER).map(Duration::from_micros));
    }),
    key(CERTIFICATES, |to, it| put(&mut to.certificates, certificates::list(it))),
    key(CERTIFICATE_KEYS, |to, it| put(&mut to.keys, it.list(path))),
    key("tls.min_version", |to, it| {
        put(&mut to.config.tls.min_version, it.text(|text| choice(text, VERSIONS)));
    }),
    key(BACKEND, |to, it| put(&mut to.config.worker.web.backend, it.text(endpoint).map(Some))),
    key(HEADER, |to, it| {
        put(&mut to.config.worker.web.header, it.text(|text| choice(text, HEADERS)));
    }),
    key(PLAIN, |to, it| put(&mut to.config.worker.web.plain, it.boolean())),
    key("relay.addresses", |to, it| put(&mut to.config.relay.addresses, it.list(ip_address))),
    key("relay.external", |to, it| put(&mut to.config.relay.external, it.list(external))),
    key("relay.stun_server", |to, it| {
        put(&mut to.config.relay.stun_server, it.text(host_and_port).map(Some));
    }),
    key("relay.check_interval", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(0, DAY)));
        put(&mut to.config.relay.check_interval, value);
    }),
    key("relay.ports", |to, it| put(&mut to.config.relay.ports, it.text(ports))),
    key("relay.buffer", |to, it| {
        put(&mut to.config.worker.relay_buffer, it.quantity(|text| size(text, BUFFER)));
    }),
    key("relay.pass_dscp", |to, it| put(&mut to.config.worker.pass_dscp, it.boolean())),
    key("relay.pass_ecn", |to, it| put(&mut to.config.worker.pass_ecn, it.boolean())),
    key("auth.realm", |to, it| put(&mut to.config.auth.realm, it.text(text))),
    secret_key("auth.secrets", |to, it| put(&mut to.config.auth.secrets, it.list(secret))),
    key("auth.secrets_file", |to, it| put(&mut to.secrets_file, it.text(path).map(Some))),
    key("auth.separator", |to, it| put(&mut to.config.auth.separator, it.text(separator))),
    key("auth.digests", |to, it| {
        put(&mut to.config.auth.rest_digests, it.some(|text| choice(text, DIGESTS)));
    }),
    key("auth.sha256", |to, it| put(&mut to.config.auth.sha256, it.boolean())),
    key("auth.username_anonymity", |to, it| {
        put(&mut to.config.auth.username_anonymity, it.boolean());
    }),
    key("auth.nonce_lifetime", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(10, DAY)));
        put(&mut to.config.auth.nonce_lifetime, value);
    }),
    key("auth.on_expiry", |to, it| {
        put(&mut to.config.auth.on_expiry, it.text(|text| choice(text, ON_EXPIRY)));
    }),
    key("auth.on_revocation", |to, it| {
        put(&mut to.config.auth.on_revocation, it.text(|text| choice(text, ON_REVOCATION)));
    }),
    secret_key("auth.users", |to, it| put(&mut to.config.auth.users, it.users())),
    key("auth.tokens.server_name", |to, it| {
        put(&mut to.config.auth.tokens.server_name, it.text(text).map(Some));
    }),
    key("auth.tokens.clock_skew", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(0, 3600)));
        put(&mut to.config.auth.tokens.clock_skew, value);
    }),
    secret_key("auth.tokens.keys", |to, it| {
        put(&mut to.config.auth.tokens.keys, it.token_keys());
    }),
    key("stores.keep", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, DAY)));
        put(&mut to.config.store.retention.keep, value);
    }),
    key("stores.keep_unknown", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, 3600)));
        put(&mut to.config.store.retention.keep_unknown, value);
    }),
    key("stores.stale", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(0, 7 * DAY)));
        put(&mut to.config.store.retention.stale, value);
    }),
    key("stores.users", |to, it| {
        put(&mut to.config.store.retention.users, it.number(1000..=10_000_000));
    }),
    key("stores.refresh_secrets", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, 3600)));
        put(&mut to.config.store.refresh_secrets, value);
    }),
    secret_key(ASK, stores::take),
    key("turn.software", |to, it| put(&mut to.config.turn.software, it.text(software))),
    key("turn.default_lifetime", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, DAY)));
        put(&mut to.config.turn.default_lifetime, value);
    }),
    key("turn.max_lifetime", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, DAY)));
        put(&mut to.config.turn.max_lifetime, value);
    }),
    key("turn.tcp_allocations", |to, it| {
        put(&mut to.config.turn.tcp_allocations, it.boolean());
    }),
    key("turn.rfc5766_channels", |to, it| {
        put(&mut to.config.turn.rfc5766_channels, it.boolean());
    }),
    key("turn.explain", |to, it| put(&mut to.config.turn.explain, it.boolean())),
    key("turn.mobility", |to, it| put(&mut to.config.turn.mobility, it.boolean())),
    key("peers.allow", |to, it| rules(to, it, true)),
    key("peers.deny", |to, it| rules(to, it, false)),
    key("redirect.when", |to, it| {
        put(&mut to.config.redirect.when, it.text(|text| choice(text, REDIRECTS)));
    }),
    key("redirect.interval", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, 3600)));
        put(&mut to.config.redirect.interval, value);
    }),
    secret_key("redirect.credentials", |to, it| {
        put(&mut to.config.redirect.credentials, it.text(name_and_password).map(Some));
    }),
    key("redirect.servers", |to, it| put(&mut to.config.redirect.servers, it.other_servers())),
    key("limits.allocations", |to, it| put(&mut to.config.limits.allocations, it.number(COUNT))),
    key("limits.allocations_per_user", |to, it| {
        put(&mut to.config.limits.allocations_per_user, it.number(COUNT));
    }),
    key("limits.allocations_per_address", |to, it| {
        put(&mut to.config.limits.allocations_per_address, it.number(COUNT));
    }),
    key("limits.permissions", |to, it| {
        put(&mut to.config.limits.permissions, it.number(1..=65535));
    }),
    // RFC 5766 has 16,383 channel numbers, RFC 8656 4,096 of these.
    key("limits.channels", |to, it| put(&mut to.config.limits.channels, it.number(1..=16383))),
    key("limits.connections", |to, it| {
        put(&mut to.config.limits.connections, it.number(1..=65535));
    }),
    key("limits.pending_connections", |to, it| {
        put(&mut to.config.limits.pending_connections, it.number(1..=65535));
    }),
    key("limits.connections_per_user", |to, it| {
        put(&mut to.config.limits.connections_per_user, it.number(COUNT));
    }),
    key("limits.bytes_per_second", |to, it| {
        let value = it.quantity(|text| size(text, 0..=u64::MAX));
        put(&mut to.config.limits.bytes_per_second, value);
    }),
    key("limits.user_bytes_per_second", |to, it| {
        let value = it.quantity(|text| size(text, 0..=u64::MAX));
        put(&mut to.config.limits.user_bytes_per_second, value);
    }),
    key("limits.all_bytes_per_second", |to, it| {
        let value = it.quantity(|text| size(text, 0..=u64::MAX));
        put(&mut to.config.limits.all_bytes_per_second, value);
    }),
    key("limits.unauthenticated_per_second", |to, it| {
        put(&mut to.config.limits.unauthenticated_per_second, it.number(COUNT));
    }),
    key("limits.nat_discovery_per_second", |to, it| {
        put(&mut to.config.limits.discovery_per_second, it.number(COUNT));
    }),
    key("limits.all_nat_discovery_per_second", |to, it| {
        put(&mut to.config.limits.all_discovery_per_second, it.number(COUNT));
    }),
    key("limits.exempt", |to, it| put(&mut to.config.limits.exempt, it.list(prefix))),
    key("limits.streams.per_address", |to, it| {
        put(&mut to.config.worker.streams.per_address, it.number(COUNT));
    }),
    key("limits.streams.without_allocation", |to, it| {
        put(&mut to.config.worker.streams.without_allocation, it.number(1..=1 << 20));
    }),
    key("limits.streams.idle", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, DAY)));
        put(&mut to.config.worker.streams.idle, value);
    }),
    key("limits.streams.handshake", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, DAY)));
        put(&mut to.config.worker.streams.handshake, value);
    }),
    key("limits.streams.queue", |to, it| {
        let value = it.quantity(|text| size(text, 4096..=1 << 30));
        put(&mut to.config.worker.streams.queue, value);
    }),
    key("limits.streams.backend", |to, it| {
        put(&mut to.config.worker.streams.web, it.number(1..=1 << 20));
    }),
    key("limits.streams.backend_idle", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, DAY)));
        put(&mut to.config.worker.streams.web_idle, value);
    }),
    key("limits.dtls.per_address", |to, it| {
        put(&mut to.config.worker.dtls_limits.per_address, it.number(COUNT));
    }),
    key("limits.dtls.handshakes", |to, it| {
        put(&mut to.config.worker.dtls_limits.handshakes, it.number(1..=1 << 16));
    }),
    key("limits.dtls.handshakes_per_address", |to, it| {
        put(&mut to.config.worker.dtls_limits.handshakes_per_address, it.number(COUNT));
    }),
    key("limits.dtls.handshakes_per_second", |to, it| {
        put(&mut to.config.worker.dtls_limits.handshakes_per_second, it.number(COUNT));
    }),
    key("limits.dtls.handshake", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, 600)));
        put(&mut to.config.worker.dtls_limits.handshake, value);
    }),
    key("limits.dtls.without_allocation", |to, it| {
        put(&mut to.config.worker.dtls_limits.without_allocation, it.number(1..=1 << 20));
    }),
    key("limits.dtls.idle", |to, it| {
        let value = it.quantity(|text| duration(text, seconds(1, DAY)));
        put(&mut to.config.worker.dtls_limits.idle, value);
    }),
    key("admin.socket", |to, it| put(&mut to.config.admin_socket, it.text(admin_socket))),
    secret_key("admin.tokens", |to, it| {
        put(&mut to.config.admin_tokens, it.list(admin_token));
    }),
    key("admin.tokens_file", |to, it| put(&mut to.tokens_file, it.text(path).map(Some))),
    key("admin.listen", |to, it| put(&mut to.config.admin, it.text(socket_address).map(Some))),
    key(PAGE, |to, it| put(&mut to.config.web.page, it.boolean())),
    key(LISTEN, |to, it| put(&mut to.config.web.listen, it.list(socket_address))),
    key("web.ttl", |to, it| {
        put(&mut to.config.web.ttl, it.quantity(|text| duration(text, TTL)));
    }),
    key("web.uris", |to, it| put(&mut to.config.web.uris, it.list(uri))),
    key("web.origins", |to, it| put(&mut to.config.web.origins, it.list(origin))),
    key("web.key_requests_per_minute", |to, it| {
        put(&mut to.config.web.key_requests_per_minute, it.number(COUNT));
    }),
    key("web.address_requests_per_minute", |to, it| {
        put(&mut to.config.web.address_requests_per_minute, it.number(COUNT));
    }),
    secret_key(WEB_KEYS, |to, it| put(&mut to.config.web.keys, it.web_keys())),
    key("events.kinds", events::kinds),
    key("events.usage_interval", events::usage_interval),
    key("events.spool", |to, it| {
        put(&mut to.config.events.spool.directory, it.text(path).map(Some));
    }),
    key("events.spool_limit", events::spool_limit),
    key("events.file.path", |to, it| {
        put(&mut to.config.events.file.path, it.text(path).map(Some));
    }),
    key("events.file.kinds", |to, it| {
        put(&mut to.config.events.file.kinds, events::own_kinds(it));
    }),
    secret_key(events::URL, events::webhook_url),
    secret_key(events::SECRET, events::webhook_secret),
    key(events::SECRET_FILE, |to, it| put(&mut to.webhook_secret_file, it.text(path).map(Some))),
    key(events::CA_FILE, |to, it| {
        put(&mut to.config.events.webhook.authorities, it.text(path).map(Some));
    }),
    key("events.webhook.timeout", events::timeout),
    key("events.webhook.kinds", |to, it| {
        put(&mut to.config.events.webhook.kinds, events::own_kinds(it));
    }),
    secret_key(events::REDIS, events::redis_url),
    key("events.redis.stream", events::redis_stream),
    key("events.redis.max_length", |to, it| {
        put(&mut to.config.events.redis.max_length, it.number(0..=u64::MAX));
    }),
    key("events.redis.kinds", |to, it| {
        put(&mut to.config.events.redis.kinds, events::own_kinds(it));
    }),
    key("log.level", |to, it| put(&mut to.config.log.level, it.text(|text| choice(text, LEVELS)))),
    key("log.format", |to, it| {
        put(&mut to.config.log.format, it.text(|text| choice(text, FORMATS)));
    }),
    key("process.ready_file", |to, it| put(&mut to.config.ready_file, it.text(path).map(Some))),
    key("process.state_directory", |to, it| {
        put(&mut to.config.state_directory, it.text(path).map(Some));
    }),
    key("process.user", |to, it| put(&mut to.config.user, it.text(text).map(Some))),
    key("process.group", |to, it| put(&mut to.config.group, it.text(text).map(Some))),
    key("process.sandbox", |to, it| put(&mut to.config.sandbox, it.boolean())),
    key("process.drain", |to, it| {
        put(&mut to.config.drain, it.quantity(|text| duration(text, seconds(0, DAY))));
    }),
];

fn rules(to: &mut Draft, it: &mut Found<'_, '_>, allow: bool) {
    let rule = |prefix| PeerRule { prefix, allow };
    to.config.peers.extend(it.list(prefix).unwrap_or_default().into_iter().map(rule));
}
