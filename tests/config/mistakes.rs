//! Each kind of mistake, with its line, its column and what would be right.

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
    assert!(message.starts_with("t.toml:2:29: a comma or the end of the list"), "{message}");
    assert!(message.ends_with("\n      |                             ^"), "{message}");
    let text = "a string stands in quotes, and so does a number with a unit";
    let list = "a comma or the end of the list is missing: write [\"...\", \"...\"], with a comma between two and ] at the end";
    let table = "a comma or the end of the table is missing: write { KEY = \"...\", KEY = \"...\" }, with a comma between two and } at the end";
    let control = "there is a control character: take it out, or write it as \\uXXXX in a string in double quotes";
    let cases = [
        ("[log]\nlevel = \"info\"\nlevel = \"info\"", "3:1: \"level\" is there twice, first on line 2: keep one of them".to_owned()),
        ("[log]\n[auth]\n[log]\n", "3:2: [log] is there twice, first on line 1: write it once, with all its keys below it".to_owned()),
        ("[auth.users]\na = \"x\"\na = \"y\"", "3:1: this name is there twice, first on line 2: keep one of them".to_owned()),
        ("[log]\nlevel = info", format!("2:9: this is neither a string nor a number: {text}: KEY = \"...\"")),
        ("[relay]\nports = 49152-65535", format!("2:9: this is neither a string nor a number: {text}: KEY = \"...\"")),
        ("[turn]\nmax_lifetime = 1h", format!("2:16: this is neither a string nor a number: {text}: KEY = \"...\"")),
        ("[listen]\naddresses = [0.0.0.0:3478]", format!("2:17: this is neither a string nor a number: {text}: [\"...\", \"...\"]")),
        ("[auth]\nsha256 = True", "2:10: this is no value: write true or false, in small letters".to_owned()),
        ("[auth]\nrealm =\n", "2:8: there is no value behind the =: leave the line out for the default".to_owned()),
        ("[limits]\nallocations = 010", "2:15: a number does not begin with 0: leave the 0 in front out".to_owned()),
        ("[limits]\nallocations = 1,000", "2:16: there is more behind the value: one key on a line, no comma or point within a number, and a comment behind #".to_owned()),
        ("[auth]\nrealm: \"x\"", "2:6: a colon in the place of =: write KEY = VALUE, and [SECTION] above its keys".to_owned()),
        ("[auth]\nrealm \"x\"", "2:7: there is no =: write KEY = VALUE, and [SECTION] above its keys".to_owned()),
        ("[auth]\nrealm = \"x\n", "2:11: the string does not end: a quote is missing at its end".to_owned()),
        ("[auth]\nsecrets = [\"x\"\n[log]\nlevel = \"info\"", format!("3:1: {list}")),
        ("[auth\nrealm = \"x\"", "1:6: there is no ] behind the name of the section: write it like [listen]".to_owned()),
        ("[auth.users]\na@b.c = \"x\"", "2:2: a name with other characters than letters, digits, - and _ needs quotes: write \"NAME\" = VALUE".to_owned()),
        ("[auth]\nsecrets = [\n  abc,\n]", format!("3:3: this is neither a string nor a number: {text}: [\"...\", \"...\"]")),
        ("[listen]\naddresses = [\n  10.0.0.1:3478\n]", format!("3:7: this is neither a string nor a number: {text}: [\"...\", \"...\"]")),
        ("[auth]\nsecrets = [\"a\"\n\"b\"]", format!("3:1: {list}")),
        ("[stores.ask]\na = { kind = \"redis\" url = \"x\" }", format!("2:22: {table}")),
        ("[stores.ask]\na = { kind = \"redis\"\n[log]\nlevel = \"info\"", format!("3:1: {table}")),
        ("[auth]\nrealm = \"a\u{1b}b\"", format!("2:11: {control}")),
        ("[auth]\nrealm = 'a\u{7}b'", format!("2:11: {control}")),
        ("[auth]\nrealm = \"\"\"a\u{7}b\"\"\"", format!("2:13: {control}")),
        ("# a\u{7}b\n[auth]", format!("1:4: {control}")),
        ("// the log\n[log]", "1:1: this is no key: a comment begins with #".to_owned()),
    ];
    for (text, message) in cases {
        assert_eq!(only(text), message, "{text}");
    }
}

#[test]
fn a_broken_grammar_hides_no_further_mistake() {
    for broken in ["[\"a\" \"b\"]", "\"a", "\"a\u{7}b\"", "{ a = 1 b = 2 }", "[\n \"a\"\n \"b\"]"] {
        let text = format!("[auth]\nrealm = {broken}\n[log]\nlevel = info");
        let told = problems(&text).to_string();
        assert_eq!(told.matches("t.toml:").count(), 2, "{told}");
        assert!(told.contains("this is neither a string nor a number"), "{told}");
    }
    // What is not closed hides the rest.
    let told = problems("[auth]\nsecrets = [\"a\n[log]\nlevel = info").to_string();
    assert_eq!(told.matches("t.toml:").count(), 1, "{told}");
}

#[test]
fn a_file_of_coturn_s_is_known_for_one() {
    let message = "this is a configuration of coturn's: make one for Turnwire of it: \
                   turnwire import turnserver.conf --output turnwire.toml";
    for text in ["listening-port=3478\nuse-auth-secret\n", "# mine\nmin-port=50000\n"] {
        assert_eq!(problems(text).to_string(), format!("t.toml: {message}"), "{text}");
    }
    let ours = problems("[log]\nmin-port = 5").to_string();
    assert!(!ours.contains("coturn"), "{ours}");
}

#[test]
fn certificates_as_tables_are_told_the_form_that_is_right() {
    for text in ["[[tls.certificates]]\ncert = \"a\"", "[tls.certificates]\ncert = \"a\""] {
        let told = only(text);
        assert!(told.contains("certificates = [\"fullchain.pem\"] and keys = ["), "{told}");
    }
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
