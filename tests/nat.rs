//! `turnwire nat` against a server with two addresses, on a host without a NAT.

mod common;

use std::process::Command;

use common::Setup;
use serde_json::Value;

fn nat(words: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_turnwire")).arg("nat").args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_host_without_nat_is_told_so_by_a_server_with_two_addresses() {
    let server = Setup::new().listen("127.0.0.1:0").flag("--nat-alternate", "127.0.0.2:0").start();
    let uri = format!("stun:{}", server.address());
    let (code, text, error) = nat(&[&uri, "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&found["nat"], &found["second_address"]), (&false.into(), &true.into()));
    assert_eq!(found["local"], found["mapped"]);
    // Answers come from all four of the server's sockets.
    assert_eq!(found["mapping"], "endpoint-independent");
    assert_eq!(found["filtering"], "endpoint-independent");
    let (_, page, _) = nat(&[&uri]);
    assert!(page.contains("no NAT and no firewall for UDP"), "{page}");
}

#[test]
fn a_server_with_one_address_tells_as_much_as_it_can() {
    let server = Setup::new().listen("127.0.0.1:0").start();
    let (code, text, _) = nat(&[&format!("stun:{}", server.address()), "--json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &found["nat"]), (Some(0), &false.into()));
    assert_eq!((&found["mapping"], &found["filtering"]), (&Value::Null, &Value::Null));
}

#[test]
fn silence_and_what_makes_no_sense_are_said() {
    let (code, _, error) = nat(&["stun:127.0.0.1:1"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("does not answer"), "{error}");
    let (_, _, error) = nat(&["turn:127.0.0.1?transport=tcp"]);
    assert!(error.contains("by UDP"), "{error}");
    let (_, _, error) = nat(&["stun:127.0.0.1", "--lifetime", "2h"]);
    assert!(error.contains("at most 1h"), "{error}");
}
