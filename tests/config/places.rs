//! Listeners, certificates, keys of tokens and other servers that cannot be what they are said to be.

use turnwire::config::parse;
#[cfg(feature = "dtls")]
use turnwire::config::{Flags, load};

use super::only;

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
