//! Each key of the configuration, and where it goes.

use super::*;

fn has_all_of_the_web(web: &Web) {
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3600);
    assert_eq!((web.page, web.ttl), (true, hours(1)));
    assert_eq!(web.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(web.uris, ["stun:a.example", "turns:[2001:db8::1]:443?transport=tcp"]);
    assert_eq!(web.origins, ["https://meet.example.org:443", "*"]);
    assert_eq!((web.key_requests_per_minute, web.address_requests_per_minute), (5, 0));
    let first = WebKey {
        name: "z".into(),
        secret: Some(Secret::new("0123456789abcdef")),
        secret_file: None,
        label: "z".into(),
        realm: None,
        max_ttl: hours(24),
    };
    let second = WebKey {
        name: "a-1".into(),
        secret: None,
        secret_file: Some("k".into()),
        label: "calls".into(),
        realm: Some("example.org".into()),
        max_ttl: hours(2),
    };
    assert_eq!(web.keys, [first, second]);
}

#[test]
fn every_key_reaches_its_setting() {
    let dtls = if cfg!(feature = "dtls") { r#"["[::1]:0"]"# } else { "[]" };
    let text = EVERYTHING.replace("DTLS", dtls);
    let config = parse(&text, "t.toml").unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(config.worker.listeners, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.nat_alternates, ["127.0.0.2:0".parse().unwrap()]);
    assert_eq!(config.worker.tls_listeners, ["127.0.0.1:5349".parse().unwrap()]);
    assert_eq!(config.worker.proxies, ["10.0.0.7".parse().unwrap()]);
    assert_eq!(config.worker.streams.handshake, std::time::Duration::from_secs(4));
    assert_eq!((config.worker.workers, config.worker.listener_buffer), (3, 65536));
    assert_eq!(config.relay.addresses, ["10.0.0.5".parse::<std::net::IpAddr>().unwrap()]);
    let external = External {
        public: "203.0.113.5".parse().unwrap(),
        private: Some("10.0.0.5".parse().unwrap()),
    };
    assert_eq!(config.relay.external, [external]);
    assert_eq!(config.relay.stun_server.as_deref(), Some("[2001:db8::1]:3478"));
    assert_eq!((config.relay.ports.first, config.relay.ports.last), (2000, 2001));
    assert_eq!(config.worker.relay_buffer, 4096);
    let files = |chain: &str, key: &str| Files { chain: chain.into(), key: key.into() };
    let [first, second] = [files("a.pem", "a.key"), files("/b.pem", "/b.key")];
    assert_eq!(config.tls.certificates, [first, second]);
    assert_eq!(config.tls.min_version, Version::Tls13);
    has_all_of_the_web(&config.web);
    let web = &config.worker.web;
    assert_eq!(web.backend, Some(Endpoint::Tcp("[::1]:8080".parse().unwrap())));
    assert_eq!((web.header, web.plain), (Some(proxy::Version::V1), true));
    assert_eq!((config.user.as_deref(), config.group.as_deref()), (Some("turn"), Some("ssl")));

    let auth = &config.auth;
    assert_eq!((auth.realm.as_str(), auth.separator), ("example.org", '|'));
    assert_eq!(auth.secrets, [Secret::new("s3")]);
    assert_eq!(auth.rest_digests, [RestDigest::Sha256]);
    assert!(!auth.sha256 && !auth.username_anonymity);
    assert_eq!((auth.nonce_lifetime, auth.on_expiry), (Duration::from_secs(30), OnExpiry::End));
    assert_eq!(auth.on_revocation, OnRevocation::End);
    let users: Vec<_> = auth.users.iter().map(|it| (&*it.name, it.password.expose())).collect();
    assert_eq!(users, [("zoe", "last letter, first user"), ("a b", "x")]);

    let tokens = &auth.tokens;
    assert_eq!(tokens.server_name.as_deref(), Some("turn.example.org"));
    assert_eq!(tokens.clock_skew, Duration::from_secs(7));
    let shown: Vec<_> = tokens.keys.iter().map(|key| format!("{key:?}")).collect();
    let expected = [
        "TokenKey(\"k2\", A128Gcm, Some(60), Some(120), [redacted])",
        "TokenKey(\"k/1\", A256Gcm, None, None, [redacted])",
    ];
    assert_eq!(shown, expected);

    let (retention, seconds) = (config.store.retention, Duration::from_secs);
    assert_eq!((retention.keep, retention.keep_unknown), (seconds(60), seconds(2)));
    assert_eq!((retention.stale, retention.users), (seconds(0), 1000));
    assert_eq!(config.store.refresh_secrets, seconds(3));
    let mut file = store::Settings::new("z", store::Kind::File);
    (file.path, file.realm) = (Some(PathBuf::from("users.toml")), Some("example.org".to_owned()));
    let mut app = store::Settings::new("a", store::Kind::Http);
    app.url = Some(Secret::new("https://app.example.org/turn?x=1"));
    (app.timeout, app.connections) = (Duration::from_millis(500), 3);
    app.ca = Some(PathBuf::from("/ca.pem"));
    (app.token, app.signature_secret) = (Some(Secret::new("T0")), Some(Secret::new("S0")));
    assert_eq!(config.stores, [file, app]);

    assert_eq!(config.turn.software, None);
    assert_eq!(config.turn.default_lifetime, Duration::from_secs(120));
    assert_eq!(config.turn.max_lifetime, Duration::from_secs(86400));
    assert!(config.turn.rfc5766_channels && config.turn.mobility);
    let peers: Vec<_> = config.peers.iter().map(|it| (it.prefix.to_string(), it.allow)).collect();
    assert_eq!(peers, [("10.0.0.0/8".to_owned(), true), ("10.0.0.1/32".to_owned(), false)]);

    let redirect = &config.redirect;
    assert_eq!((redirect.when, redirect.interval.as_secs()), (turn::Redirect::Always, 60));
    let check = redirect.credentials.as_ref().unwrap();
    assert_eq!((check.name.as_str(), check.password.expose()), ("check", "pass:word"));
    let other = |name: &str, addresses: &[&str], tls: &[&str], domain: Option<&str>, weight| {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        OtherServer {
            name: name.to_owned(),
            addresses: parse(addresses),
            tls_addresses: parse(tls),
            domain: domain.map(str::to_owned),
            weight,
        }
    };
    let secure = &["[2001:db8::8]:3"][..];
    let expected = [
        other("b", &["203.0.113.9:3478"], &[], None, 0),
        other("a", &["203.0.113.8:1", "[2001:db8::8]:2"], secure, Some("a.example.org"), 1),
    ];
    assert_eq!(redirect.servers, expected);

    let limits = &config.limits;
    assert_eq!((limits.allocations, limits.allocations_per_user), (1, 2));
    assert_eq!((limits.allocations_per_address, limits.permissions), (3, 4));
    assert_eq!((limits.channels, limits.bytes_per_second), (5, 1_000_000));
    assert_eq!((limits.user_bytes_per_second, limits.unauthenticated_per_second), (2 << 10, 6));
    assert_eq!(limits.all_bytes_per_second, 3 << 10);
    assert_eq!((limits.discovery_per_second, limits.all_discovery_per_second), (10, 11));
    assert!(limits.exempt.is_empty());
    let streams = &config.worker.streams;
    assert_eq!((streams.per_address, streams.without_allocation), (7, 8));
    assert_eq!((streams.idle, streams.queue), (Duration::from_secs(9), 1 << 20));
    assert_eq!(config.worker.dtls_listeners.is_empty(), !cfg!(feature = "dtls"));
    assert!(!config.worker.dtls_on_udp);
    let dtls = &config.worker.dtls_limits;
    assert_eq!((dtls.per_address, dtls.handshakes, dtls.without_allocation), (10, 11, 12));
    assert_eq!((dtls.handshakes_per_address, dtls.handshakes_per_second), (15, 16));
    assert_eq!((dtls.handshake, dtls.idle), (Duration::from_secs(13), Duration::from_secs(14)));
    assert_eq!((streams.web, streams.web_idle), (12, Duration::from_secs(60)));

    assert_eq!(config.admin, Some("[::1]:0".parse().unwrap()));
    let events = &config.events;
    let ended = RecordKinds::NONE.with(RecordKind::Ended);
    assert_eq!((events.kinds, events.file.kinds), (ended.with(RecordKind::Usage), Some(ended)));
    assert_eq!((events.usage_interval, events.usage_interval()), (Duration::from_secs(5), None));
    assert_eq!(events.spool.directory, Some(PathBuf::from("/spool")));
    assert_eq!((events.spool.limit, &events.file.path), (2 << 20, &Some(PathBuf::from("e.jsonl"))));
    let webhook = &events.webhook;
    assert_eq!(webhook.url, Some(Url::parse("https://a.example/x?y=z").unwrap()));
    assert_eq!(webhook.secret, Some(Secret::new("0123456789abcdef")));
    assert_eq!(webhook.authorities, Some(PathBuf::from("ca.pem")));
    let redis = &events.redis;
    assert_eq!((&*redis.stream, redis.max_length), ("s", 7));
    assert_eq!(redis.kinds, Some(RecordKinds::NONE.with(RecordKind::Usage)));
    assert_eq!((webhook.timeout, webhook.kinds), (Duration::from_secs(3), Some(ended)));
    assert_eq!((config.log.level, config.log.format), (Level::Debug, Format::Json));
    assert_eq!(config.ready_file, Some(PathBuf::from("r.json")));
    assert_eq!(config.state_directory, Some(PathBuf::from("/s")));
    assert_eq!(config.drain, Duration::from_secs(7200));
}

pub(crate) const EVERYTHING: &str = r#"
listen = { addresses = ["127.0.0.1:0"], nat_alternates = ["127.0.0.2:0"], tls = ["127.0.0.1:5349"], dtls = DTLS, dtls_on_udp = false, proxies = ["10.0.0.7"], workers = 3, buffer = 0x1_0000 }
[events]
kinds = ["ended", "usage"]
usage_interval = 5
spool = "/spool"
spool_limit = "2MiB"
[events.file]
path = "e.jsonl"
kinds = ["ended"]
[events.redis]
stream = "s"
max_length = 7
kinds = ["usage"]
[events.webhook]
url = "https://a.example/x?y=z"
secret = "0123456789abcdef"
ca_file = "ca.pem"
timeout = 3
kinds = ["ended"]
[tls]
certificates = ["a.pem", "/b.pem"]
keys = ["a.key", "/b.key"]
min_version = "1.3"
[https]
backend = "[::1]:8080"
proxy_protocol = "v1"
plain_http = true
[relay]
addresses = ["10.0.0.5"]
external = ["203.0.113.5/10.0.0.5"]
stun_server = "[2001:db8::1]:3478"
ports = "2000-2001"
buffer = "4 KiB"
[auth]
realm = "example.org"
secrets = ["s3"]
separator = "|"
digests = ["sha256"]
sha256 = false
username_anonymity = false
nonce_lifetime = 30
on_expiry = "end"
on_revocation = "end"
users.zoe = "last letter, first user"
users."a b" = "x"
[auth.tokens]
server_name = "turn.example.org"
clock_skew = 7
keys.k2 = { key = "ZmVkY2JhOTg3NjU0MzIxMA==", algorithm = "A128GCM", valid_from = 1970-01-01T00:01:00Z, valid_until = 1970-01-01T00:02:00Z }
keys."k/1" = { key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }
[stores]
keep = "1m"
keep_unknown = 2
stale = 0
users = 1000
refresh_secrets = "3s"
ask.z = { kind = "file", path = "users.toml", realm = "example.org" }
ask.a = { kind = "http", url = "https://app.example.org/turn?x=1", timeout_milliseconds = 500, connections = 3, ca = "/ca.pem", token = "T0", signature_secret = "S0" }
[turn]
software = ""
default_lifetime = "2m"
max_lifetime = "1d"
rfc5766_channels = true
mobility = true
[peers]
allow = ["10.0.0.0/8"]
deny = ["10.0.0.1"]
[redirect]
when = "always"
interval = "1m"
credentials = "check:pass:word"
servers.b = { addresses = ["203.0.113.9:3478"], weight = 0 }
servers.a = { addresses = ["203.0.113.8:1", "[2001:db8::8]:2"], tls_addresses = ["[2001:db8::8]:3"], domain = "a.example.org" }
[limits]
allocations = 1
allocations_per_user = 2
allocations_per_address = 3
permissions = 4
channels = 5
bytes_per_second = "1MB"
user_bytes_per_second = "2KiB"
all_bytes_per_second = "3KiB"
unauthenticated_per_second = 6
nat_discovery_per_second = 10
all_nat_discovery_per_second = 11
exempt = []
[limits.dtls]
per_address = 10
handshakes = 11
handshakes_per_address = 15
handshakes_per_second = 16
without_allocation = 12
handshake = 13
idle = "14s"
[limits.streams]
per_address = 7
without_allocation = 8
idle = "9s"
handshake = "4s"
queue = "1MiB"
backend = 12
backend_idle = "1m"
[admin]
listen = "[::1]:0"
[web]
page = true
listen = ["127.0.0.1:8080"]
ttl = "1h"
uris = ["stun:a.example", "turns:[2001:db8::1]:443?transport=tcp"]
origins = ["https://meet.example.org/x", "*"]
key_requests_per_minute = 5
address_requests_per_minute = 0
keys.z = { secret = "0123456789abcdef" }
keys.a-1 = { secret_file = "k", label = "calls", realm = "example.org", max_ttl = "2h" }
[log]
level = "debug"
format = "json"
[process]
ready_file = "r.json"
state_directory = "/s"
user = "turn"
group = "ssl"
drain = "2h"
"#;
