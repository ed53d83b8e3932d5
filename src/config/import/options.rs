//! Every option of coturn 4.17, and those that older ones had.

use super::page::Weight::{self, Act, Lost, Same};
use crate::config::nearest::nearest;

/// An option of coturn's.
#[derive(Debug)]
pub(super) struct Opt {
    /// As it stands in the file.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) fate: Fate,
}

/// What stands behind the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Yes or no, and nothing means yes.
    Flag,
    /// On by being there, whatever stands behind it.
    Presence,
    /// A value; of several lines the last one counts.
    Value,
    /// The same, with a default for none.
    Optional,
    /// A value; each line adds one.
    List,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// One of the rooms makes keys of it, or says why not.
    Room,
    /// It is another name of this one.
    Alias(&'static str),
    /// Nothing; said in this section, with the reason.
    Note(&'static str, Weight, &'static str),
}

/// The option of this name. coturn heeds case, and knows no dashes in front.
pub(super) fn known(name: &str) -> Option<&'static Opt> {
    all().find(|opt| opt.name == name)
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Opt> {
    TAKEN.iter().chain(NOTED)
}

/// The option that was most likely meant.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.trim_matches('-').to_lowercase().replace('-', "_");
    let names: Vec<(String, &'static str)> = all().map(|opt| (plain(opt.name), opt.name)).collect();
    let found = nearest(&plain(name), names.iter().map(|(plain, _)| plain.as_str()))?.to_owned();
    names.into_iter().find(|(plain, _)| *plain == found).map(|(_, name)| name)
}

use Fate::{Alias, Note, Room};
use Shape::{Flag, List, Optional, Presence, Value};

const fn opt(name: &'static str, shape: Shape, fate: Fate) -> Opt {
    Opt { name, shape, fate }
}

const fn note(
    name: &'static str,
    shape: Shape,
    section: &'static str,
    weight: Weight,
    why: &'static str,
) -> Opt {
    opt(name, shape, Note(section, weight, why))
}

/// Those that the rooms take.
static TAKEN: &[Opt] = &[
    opt("listening-ip", List, Room),
    opt("listening-port", Value, Room),
    opt("tls-listening-port", Value, Room),
    opt("alt-listening-port", Value, Room),
    opt("aux-server", List, Room),
    opt("tcp-proxy-port", Value, Room),
    opt("rfc5780", Presence, Room),
    opt("relay-threads", Value, Room),
    opt("cpus", Value, Room),
    opt("sock-buf-size", Value, Room),
    opt("no-tls", Flag, Room),
    opt("no-dtls", Flag, Room),
    opt("dtls", Flag, Room),
    opt("cert", Value, Room),
    opt("pkey", Value, Room),
    opt("pkey-pwd", Value, Room),
    opt("no-tlsv1_2", Flag, Room),
    opt("relay-ip", List, Room),
    opt("external-ip", List, Room),
    opt("min-port", Value, Room),
    opt("max-port", Value, Room),
    opt("realm", Value, Room),
    opt("user", List, Room),
    opt("lt-cred-mech", Flag, Room),
    opt("no-auth", Flag, Room),
    opt("use-auth-secret", Presence, Room),
    opt("static-auth-secret", List, Room),
    opt("rest-api-separator", Value, Room),
    opt("stale-nonce", Optional, Room),
    opt("oauth", Flag, Room),
    opt("server-name", Value, Room),
    opt("userdb", Value, Room),
    opt("db", Value, Alias("userdb")),
    opt("psql-userdb", Value, Room),
    opt("sql-userdb", Value, Alias("psql-userdb")),
    opt("mysql-userdb", Value, Room),
    opt("mongo-userdb", Value, Room),
    opt("redis-userdb", Value, Room),
    opt("stun-only", Flag, Room),
    opt("allowed-peer-ip", List, Room),
    opt("denied-peer-ip", List, Room),
    opt("no-multicast-peers", Flag, Room),
    opt("allow-loopback-peers", Flag, Room),
    opt("user-quota", Value, Room),
    opt("total-quota", Value, Room),
    opt("max-bps", Value, Room),
    opt("unauthorized-ratelimit", Flag, Room),
    opt("unauthorized-ratelimit-rps", Value, Room),
    opt("max-allocate-timeout", Value, Room),
    opt("max-allocate-lifetime", Optional, Room),
    opt("no-tcp-relay", Flag, Room),
    opt("rfc5766-channel-numbers", Flag, Room),
    opt("mobility", Flag, Room),
    opt("software-attribute", Flag, Room),
    opt("no-software-attribute", Flag, Room),
    opt("alternate-server", List, Room),
    opt("tls-alternate-server", List, Room),
    opt("tcp-alternate-server", List, Room),
    opt("udp-alternate-server", List, Room),
    opt("prometheus", Presence, Room),
    opt("prometheus-port", Value, Room),
    opt("prometheus-address", Value, Room),
    opt("verbose", Flag, Room),
    opt("Verbose", Flag, Room),
    opt("log-min-level", Value, Room),
    opt("proc-user", Value, Room),
    opt("proc-group", Value, Room),
];

