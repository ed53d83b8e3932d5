//! What may be wrong and may be meant is told with its place, and keeps nobody from starting.

use std::process::Command;

use super::TempFile;
use turnwire::config::examine;

/// What is remarked on a text, as `LINE:COLUMN: what`.
fn remarks(text: &str) -> Vec<String> {
    let file = TempFile::new(text);
    let examined = examine(&file.flags());
    assert!(examined.config.is_ok(), "{text}: {:?}", examined.config);
    let line = |problem: &turnwire::config::Problem| {
        let text = problem.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches(&file.name()).trim_start_matches(':').to_owned()
    };
    examined.remarks.iter().map(line).collect()
}

#[track_caller]
fn assert_remark(text: &str, expected: &str) {
    let remarks = remarks(text);
    assert_eq!(remarks.len(), 1, "{text}: {remarks:?}");
    assert!(remarks[0].starts_with(expected), "{remarks:?}");
}

#[test]
fn rules_about_peers_that_never_decide_are_named() {
    assert_remark(
        "[peers]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]",
        "2:10: peers.allow: 10.0.0.0/8 is never allowed, since it is denied too",
    );
    assert_remark(
        "[peers]\nallow = [\"10.0.0.0/8\", \"192.0.2.1\", \"10.0.0.0/8\"]",
        "2:37: peers.allow: 10.0.0.0/8 is there twice",
    );
    assert_remark(
        "[peers]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/9\", \"10.128.0.0/10\", \"10.192.0.0/10\"]",
        "2:10: peers.allow: 10.0.0.0/8 never decides: narrower rules cover all of it",
    );
    assert_remark(
        "[peers]\ndeny = [\"2001:db8::/32\", \"2001:db8:1::/48\"]",
        "2:26: peers.deny: 2001:db8:1::/48 changes nothing: 2001:db8::/32 has the same in deny",
    );
}

#[test]
fn rules_that_decide_are_not() {
    for rules in [
        "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.1.0.0/16\"]",
        "allow = [\"10.0.0.0/8\", \"10.1.2.0/24\"]\ndeny = [\"10.1.0.0/16\"]",
        "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/9\", \"10.128.0.0/10\"]",
        "allow = [\"0.0.0.0/0\"]\ndeny = [\"::/0\"]",
        "deny = [\"0.0.0.0/0\"]\nallow = [\"192.0.2.1\", \"192.0.2.2\"]",
    ] {
        assert_eq!(remarks(&format!("[peers]\n{rules}")), [""; 0], "{rules}");
    }
}

#[test]
fn ports_that_are_too_few_for_the_limit_are_counted() {
    let text = |more: &str| {
        format!("[relay]\nports = \"50000-50099\"\n{more}[limits]\nallocations = 150\n")
    };
    assert_remark(&text(""), "2:9: relay.ports: 100 ports are too few for 150 allocations");
    assert_eq!(remarks(&text("addresses = [\"8.8.8.8\", \"8.8.4.4\"]\n")), [""; 0]);
    assert_eq!(remarks(&text("").replace("150", "100")), [""; 0]);
}

#[test]
fn names_that_no_client_can_ask_for_are_doubted() {
    let realm = |more: &str| format!("[[realm]]\nname = \"r\"\nsecrets = [\"s\"]\n{more}\n");
    assert_remark(
        &realm("server_names = [\"turn.example.org\"]"),
        "4:17: realm.server_names: no client says a name without TLS, and there is no certificate for it",
    );
    assert_eq!(remarks(&realm("listeners = [\"0.0.0.0:3478\"]")), [""; 0]);
    let file = TempFile::new("");
    let certified = rcgen::generate_simple_self_signed(["turn.example.org".to_owned()]).unwrap();
    let pem = certified.cert.pem() + &certified.signing_key.serialize_pem();
    std::fs::write(file.name(), pem).unwrap();
    let tls = format!("[tls]\ncertificates = [{0:?}]\nkeys = [{0:?}]\n", file.name());
    let others = remarks(&(tls + &realm("server_names = [\"turn.example.org\"]")));
    assert!(!others.iter().any(|remark| remark.contains("server_names")), "{others:?}");
}

#[test]
fn an_address_that_is_private_outside_is_doubted_unless_all_stays_on_this_host() {
    assert_remark(
        "[relay]\nexternal = [\"192.168.1.7\"]",
        "2:13: relay.external: 192.168.1.7 is not a public address",
    );
    assert_remark(
        "[relay]\naddresses = [\"10.0.0.5\"]",
        "2:14: relay.addresses: 10.0.0.5 is not a public address, and nothing says what it is outside",
    );
    for fine in [
        "[relay]\naddresses = [\"10.0.0.5\"]\nexternal = [\"8.8.8.8\"]",
        "[relay]\naddresses = [\"10.0.0.5\"]\nexternal = [\"8.8.8.8/10.0.0.5\"]",
        "[relay]\naddresses = [\"10.0.0.5\"]\nstun_server = \"stun.example.org:3478\"",
        "[relay]\naddresses = [\"127.0.0.1\"]\n[listen]\naddresses = [\"127.0.0.1:3478\"]",
        "",
    ] {
        assert_eq!(remarks(fine), [""; 0], "{fine}");
    }
}

#[test]
fn limits_that_are_never_reached_and_redirections_to_nobody_are_named() {
    assert_remark(
        "[limits]\nallocations = 10\nallocations_per_user = 20",
        "3:24: limits.allocations_per_user: a user never gets 20 allocations",
    );
    assert_remark(
        "[limits]\nconnections = 4\npending_connections = 8",
        "3:23: limits.pending_connections: 8 is more than limits.connections (4)",
    );
    assert_remark("[redirect]\nwhen = \"always\"", "2:8: redirect.when: there is no other server");
}

/// All of them at once, warnings beside what is wrong, each with its line.
#[test]
fn check_config_tells_everything_in_one_go() {
    let text = "[listen]\naddreses = [\"0.0.0.0:3478\"]\n\
                [relay]\nports = \"50000-50009\"\nexternal = [\"10.0.0.1\"]\n\
                [tls]\ncertificates = [\"nowhere.pem\"]\n\
                [peers]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]\n\
                [limits]\nallocations = 1000\nallocations_per_user = -1\n";
    let file = TempFile::new(text);
    let run = |text: &str, strict: bool| {
        std::fs::write(&file.0, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnwire"));
        command.arg("check-config").arg(&file.0).args(strict.then_some("--strict"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = run(text, false);
    assert_eq!(code, Some(1));
    for expected in [
        ":2:1: ",
        "did you mean \"addresses\"",
        "warning: ",
        ":4:9: relay.ports: 10 ports are too few for 1000 allocations",
        ":5:13: relay.external: 10.0.0.1 is not a public address",
        ":7:17: tls.certificates: ",
        "nowhere.pem",
        ":9:10: peers.allow: 10.0.0.0/8 is never allowed",
        ":13:24: limits.allocations_per_user: ",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in\n{told}");
    }
    let doubtful = "[peers]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]\n";
    assert_eq!(run(doubtful, false).0, Some(0));
    let (code, told) = run(doubtful, true);
    assert_eq!(code, Some(1));
    assert!(told.contains("warnings count (--strict)"), "{told}");
    assert_eq!(run("", true), (Some(0), String::new()));
}
