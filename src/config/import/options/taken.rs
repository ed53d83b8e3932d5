//! Options of which the rooms make keys.

use super::Fate::{Alias, Room};
use super::Shape::{Flag, List, Optional, Presence, Value};
use super::{Opt, opt};

const DATABASES: &str = "`stores.ask`: the same database is asked";

/// Those that the rooms take.
pub(super) static TAKEN: &[Opt] = &[
    opt("listening-ip", List, Room("`listen.addresses` (`--listen`)")),
    opt("listening-port", Value, Room("`listen.addresses` (`--listen`)")),
    opt(
        "tls-listening-port",
        Value,
        Room("`listen.tls`, and `listen.dtls` for DTLS; TLS is also served on `listen.addresses`"),
    ),
    opt("alt-listening-port", Value, Room("`listen.nat_alternates` (`--nat-alternate`)")),
    opt("aux-server", List, Room("one more entry of `listen.addresses`")),
    opt(
        "tcp-proxy-port",
        Value,
        Room(
            "`listen.proxies`: the prefixes of the proxies; every listener then takes their PROXY header",
        ),
    ),
    opt("rfc5780", Presence, Room("`listen.nat_alternates` (`--nat-alternate`)")),
    opt(
        "relay-threads",
        Value,
        Room("`listen.workers` (`--workers`); one for each core when not set"),
    ),
    opt("cpus", Value, Room("`listen.workers` (`--workers`)")),
    opt("sock-buf-size", Value, Room("`listen.buffer`")),
    opt("no-tls", Flag, Room("leave `tls.certificates` empty")),
    opt("no-dtls", Flag, Room("`listen.dtls_on_udp = false`")),
    opt("dtls", Flag, Room("on with a certificate (`listen.dtls_on_udp`, `listen.dtls`)")),
    opt(
        "cert",
        Value,
        Room("`tls.certificates` (`--cert`): watched, a renewed one is used without a signal"),
    ),
    opt("pkey", Value, Room("`tls.keys` (`--key`)")),
    opt(
        "pkey-pwd",
        Value,
        Room("none: take the passphrase off the key and let only its owner read it"),
    ),
    opt("no-tlsv1_2", Flag, Room("`tls.min_version = \"1.3\"`")),
    opt("relay-ip", List, Room("`relay.addresses` (`--relay-ip`)")),
    opt("external-ip", List, Room("`relay.external` (`--external-ip`)")),
    opt("min-port", Value, Room("`relay.ports` (`--relay-ports`)")),
    opt("max-port", Value, Room("`relay.ports` (`--relay-ports`)")),
    opt("realm", Value, Room("`auth.realm` (`--realm`); always there, \"turnwire\" when not set")),
    opt(
        "user",
        List,
        Room(
            "`[auth.users]` (`--user`); those known by their MD5 keys alone go into a file beside, which is asked as a store",
        ),
    ),
    opt("lt-cred-mech", Flag, Room("always: nobody gets a relay without credentials")),
    opt("no-auth", Flag, Room("none: an open relay is not possible")),
    opt(
        "use-auth-secret",
        Presence,
        Room("`auth.secrets` (`--secret`); users and secrets work side by side"),
    ),
    opt("static-auth-secret", List, Room("`auth.secrets` (`--secret`); each of several is tried")),
    opt("rest-api-separator", Value, Room("`auth.separator`")),
    opt("stale-nonce", Optional, Room("`auth.nonce_lifetime`")),
    opt("oauth", Flag, Room("`[auth.tokens.keys]`")),
    opt("server-name", Value, Room("`auth.tokens.server_name`")),
    opt(
        "no-dynamic-ip-list",
        Presence,
        Room("the database's peers are left out by `import --database`; else they are configured"),
    ),
    opt(
        "no-dynamic-realms",
        Presence,
        Room("the database's realms are left out by `import --database`; else they are configured"),
    ),
    opt("userdb", Value, Room(DATABASES)),
    opt("db", Value, Alias("userdb")),
    opt("psql-userdb", Value, Room(DATABASES)),
    opt("sql-userdb", Value, Alias("psql-userdb")),
    opt("mysql-userdb", Value, Room(DATABASES)),
    opt("mongo-userdb", Value, Room("none: MongoDB is not asked")),
    opt("redis-userdb", Value, Room(DATABASES)),
    opt(
        "stun-only",
        Flag,
        Room("no switch: without users and secrets nobody gets a relay, and Binding is answered"),
    ),
    opt(
        "allowed-peer-ip",
        List,
        Room("`peers.allow` (`--allow-peer`), as prefixes; a range becomes exactly its prefixes"),
    ),
    opt(
        "denied-peer-ip",
        List,
        Room(
            "`peers.deny` (`--deny-peer`), as prefixes; private and special addresses are denied anyway",
        ),
    ),
    opt("no-multicast-peers", Flag, Room("always: multicast is denied unless it is allowed")),
    opt("allow-loopback-peers", Flag, Room("`peers.allow` with `127.0.0.0/8` and `::1/128`")),
    opt("user-quota", Value, Room("`limits.allocations_per_user`")),
    opt("total-quota", Value, Room("`limits.allocations`")),
    opt("max-bps", Value, Room("`limits.bytes_per_second`")),
    opt(
        "bps-capacity",
        Value,
        Room(
            "`limits.all_bytes_per_second`, for each realm by itself; without `max-bps` it limits nobody in coturn",
        ),
    ),
    opt("unauthorized-ratelimit", Flag, Room("always on: `limits.unauthenticated_per_second`")),
    opt("unauthorized-ratelimit-rps", Value, Room("`limits.unauthenticated_per_second`")),
    opt("max-allocate-timeout", Value, Room("`limits.streams.idle`, `limits.dtls.idle`")),
    opt("max-allocate-lifetime", Optional, Room("`turn.max_lifetime`")),
    opt("no-tcp-relay", Flag, Room("`turn.tcp_allocations = false`")),
    opt("rfc5766-channel-numbers", Flag, Room("`turn.rfc5766_channels`")),
    opt("mobility", Flag, Room("`turn.mobility`")),
    opt("software-attribute", Flag, Room("`turn.software`: the text, empty for none")),
    opt("no-software-attribute", Flag, Room("`turn.software = \"\"`")),
    opt(
        "alternate-server",
        List,
        Room("`[redirect.servers]`, `redirect.when`; only servers that answer are named"),
    ),
    opt("tls-alternate-server", List, Room("`[redirect.servers]`: `tls_addresses`")),
    opt("tcp-alternate-server", List, Room("`[redirect.servers]`: for UDP and TCP alike")),
    opt("udp-alternate-server", List, Room("`[redirect.servers]`: for UDP and TCP alike")),
    opt("prometheus", Presence, Room("`admin.listen` (`--admin`)")),
    opt("prometheus-port", Value, Room("`admin.listen` (`--admin`)")),
    opt("prometheus-address", Value, Room("`admin.listen` (`--admin`)")),
    opt("verbose", Flag, Room("no need: `log.level = \"info\"` has a line for each session")),
    opt("Verbose", Flag, Room("`log.level = \"debug\"`")),
    opt("log-min-level", Value, Room("`log.level`")),
    opt("proc-user", Value, Room("`process.user`")),
    opt("proc-group", Value, Room("`process.group`")),
];