const STDERR: &str = "the log goes to standard error, where systemd and containers take it";
const NO_CONSOLE: &str = "there is no telnet console and no web page: metrics and health are on admin.listen, and the log has a line for each session";
const DATABASE: &str = "it belongs to coturn's database, and users come from this file here";
const KERNEL: &str = "how packets are moved is decided by what the kernel can do";
const ONE_PORT: &str = "two sockets for all peers are not needed here: each allocation has a port of its own, as RFC 8656 wants it";
const TLS_LIBRARY: &str = "what is safe today is built in: ECDHE with AES-GCM or ChaCha20";
const OLD_TLS: &str = "TLS below 1.2 is never served";
const LIFETIME: &str = "the RFC's value is built in (channels 10 minutes, permissions 5 minutes)";
const FAMILY: &str = "a client that asks for no family gets IPv4, as RFC 8656 wants it";
const CLASSIC: &str =
    "clients of RFC 3489 are told from others by their requests and always served";
const NOT_ANY_MORE: &str = "coturn itself has it no more, or does nothing with it";

/// Those of which nothing can be made, and why.
static NOTED: &[Opt] = &[
    note(
        "listening-device",
        Value,
        "listen",
        Act,
        "listeners are bound to addresses, not to devices: write the device's addresses into listen.addresses",
    ),
    note(
        "alt-tls-listening-port",
        Value,
        "listen",
        Same,
        "NAT discovery is served over UDP and TCP",
    ),
    note(
        "no-udp",
        Flag,
        "listen",
        Lost,
        "each listener is there for UDP and TCP: close UDP in the firewall",
    ),
    note(
        "no-tcp",
        Flag,
        "listen",
        Lost,
        "each listener is there for UDP and TCP: close TCP in the firewall",
    ),
    note(
        "udp-self-balance",
        Flag,
        "listen",
        Same,
        "the workers share each listener: nothing has to be balanced",
    ),
    note("udp-recvmmsg", Flag, "listen", Same, KERNEL),
    note("udp-recvmmsg-log", Flag, "listen", Same, KERNEL),
    note("udp-sendmmsg-log", Flag, "listen", Same, KERNEL),
    note("udp-gso", Flag, "listen", Same, KERNEL),
    note("ne", Value, "listen", Same, KERNEL),
    note(
        "drop-invalid-packets",
        Flag,
        "listen",
        Same,
        "invalid packets are always dropped, and counted in the metrics",
    ),
    note(
        "drop-invalid-packets-log",
        Flag,
        "listen",
        Same,
        "invalid packets are counted in the metrics",
    ),
    note("multiplex-peer", Presence, "relay", Same, ONE_PORT),
    note("multiplex-peer-port", Value, "relay", Same, ONE_PORT),
    note("multiplex-peer-max-peers", Value, "relay", Same, ONE_PORT),
    note(
        "relay-device",
        Value,
        "relay",
        Act,
        "relays are bound to addresses, not to devices: write the device's addresses into relay.addresses",
    ),
    note(
        "no-udp-relay",
        Flag,
        "relay",
        Act,
        "allocations for UDP cannot be switched off: what uses this server gets them",
    ),
    note("keep-address-family", Flag, "relay", Lost, FAMILY),
    note("allocation-default-address-family", Value, "relay", Lost, FAMILY),
    note(
        "server-relay",
        Flag,
        "peers",
        Act,
        "relaying without permissions is never done here: anybody could then reach the clients through it",
    ),
    note(
        "CA-file",
        Value,
        "tls",
        Act,
        "certificates of clients are not asked for: whoever has credentials may come in by TLS",
    ),
    note("cipher-list", Value, "tls", Lost, TLS_LIBRARY),
    note("ec-curve-name", Value, "tls", Lost, TLS_LIBRARY),
    note("dh-file", Value, "tls", Same, TLS_LIBRARY),
    note("dh566", Flag, "tls", Same, TLS_LIBRARY),
    note("dh1066", Flag, "tls", Same, TLS_LIBRARY),
    note("dh2066", Flag, "tls", Same, TLS_LIBRARY),
    note("tlsv1", Flag, "tls", Lost, OLD_TLS),
    note("tlsv1_1", Flag, "tls", Lost, OLD_TLS),
    note("no-tlsv1", Flag, "tls", Same, OLD_TLS),
    note("no-tlsv1_1", Flag, "tls", Same, OLD_TLS),
    note("no-sslv2", Flag, "tls", Same, OLD_TLS),
    note("no-sslv3", Flag, "tls", Same, OLD_TLS),
    note(
        "raw-public-keys",
        Flag,
        "tls",
        Lost,
        "raw public keys (RFC 7250) are not served: clients get the certificate",
    ),
    note(
        "acme-redirect",
        Value,
        "https",
        Lost,
        "requests for a certificate are not redirected; with https.backend and https.plain_http they can be passed on to a web server on this host",
    ),
    note(
        "respond-http-unsupported",
        Flag,
        "https",
        Same,
        "who speaks HTTP is always told that there is no web here",
    ),
    note("stateless-nonce", Flag, "auth", Same, "nonces never cost memory here"),
    note(
        "stateless-nonce-secret",
        Value,
        "auth",
        Lost,
        "nonces are this server's own: a client that goes to another one is challenged once more, and does not notice",
    ),
    note("check-origin-consistency", Flag, "auth", Lost, "ORIGIN is not looked at"),
    note("no-auth-pings", Presence, "auth", Same, DATABASE),
    note("no-dynamic-ip-list", Presence, "auth", Same, DATABASE),
    note("no-dynamic-realms", Presence, "auth", Same, DATABASE),
    note("secret-key-file", Value, "auth", Same, DATABASE),
    note("secret-ts-exp-time", Value, "auth", Same, NOT_ANY_MORE),
    note("st-cred-mech", Flag, "auth", Same, NOT_ANY_MORE),
    note(
        "no-stun",
        Flag,
        "turn",
        Lost,
        "Binding requests are always answered: TURN clients need them",
    ),
    note(
        "secure-stun",
        Flag,
        "turn",
        Lost,
        "Binding requests are answered without credentials, as RFC 8489 wants it; answers to one address are limited (limits.unauthenticated_per_second)",
    ),
    note(
        "fingerprint",
        Flag,
        "turn",
        Same,
        "FINGERPRINT is in each answer to a request that has it",
    ),
    note(
        "include-reason-string",
        Flag,
        "turn",
        Same,
        "the reason is told to each client that has proved its address",
    ),
    note("stun-backward-compatibility", Flag, "turn", Same, CLASSIC),
    note("no-stun-backward-compatibility", Flag, "turn", Same, CLASSIC),
    note("rfc3489-compatibility", Flag, "turn", Same, CLASSIC),
    note(
        "no-rfc5780",
        Flag,
        "turn",
        Same,
        "NAT discovery is off unless listen.nat_alternates is set",
    ),
    note(
        "response-origin-only-with-rfc5780",
        Flag,
        "turn",
        Same,
        "NAT discovery is off unless listen.nat_alternates is set",
    ),
    note("channel-lifetime", Optional, "turn", Lost, LIFETIME),
    note("permission-lifetime", Optional, "turn", Lost, LIFETIME),
    note("no-loopback-peers", Flag, "peers", Same, "loopback addresses are denied without it"),
    note(
        "bps-capacity",
        Value,
        "limits",
        Lost,
        "there is no limit for all allocations together; limits.user_bytes_per_second is one for each user",
    ),
    note("prometheus-path", Value, "admin", Lost, "metrics are at /metrics, health at /healthz"),
    note(
        "prometheus-username-labels",
        Presence,
        "admin",
        Lost,
        "names of users are in the log, not in the metrics",
    ),
    note(
        "prometheus-tls",
        Flag,
        "admin",
        Act,
        "metrics are served over plain HTTP: keep admin.listen on an address that only you can reach",
    ),
    note("prometheus-cert", Value, "admin", Same, "metrics are served over plain HTTP"),
    note("prometheus-key", Value, "admin", Same, "metrics are served over plain HTTP"),
    note(
        "redis-statsdb",
        Value,
        "admin",
        Lost,
        "numbers are on admin.listen for Prometheus, and the log has a line for each ended session",
    ),
    note("cli", Flag, "admin", Lost, NO_CONSOLE),
    note("no-cli", Flag, "admin", Same, NO_CONSOLE),
    note("cli-ip", Value, "admin", Same, NO_CONSOLE),
    note("cli-port", Value, "admin", Same, NO_CONSOLE),
    note("cli-password", Value, "admin", Same, NO_CONSOLE),
    note("cli-max-output-sessions", Value, "admin", Same, NO_CONSOLE),
    note("web-admin", Flag, "admin", Lost, NO_CONSOLE),
    note("web-admin-ip", Value, "admin", Same, NO_CONSOLE),
    note("web-admin-port", Value, "admin", Same, NO_CONSOLE),
    note("web-admin-listen-on-workers", Flag, "admin", Same, NO_CONSOLE),
    note("log-file", Value, "log", Lost, STDERR),
    note("no-stdout-log", Flag, "log", Same, STDERR),
    note("syslog", Flag, "log", Lost, STDERR),
    note("syslog-facility", Value, "log", Lost, STDERR),
    note("simple-log", Flag, "log", Same, STDERR),
    note("new-log-timestamp", Presence, "log", Same, "each line of the log begins with its time"),
    note(
        "new-log-timestamp-format",
        Value,
        "log",
        Lost,
        "times in the log have one form (RFC 3339)",
    ),
    note("log-binding", Flag, "log", Lost, "log.level = \"debug\" has a line for each request"),
    note(
        "daemon",
        Flag,
        "process",
        Same,
        "it stays in the foreground: let systemd or a container run it",
    ),
    note(
        "pidfile",
        Value,
        "process",
        Lost,
        "process.ready_file is written when all is bound, with the process's number in it",
    ),
    note(
        "drain-min-allocations",
        Value,
        "process",
        Lost,
        "process.drain says how long live allocations may go on after SIGTERM",
    ),
    note("version", Flag, "process", Same, "turnwire --version"),
];
