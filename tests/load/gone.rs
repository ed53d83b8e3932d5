//! What is there when a load begins and goes away in the middle of it: a server, an allocation, descriptors.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::common::{Setup, Trust, eventually};
use super::{Run, count, server};

/// Clients that have nothing to send to any more send nothing, and that is told.
#[test]
fn a_server_that_dies_is_no_success() {
    for (words, series) in [
        ("--transport udp", "relayed_packets_total{direction=\"to_client\"}"),
        ("--transport tcp --direction up", "relayed_packets_total{direction=\"to_peer\"}"),
        ("--mode binding", "bindings_total"),
    ] {
        let server = server();
        let load = Run::begin(server.address(), words);
        eventually("something has passed", || (server.metric(series) > 10).then_some(()));
        let sockets = load.sockets();
        drop(server);
        eventually("all clients are lost", || (load.sockets() + 3 <= sockets).then_some(()));
        // It never sleeps: in this time it has looked many times for somebody who could send.
        let busy = load.cpu() + Duration::from_millis(50);
        eventually("the rest of it comes due", || (load.cpu() > busy).then_some(()));
        let run = load.interrupt();
        let report = run.json();
        assert_eq!((run.code, &report["ok"]), (Some(1), &false.into()), "{words}: {report:#}");
        assert_eq!(report["load"]["clients_lost"], 3, "{words}: {report:#}");
        assert!(count(&report["load"]["skipped"]) >= 20, "{words}: {report:#}");
    }
}

/// An allocation that an operator ends is one that its client cannot prolong.
#[test]
fn an_allocation_that_is_not_prolonged_is_no_success() {
    let short = "[turn]\ndefault_lifetime = \"4s\"\nmax_lifetime = \"4s\"";
    let server = Setup::with_local_peers().config(short).start();
    let load = Run::begin(server.address(), "--rate 100");
    let passed = "relayed_packets_total{direction=\"to_client\"}";
    eventually("something has passed", || (server.metric(passed) > 10).then_some(()));
    let mut admin = UnixStream::connect(server.admin_socket()).expect("the admin socket");
    let request = "DELETE /v1/sessions?user=alice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    admin.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let refused = || server.refusals("no_allocation", 437);
    eventually("a Refresh is refused", || (refused() > 0).then_some(()));
    let run = load.interrupt();
    let report = run.json();
    assert_eq!((run.code, &report["ok"]), (Some(1), &false.into()), "{report:#}");
    assert!(count(&report["load"]["not_prolonged"]) >= 1, "{report:#}");
    assert_eq!(report["load"]["clients_lost"], 0, "{report:#}");
}

#[test]
fn a_load_that_cannot_go_on_gives_everything_back() {
    let server = server();
    let load = Run::begin(server.address(), "--mode churn --rate max");
    let made = || server.metric("allocations_total");
    eventually("cycles go round", || (made() > 20).then_some(()));
    load.starve();
    let run = load.wait();
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(run.stderr.contains("Too many open files"), "{}", run.stderr);
    assert_eq!(server.live(), 0, "everything was given back");
}

#[test]
fn handshakes_for_which_there_is_no_descriptor_are_not_begun() {
    let trust = Trust::new();
    let server = Setup::with_local_peers().certificate(&trust).start();
    let load = Run::begin(server.address(), "--handshakes 200");
    let passed = "relayed_packets_total{direction=\"to_client\"}";
    eventually("something has passed", || (server.metric(passed) > 10).then_some(()));
    load.starve();
    let busy = load.cpu() + Duration::from_millis(50);
    eventually("some come due", || (load.cpu() > busy).then_some(()));
    let run = load.interrupt();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = run.json();
    let handshakes = &report["load"]["handshakes"];
    assert!(count(&handshakes["skipped"]) > 0, "{report:#}");
    assert_eq!(handshakes["failed"], 0, "{report:#}");
    assert_eq!(server.live(), 0, "everything was given back");
}
