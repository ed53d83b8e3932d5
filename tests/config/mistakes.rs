//! Each kind of mistake, with its line, its column and what would be right.

#[cfg(feature = "dtls")]
use turnwire::config::{Flags, load};
use turnwire::config::{Origin, parse};

use super::{only, problems};

#[test]
fn an_unknown_name_is_told_with_the_nearest_known() {
    let text = "[auth]\nsha256 = true\n  relm = \"example.org\"\n";
    assert_eq!(
        problems(text).to_string(),
        "t.toml:3:3: unknown key \"relm\" in [auth]: did you mean \"realm\"?\n    3 |   relm = [redacted]\n      |   ^^^^"
    );
    let cases = [
        ("[turn]\nrealm = \"x\"", "2:1: unknown key \"realm\" in [turn]: it belongs in [auth]"),
        ("realm = 1", "1:1: the key \"realm\" stands in no section: it belongs in [auth]"),
        (
            "[log]\nmax-lifetime = 1",
            "2:1: unknown key \"max-lifetime\" in [log]: there are level, format",
        ),
        (
            "[turn]\nmax-lifetime = 1",
            "2:1: unknown key \"max-lifetime\" in [turn]: did you mean \"max_lifetime\"?",
        ),
        ("[lisen]\n", "1:2: unknown section [lisen]: did you mean [listen]?"),
        ("[users]\nalice = \"x\"", "1:2: unknown section [users]: did you mean [auth.users]?"),
        ("[streams]\n", "1:2: unknown section [streams]: did you mean [limits.streams]?"),
        (
            "[limits.stream]\n",
            "1:9: unknown section [limits.stream]: did you mean [limits.streams]?",
        ),
        (
            "log = 5",
            "1:7: \"log\" is a section, not a value: write [log] once, and its keys below it",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(only(text), message, "{text}");
    }
    let quoted = only("\"auth.realm\" = \"x\"");
    assert!(quoted.starts_with("1:1: the key \"auth.realm\" stands in no section"), "{quoted}");
}

#[test]
fn a_backend_that_nobody_would_get_to_is_told_so() {
    let form = "write it like \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/run/app.sock\"";
    let certificate = "[tls]\ncertificates = [\"a.pem\"]\n";
    for (backend, message) in [
        ("https://127.0.0.1:8080", "no URL, and the backend is spoken to without TLS"),
        ("127.0.0.1:0", "the port is 0"),
        ("0.0.0.0:80", "it is every address"),
        ("unix:", "the path is missing"),
        ("unix:app.sock", "the path must be absolute"),
    ] {
        let text = format!("{certificate}[https]\nbackend = \"{backend}\"");
        let expected = format!(
            "4:11: https.backend: {backend:?} is not where a server listens: {message}: {form}"
        );
        assert_eq!(only(&text), expected);
    }
    let text = format!("{certificate}[https]\nbackend = \"localhost\"");
    let expected =
        format!("4:11: https.backend: \"localhost\" is not an address with a port: {form}");
    assert_eq!(only(&text), expected);
    let long = format!("{certificate}[https]\nbackend = \"unix:/{}\"", "x".repeat(107));
    assert!(only(&long).contains("the path is longer than 107 bytes"));

    let itself = "name the web server's own address and port";
    for (listen, backend) in [
        ("[listen]\naddresses = [\"0.0.0.0:443\"]", "127.0.0.1:443"),
        ("[listen]\naddresses = [\"10.0.0.5:443\"]", "10.0.0.5:443"),
        ("[listen]\ntls = [\"[::]:443\"]", "[::1]:443"),
        ("[admin]\nlisten = \"127.0.0.1:443\"", "127.0.0.1:443"),
    ] {
        let text = format!("{certificate}[https]\nbackend = \"{backend}\"\n{listen}");
        let told = only(&text);
        assert!(told.contains("is this server itself, which listens on"), "{told}");
        assert!(told.starts_with("4:11: https.backend: ") && told.ends_with(itself), "{told}");
    }
    let cases = [
        (
            "[https]\nbackend = \"127.0.0.1:8080\"",
            "2:11: https.backend: nobody gets there: there is no certificate for https: \
             set tls.certificates, or --cert and --key; or https.plain_http for http alone",
        ),
        (
            "[https]\nproxy_protocol = \"v2\"",
            "2:18: https.proxy_protocol: it changes nothing alone: set https.backend as well",
        ),
        (
            "[https]\nplain_http = true",
            "2:14: https.plain_http: it changes nothing alone: set https.backend as well",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(only(text), message, "{text}");
    }
    for fine in [
        "[https]\nbackend = \"127.0.0.1:8080\"\nplain_http = true",
        "[listen]\naddresses = [\"0.0.0.0:80\"]\n[https]\nbackend = \"10.0.0.8:80\"\nplain_http = true",
    ] {
        assert!(parse(fine, "t.toml").is_ok(), "{fine}");
    }
}

#[test]
fn a_second_address_for_nat_discovery_that_cannot_be_one_is_told_so() {
    let cases = [
        (
            "[listen]\nnat_alternates = [\"0.0.0.0:3479\"]",
            "2:19: listen.nat_alternates: 0.0.0.0:3479 is every address, not a second one: name one address of this host",
        ),
        (
            "[listen]\nnat_alternates = [\"10.0.0.6:3479\", \"10.0.0.7:3479\"]",
            "2:36: listen.nat_alternates: 10.0.0.7:3479 is one too many: one of each family will do",
        ),
        (
            "[listen]\naddresses = [\"[::1]:1\"]\nnat_alternates = [\"10.0.0.6:3479\"]",
            "3:19: listen.nat_alternates: 10.0.0.6:3479 has no listener of its family beside it",
        ),
        (
            "[listen]\naddresses = [\"10.0.0.5:2\", \"10.0.0.6:1\"]\nnat_alternates = [\"10.0.0.6:2\"]",
            "3:19: listen.nat_alternates: 10.0.0.6:2 shares its address or its port with each listener: it must have both for itself, like port 3479 on another address",
        ),
        (
            "[listen]\nnat_alternates = [\"10.0.0.6:3479\"]\n[relay]\nexternal = [\"203.0.113.5\"]",
            "2:19: listen.nat_alternates: it is not known what 10.0.0.6 is outside: 203.0.113.5 is the relay address: add \"PUBLIC/10.0.0.6\"",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(only(text), message, "{text}");
    }
    // Its address outside needs no relay.
    let fine = "[listen]\nnat_alternates = [\"10.0.0.6:3479\"]\n[relay]\naddresses = [\"10.0.0.5\"]\n\
                external = [\"203.0.113.5/10.0.0.5\", \"203.0.113.6/10.0.0.6\"]";
    assert!(parse(fine, "t.toml").is_ok());
}

#[test]
fn certificates_and_keys_that_do_not_pair_are_told_so() {
    let hint = "give each certificate its key, in the same order, or no key at all when each file has both in it";
    let cases = [
        (
            "[tls]\ncertificates = [\"a\"]\nkeys = [\"b\", \"c\"]",
            format!("3:14: tls.keys: 2 keys for 1 certificate: {hint}"),
        ),
        (
            "[tls]\ncertificates = [\"a\", \"b\"]\nkeys = [\"c\"]",
            format!("3:9: tls.keys: 1 key for 2 certificates: {hint}"),
        ),
        (
            "[tls]\ncertificates = [\"a\", \"b\", \"a\"]",
            "2:27: tls.certificates: a is there twice".to_owned(),
        ),
        (
            "[tls]\nmin_version = \"1.1\"",
            "2:15: tls.min_version: \"1.1\" is unknown here: did you mean \"1.2\"?".to_owned(),
        ),
        (
            "[process]\ngroup = \"ssl-cert\"",
            "2:9: process.group: a group alone changes nothing: set process.user as well"
                .to_owned(),
        ),
    ];
    for (text, message) in cases {
        assert_eq!(only(text), message, "{text}");
    }
}

#[test]
fn a_key_for_access_tokens_that_cannot_be_used_is_told_with_its_kid() {
    let cases = [
        ("k = 5", "the key \"k\" must be a table: write it like KID = { key = \"BASE64\" }"),
        ("k = {}", "the key \"k\" has no key in it: write it like KID = { key = \"BASE64\" }"),
        ("k = { key = 5 }", "the key \"k\" must have a string as key"),
        ("k = { key = \"hunter2!\" }", "the key \"k\" is not written in base64"),
        (
            "k = { key = \"aHVudGVyMg==\" }",
            "the key \"k\" has 7 bytes, its algorithm needs 32: make one with: openssl rand -base64 32",
        ),
        (
            "k = { key = \"aHVudGVyMg==\", algorithm = \"A128GC\" }",
            "the key \"k\" has an unknown algorithm: choose \"A256GCM\" or \"A128GCM\"",
        ),
        (
            "k = { key = \"ZmVkY2JhOTg3NjU0MzIxMA==\", algorithm = \"A128GCM\", until = 1 }",
            "the key \"k\" has \"until\" in it, which is unknown here: there are algorithm, key, valid_from, valid_until",
        ),
        (
            "k = { key = \"ZmVkY2JhOTg3NjU0MzIxMA==\", algorithm = \"A128GCM\", valid_until = 2027-01-01 }",
            "the key \"k\" has no date as valid_until: write it without quotes, like 2027-01-31T00:00:00Z",
        ),
        (
            "k = { key = \"ZmVkY2JhOTg3NjU0MzIxMA==\", algorithm = \"A128GCM\", valid_from = 2027-01-01T00:00:00Z, valid_until = 2026-01-01T00:00:00Z }",
            "the key \"k\" is valid at no time: valid_until is not after valid_from",
        ),
        (
            "\"\" = { key = \"ZmVkY2JhOTg3NjU0MzIxMA==\", algorithm = \"A128GCM\" }",
            "the kid \"\" must have 1 to 508 bytes and no control characters",
        ),
    ];
    for (line, message) in cases {
        let told = only(&format!("[auth.tokens.keys]\n{line}"));
        assert!(told.starts_with("2:1: auth.tokens.keys: "), "{told}");
        assert!(told.ends_with(message), "{told}");
    }
    let name = only("[auth.tokens]\nserver_name = \"\"");
    assert_eq!(
        name,
        "2:15: auth.tokens.server_name: the server name for access tokens must have 1 to 255 bytes and no control characters"
    );
}

#[test]
fn another_server_that_cannot_be_one_is_told_with_its_name() {
    let cases = [
        ("a = 5", "must be a table: write it like NAME = { addresses = [\"192.0.2.1:3478\"] }"),
        ("a = {}", "has no addresses: write it like NAME = { addresses = [\"192.0.2.1:3478\"] }"),
        ("a = { addresses = 5 }", "must have a list of strings as addresses"),
        (
            "a = { addresses = [\"192.0.2.1\"] }",
            "has a place that is none: \"192.0.2.1\" is not an address with a port: did you mean \"192.0.2.1:3478\"?",
        ),
        ("a = { addresses = [\"0.0.0.0:1\"] }", "cannot be reached at 0.0.0.0:1"),
        ("a = { addresses = [\"192.0.2.1:0\"] }", "cannot be reached at 192.0.2.1:0"),
        (
            "a = { addresses = [\"192.0.2.1:1\", \"192.0.2.2:1\"] }",
            "has 192.0.2.2:1 as one too many: one of each family will do: make it a server of its own",
        ),
        (
            "a = { addresses = [\"192.0.2.1:1\"], tls_addresses = [\"[2001:db8::1]:1\"] }",
            "has [2001:db8::1]:1 without a plain address of that family: it is there that the server is asked whether it is alive",
        ),
        (
            "a = { addresses = [\"192.0.2.1:1\"], weight = 1001 }",
            "has a weight that is none: expected a whole number from 0 to 1000, found 1001",
        ),
        (
            "a = { addresses = [\"192.0.2.1:1\"], domain = \"a b\" }",
            "has the domain \"a b\", which is no name of a host: write it as it stands in the certificate, like turn2.example.org",
        ),
        (
            "a = { address = \"192.0.2.1:1\" }",
            "has \"address\" in it, which is unknown here: there are addresses, tls_addresses, domain, weight",
        ),
    ];
    for (line, message) in cases {
        let told = only(&format!("[redirect.servers]\n{line}"));
        assert_eq!(told, format!("2:1: redirect.servers: the server \"a\" {message}"));
    }
    let own = "[listen]\naddresses = [\"192.0.2.1:1\"]\n[redirect.servers]\na = { addresses = [\"192.0.2.1:1\"] }";
    assert_eq!(only(own), "4:1: redirect.servers: 192.0.2.1:1 is this server itself");
    let twice = "[redirect.servers]\na = { addresses = [\"192.0.2.1:1\"] }\nb = { addresses = [\"192.0.2.1:1\"] }";
    assert_eq!(only(twice), "3:1: redirect.servers: 192.0.2.1:1 is another server's as well");
    let check = only("[redirect]\ncredentials = \"hunter2\"");
    assert_eq!(
        check,
        "2:15: redirect.credentials: must be a name and a password with a colon between them"
    );
}

#[test]
#[cfg(feature = "dtls")]
fn listeners_for_dtls_that_cannot_be_are_told_so() {
    let with = |lines: &str| format!("[tls]\ncertificates = [\"a\"]\n[listen]\n{lines}");
    let cases = [
        (
            "[listen]\ndtls = [\"[::1]:5349\"]".to_owned(),
            "2:9: listen.dtls: [::1]:5349 can serve nobody: there is no certificate: set tls.certificates, or --cert and --key",
        ),
        (with("dtls = [\"[::1]:1\", \"[::1]:1\"]"), "4:20: listen.dtls: [::1]:1 is there twice"),
        (
            with("dtls = [\"192.0.2.1:3478\"]"),
            "4:9: listen.dtls: 192.0.2.1:3478 is taken by the listener 0.0.0.0:3478: leave it out: with listen.dtls_on_udp, DTLS is served on listen.addresses as well",
        ),
        (with("dtls = [\"224.0.0.1:1\"]"), "4:9: listen.dtls: 224.0.0.1 is a multicast address"),
    ];
    for (text, message) in cases {
        assert_eq!(only(&text), message, "{text}");
    }
    let flags = Flags { dtls_listen: vec!["127.0.0.1:1".to_owned()], ..Flags::default() };
    let problems = load(&flags).expect_err("there is no certificate").to_string();
    assert!(problems.contains("--dtls-listen") && problems.contains("certificate"), "{problems}");
}

#[test]
#[cfg(not(feature = "dtls"))]
fn dtls_in_a_build_without_it_is_told_so() {
    let text = "[tls]\ncertificates = [\"a\"]\n[listen]\ndtls = [\"[::1]:1\"]";
    let message = "4:9: listen.dtls: this turnwire was built without DTLS: \
                   build it with the feature `dtls`, or leave this out";
    assert_eq!(only(text), message);
}

#[test]
fn a_wrong_value_is_told_with_what_would_be_right() {
    let cases = [
        (
            "[listen]\nworkers = \"4\"",
            "2:11: listen.workers: expected a whole number, found a string",
        ),
        (
            "[listen]\nworkers = -1",
            "2:11: listen.workers: expected a whole number from 0 to 1024, found -1",
        ),
        (
            "[listen]\naddresses = \"[::]:1\"",
            "2:13: listen.addresses: expected a list of strings, found a string: put it in brackets: [\"...\"]",
        ),
        (
            "[listen]\naddresses = []",
            "2:13: listen.addresses: the list is empty: leave the key out for the default",
        ),
        (
            "[listen]\naddresses = [\"[::1]:1\",\n  \"::1\"]",
            "3:3: listen.addresses: \"::1\" is not an address with a port: did you mean \"[::1]:3478\"?",
        ),
        (
            "[admin]\nlisten = \"::1:9641\"",
            "2:10: admin.listen: \"::1:9641\" is not an address with a port: did you mean \"[::1]:9641\"?",
        ),
        (
            "[admin]\nlisten = \":9641\"",
            "2:10: admin.listen: \":9641\" is not an address with a port: \"0.0.0.0:9641\" and \"[::]:9641\" are this port on every address",
        ),
        (
            "[relay]\naddresses = [\"10.0.0.1:5\"]",
            "2:14: relay.addresses: \"10.0.0.1:5\" is not an IP address: without a port: \"10.0.0.1\"",
        ),
        (
            "[relay]\nports = \"65535-49152\"",
            "2:9: relay.ports: the range \"65535-49152\" is empty: did you mean \"49152-65535\"?",
        ),
        (
            "[relay]\nports = \"1000-2000\"",
            "2:9: relay.ports: the range \"1000-2000\" begins below 1024: the ports 0-1023 belong to well-known services, RFC 8656 §7.2 advises against them",
        ),
        (
            "[relay]\nports = \"49152\"",
            "2:9: relay.ports: \"49152\" is not a range of ports: write it like \"49152-65535\"",
        ),
        (
            "[relay]\nstun_server = \"stun.example.org\"",
            "2:15: relay.stun_server: \"stun.example.org\" is not a host with a port: write it like \"stun.example.org:3478\"",
        ),
        (
            "[peers]\nallow = [\"10.1.2.3/8\"]",
            "2:10: peers.allow: \"10.1.2.3/8\" has bits set behind the prefix: did you mean \"10.0.0.0/8\"?",
        ),
        (
            "[auth]\non_expiry = \"kep\"",
            "2:13: auth.on_expiry: \"kep\" is unknown here: did you mean \"keep\"?",
        ),
        (
            "[auth]\nseparator = \"7\"",
            "2:13: auth.separator: \"7\" cannot separate expiry and user: write one character that is not a digit, like \":\"",
        ),
        (
            "[auth]\ndigests = []",
            "2:11: auth.digests: the list is empty: leave the key out for the default",
        ),
        (
            "[auth]\nnonce_lifetime = \"5 years\"",
            "2:18: auth.nonce_lifetime: \"5 years\" is not a duration: write it like \"30s\", \"10m\" or \"1h\"",
        ),
        (
            "[turn]\nmax_lifetime = \"25h\"",
            "2:16: turn.max_lifetime: 25h is out of range: it must be 1s to 24h",
        ),
        (
            "[turn]\nmax_lifetime = \"99999999999999999999h\"",
            "2:16: turn.max_lifetime: \"99999999999999999999h\" is not a duration: write it like \"30s\", \"10m\" or \"1h\"",
        ),
        (
            "[limits]\nbytes_per_second = \"8Mbit\"",
            "2:20: limits.bytes_per_second: \"8Mbit\" is not a number of bytes: it counts bytes, not bits: 8 Mbit is \"1MB\"",
        ),
        (
            "[limits]\npermissions = 0",
            "2:15: limits.permissions: expected a whole number from 1 to 65535, found 0",
        ),
        ("[log]\nlevel = 3", "2:9: log.level: expected a string, found a whole number"),
        ("[process]\nready_file = \"\"", "2:14: process.ready_file: \"\" is not a path"),
    ];
    for (text, message) in cases {
        assert_eq!(only(text), message, "{text}");
    }
}

#[test]
fn values_that_contradict_each_other_are_told() {
    let cases = [
        (
            "[listen]\naddresses = [\"[::]:1\", \"[::]:1\"]",
            "2:24: listen.addresses: [::]:1 is there twice",
        ),
        (
            "[listen]\naddresses = [\"224.0.0.1:1\"]",
            "2:14: listen.addresses: 224.0.0.1 is a multicast address",
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:3478\"",
            "2:10: admin.listen: 127.0.0.1:3478 is taken by the listener 0.0.0.0:3478: choose another port, like 9641",
        ),
        (
            "[relay]\naddresses = [\"0.0.0.0\"]",
            "2:14: relay.addresses: 0.0.0.0 is not an address of this host: leave it out: the address is then found by itself",
        ),
        (
            "[relay]\naddresses = [\"::ffff:1.2.3.4\"]",
            "2:14: relay.addresses: ::ffff:1.2.3.4 is an IPv4 address in IPv6 form: write \"1.2.3.4\"",
        ),
        (
            "[relay]\naddresses = [\"10.0.0.6\"]\nexternal = [\"1.2.3.4/10.0.0.5\"]",
            "3:13: relay.external: 10.0.0.5 is not one of the relay addresses: add it to relay.addresses (--relay-ip)",
        ),
        (
            "[relay]\naddresses = [\"10.0.0.6\"]\nexternal = [\"2001:db8::1\"]",
            "3:13: relay.external: no relay address is of the family of 2001:db8::1",
        ),
        (
            "[relay]\nexternal = [\"1.2.3.4\", \"1.2.3.5\"]",
            "2:24: relay.external: 1.2.3.5 is the second address outside for all of its family: say which stands for which: \"PUBLIC/PRIVATE\"",
        ),
        (
            "[relay]\nexternal = [\"1.2.3.4/::1\"]",
            "2:13: relay.external: 1.2.3.4 and ::1 are not of one family",
        ),
        (
            "[turn]\nmax_lifetime = \"5m\"",
            "2:16: turn.max_lifetime: default_lifetime (10m) is longer than max_lifetime (5m)",
        ),
        (
            "[turn]\nmax_lifetime = \"5m\"\ndefault_lifetime = 301",
            "3:20: turn.default_lifetime: default_lifetime (301s) is longer than max_lifetime (5m)",
        ),
        (
            "[auth]\nusername_anonymity = true\nsecrets = [\"x\"]",
            "2:22: auth.username_anonymity: username anonymity cannot be offered together with shared secrets or access tokens: an ephemeral user name or a kid cannot be found by its hash",
        ),
        (
            "[auth]\nusername_anonymity = true",
            "2:22: auth.username_anonymity: there is no user whose name could be hidden: without [auth.users] a secret is made, and ephemeral names cannot be found by their hash",
        ),
        (
            "[auth]\nrealm = \"\"",
            "2:9: auth.realm: the realm must have 1 to 127 characters and no control characters",
        ),
        (
            "[auth]\nsecrets = [\"a\", \"\"]",
            "2:17: auth.secrets: a shared secret must not be empty",
        ),
        (
            "[auth.users]\nalice = \"\"",
            "2:1: auth.users: the password of \"alice\" must not be empty and have no control characters",
        ),
        (
            "[auth.users]\nbob = \"x\"\n\"\" = \"x\"",
            "3:1: auth.users: the user name \"\" must have 1 to 508 bytes and no control characters",
        ),
        // The same after RFC 8265's preparation.
        (
            "[auth.users]\n\"e\\u0301\" = \"x\"\n\"\\u00e9\" = \"x\"",
            "3:1: auth.users: the user \"é\" is there twice",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(only(text), message, "{text}");
    }
    // Port 0 is another port each time.
    parse("[listen]\naddresses = [\"[::]:0\", \"[::]:0\"]", "t.toml").unwrap();
}

#[test]
fn a_broken_grammar_is_told_with_its_place() {
    let message = problems("[listen]\naddresses = [\"0.0.0.0:3478\" \"[::]:3478\"]").to_string();
    assert!(message.starts_with("t.toml:2:29: missing comma"), "{message}");
    assert!(message.ends_with("\n      |                             ^"), "{message}");
    assert!(only("[log]\nlevel = \"info\"\nlevel = \"info\"").starts_with("3:1: duplicate key"));
}

#[test]
fn every_mistake_of_a_file_is_told_in_its_order() {
    let text = "[turn]\nmax_lifetime = \"x\"\n[auth.users]\nalice = 5\nbob = \"\"\n[log]\nlevel = \"x\"\n[auth]\nrelm = 1\n";
    let problems = problems(text);
    let lines = problems.as_slice().iter().map(|problem| match problem.origin {
        Origin::File { line, .. } => line,
        _ => 0,
    });
    assert_eq!(lines.collect::<Vec<_>>(), [2, 4, 5, 7, 9]);
}

#[test]
fn a_value_that_cannot_be_read_leads_to_no_conclusions() {
    let text = "[relay]\naddresses = [\"10.0.0.x\"]\nexternal = [\"1.2.3.4/10.0.0.5\"]";
    assert!(only(text).starts_with("2:14: "));
    assert!(only("[turn]\nmax_lifetime = \"5m\"\ndefault_lifetime = \"x\"").starts_with("3:20: "));
}

#[test]
fn the_mark_stands_below_what_it_marks() {
    let message = problems("[log]\n\tformat\t= \"jsn\" # ü\r\n").to_string();
    assert!(
        message.ends_with("    2 | \tformat\t= \"jsn\"\n      | \t      \t  ^^^^^"),
        "{message}"
    );
    let message = problems("[log]\nformat = \"\u{1b}[2J\"").to_string();
    assert!(message.contains("2 | format = \"\u{FFFD}"), "{message:?}");
    assert!(!message.contains('\u{1b}'), "{message:?}");
    let message = problems("[auth]\n\"\u{fc}\u{fc}\" = 1").to_string();
    assert!(message.ends_with("\n      | ^^^^"), "{message}");
}
