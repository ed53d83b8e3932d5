//! The webhook.

use std::time::Instant;

use serde_json::Value;

use super::app::{App, Mood, SECRET};
use super::common::eventually;
use super::records::{books, unique};
use super::{Call, Scene};

fn ended(records: &[Value]) -> usize {
    records.iter().filter(|record| record["kind"] == "ended").count()
}

/// Waits until so many sessions have ended in the application's book.
fn wait_for(app: &App, before: &[Value], count: usize) -> Vec<Value> {
    eventually("all have ended", || {
        let all = unique(before.iter().cloned().chain(app.records()).collect());
        (ended(&all) == count).then_some(all)
    })
}

#[test]
fn an_application_that_is_killed_and_comes_back_misses_nothing() {
    let app = App::new();
    let config = app.config();
    let scene = Scene::start(&config);
    let mut counted = Vec::new();
    for round in 0..5 {
        let mut call = scene.call();
        call.talk(round * 100, 7);
        counted.push(call.hang_up());
    }
    eventually("some have come", || (ended(&app.records()) > 0).then_some(()));
    let mut long = scene.call();
    long.talk(400, 300);
    let (address, mut had) = app.kill();
    for round in 0..5 {
        let mut call = scene.call();
        call.talk(round * 10, 70);
        counted.push(call.hang_up());
    }
    long.talk(40, 30);
    eventually("it is tried", || {
        (scene.metric("events_retries_total{sink=\"webhook\"}") > 0).then_some(())
    });
    eventually("records wait", || {
        (scene.metric("events_waiting_bytes{sink=\"webhook\"}") > 0).then_some(())
    });
    let app = App::at(address);
    // Taken, and not answered: they come again, and are seen to be the same.
    app.be(Mood::Rude);
    eventually("it has taken something", || (!app.records().is_empty()).then_some(()));
    app.be(Mood::Busy);
    let asked = app.requests();
    eventually("it is asked again", || (app.requests() > asked).then_some(()));
    app.be(Mood::Good);
    counted.push(long.hang_up());
    counted.sort();
    let all = wait_for(&app, &had, counted.len());
    assert_eq!(books(&all), counted);
    had.extend(app.records());
    assert!(had.len() > all.len(), "what was not answered has come twice");
    eventually("nothing waits", || {
        (scene.metric("events_waiting_bytes{sink=\"webhook\"}") == 0).then_some(())
    });
    assert_eq!(scene.metric("events_dropped_total{sink=\"webhook\"}"), 0);
}

#[test]
fn a_long_answer_to_what_was_taken_does_not_have_it_come_again() {
    let app = App::new();
    app.be(Mood::Chatty);
    let scene = Scene::start(&app.config());
    let mut counted: Vec<_> = (0..3).map(|_| scene.call().hang_up()).collect();
    counted.sort();
    assert_eq!(books(&wait_for(&app, &[], counted.len())), counted);
    eventually("nothing waits", || {
        (scene.metric("events_waiting_bytes{sink=\"webhook\"}") == 0).then_some(())
    });
    let all = app.records();
    assert_eq!(unique(all.clone()).len(), all.len(), "some have come twice");
    assert_eq!(scene.metric("events_retries_total{sink=\"webhook\"}"), 0);
}

#[test]
fn what_a_stop_leaves_is_told_after_the_next_start() {
    let app = App::new();
    let config = app.config();
    let (address, _) = app.kill();
    let scene = Scene::start(&config);
    let mut calls: Vec<_> = (0..10).map(|_| scene.call()).collect();
    calls.iter_mut().for_each(|call| call.talk(5, 6));
    let mut counted: Vec<_> = calls.iter().map(Call::sums).collect();
    let scene = scene.restart(&config);
    let mut call = scene.call();
    call.talk(1, 2);
    counted.push(call.hang_up());
    let app = App::at(address);
    counted.sort();
    assert_eq!(books(&wait_for(&app, &[], 11)), counted);
}

#[test]
fn a_killed_server_has_told_all_but_the_last_interval() {
    let app = App::new();
    let config = app.config();
    let (address, _) = app.kill();
    let scene = Scene::start(&config);
    let mut call = scene.call();
    call.talk(123, 45);
    let spool = scene.server.scratch.path("state/events");
    eventually("it is in the spool", || {
        let mut files = std::fs::read_dir(&spool).unwrap().filter_map(Result::ok);
        let told = |text: String| text.contains("\"to_peer_bytes\":123");
        files.any(|file| std::fs::read_to_string(file.path()).is_ok_and(told)).then_some(())
    });
    let scratch = scene.kill();
    let app = App::at(address);
    let _scene = Scene::start_in(scratch, &config);
    let told = eventually("what it had told has come", || {
        let records = app.records();
        records.into_iter().find(|record| record["total"]["to_peer_bytes"] == 123)
    });
    assert_eq!((&told["total"]["to_client_bytes"], &told["kind"]), (&45.into(), &"usage".into()));
}

#[test]
fn an_application_that_does_not_answer_holds_up_no_packet_and_no_stop() {
    let app = App::new();
    app.be(Mood::Silent);
    let scene = Scene::start(&app.config_of(1));
    let mut call = scene.call();
    eventually("it is told", || (app.requests() > 0).then_some(()));
    for round in 0..2000 {
        call.talk(round % 900, 20);
    }
    let drops = ["no_allocation", "no_channel", "no_permission"];
    for reason in drops {
        assert_eq!(scene.metric(&format!("drops_total{{reason=\"{reason}\"}}")), 0);
    }
    let began = Instant::now();
    let mut server = scene.server;
    server.signal("TERM");
    assert_eq!(server.exit(), Some(0));
    assert!(began.elapsed() < super::common::PATIENCE, "{:?}", began.elapsed());
    assert_eq!(server.of("events_left").len(), 1);
}

#[test]
fn neither_the_secret_nor_the_token_is_in_the_log() {
    let app = App::new();
    let config = app.config();
    let (address, _) = app.kill();
    let mut scene = Scene::start(&config);
    scene.call().hang_up();
    let line = scene.server.line("events_undelivered");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains(&format!("http://{address}/hook: no connection")), "{message}");
    let wrong = scene.reload(&config.replace("timeout = 30", "timeout = \"x\""));
    assert_eq!(wrong["event"], "reload_failed");
    scene.server.signal("TERM");
    for line in scene.server.rest() {
        let line = line.to_string();
        assert!(!line.contains("hush") && !line.contains(SECRET), "{line}");
    }
}
