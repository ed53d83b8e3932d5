//! The file.

use std::fs;
use std::os::unix::fs::symlink;

use super::common::{Client, Credential, eventually};
use super::records::books;
use super::{FILE, Scene, lines};

#[test]
fn what_clients_count_is_what_the_records_and_the_metrics_say() {
    let scene = Scene::start(FILE);
    let mut calls: Vec<_> = (0..3).map(|_| scene.call()).collect();
    let mut wrong = Client::udp_to(scene.server.udp()).with(Credential::user("alice", "guess"));
    assert_eq!(wrong.try_allocate(|_| ()).code(), 401);
    for round in 0..40 {
        for (place, call) in calls.iter_mut().enumerate() {
            call.talk(round * 7 + place, 100 + round);
        }
    }
    // More comes behind a record of what was before.
    let usage = |lines: &[serde_json::Value]| lines.iter().any(|line| line["kind"] == "usage");
    eventually("usage is told", || usage(&lines(&scene.file())).then_some(()));
    calls.iter_mut().for_each(|call| call.talk(1000, 1));
    let mut counted: Vec<_> = calls.into_iter().map(super::Call::hang_up).collect();
    counted.sort();
    let told = eventually("all have ended", || {
        let told = lines(&scene.file());
        (told.iter().filter(|line| line["kind"] == "ended").count() == 3).then_some(told)
    });
    assert_eq!(books(&told), counted);
    let sum = |pick: fn(&(String, u64, u64)) -> u64| counted.iter().map(pick).sum::<u64>();
    let relayed = |way: &str| scene.metric(&format!("relayed_bytes_total{{direction=\"{way}\"}}"));
    assert_eq!(relayed("to_peer"), sum(|(_, there, _)| *there));
    assert_eq!(relayed("to_client"), sum(|(_, _, back)| *back));

    let began = told.iter().find(|line| line["kind"] == "began").unwrap();
    assert_eq!((&began["user"], &began["transport"]), (&"alice".into(), &"udp".into()));
    assert_eq!(began["server"], scene.server.udp().to_string());
    assert!(began["lifetime"] == 600 && began["relayed"].as_array().unwrap().len() == 1, "{began}");
    let refused: Vec<_> = told.iter().filter(|line| line["kind"] == "refused").collect();
    assert_eq!(refused.len(), 1, "a challenge is no refusal: {refused:?}");
    assert_eq!(
        (&refused[0]["code"], &refused[0]["cause"]),
        (&401.into(), &"wrong_password".into())
    );
    eventually("what is written is counted", || {
        (scene.metric("events_sent_total{sink=\"file\"}") == told.len() as u64).then_some(())
    });
}

#[test]
fn a_clean_stop_loses_nothing() {
    let scene = Scene::start(FILE);
    let mut calls: Vec<_> = (0..40).map(|_| scene.call()).collect();
    for (place, call) in calls.iter_mut().enumerate() {
        call.talk(place + 1, 2 * place);
    }
    let file = scene.file();
    let mut counted: Vec<_> = calls.iter().map(super::Call::sums).collect();
    counted.sort();
    let scratch = scene.server.finish();
    let told = lines(&file);
    assert_eq!(books(&told), counted);
    assert!(told.iter().all(|line| line["kind"] != "ended" || line["reason"] == "shutdown"));
    // What comes after it goes behind it.
    let scene = Scene::start_in(scratch, FILE);
    let call = scene.call();
    counted.push(call.sums());
    counted.sort();
    let _kept = scene.server.finish();
    assert_eq!(books(&lines(&file)), counted);
}

#[test]
fn the_last_words_of_a_killed_server_are_at_most_an_interval_old() {
    let scene = Scene::start(FILE);
    let mut call = scene.call();
    call.talk(300, 200);
    let told = |there: u64| {
        eventually("usage is told", || {
            let lines = lines(&scene.file());
            lines.into_iter().rev().find(|line| line["total"]["to_peer_bytes"] == there)
        })
    };
    assert_eq!(told(300)["total"]["to_client_bytes"], 200);
    call.talk(50, 0);
    told(350);
    call.talk(1, 0);
    let file = scene.file();
    let scratch = scene.kill();
    let last = lines(&file).pop().unwrap();
    assert!(last["total"]["to_peer_bytes"].as_u64().unwrap() >= 350, "{last}");
    // A line that it has left half is ended, and those behind it are whole.
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"v\":1,\"kind\":");
    fs::write(&file, &text).unwrap();
    let scene = Scene::start_in(scratch, FILE);
    let call = scene.call().hang_up();
    eventually("the next session is told", || {
        let now = fs::read_to_string(&file).unwrap();
        let rest = now.strip_prefix(&*text)?.strip_prefix('\n')?;
        (rest.contains(&call.0) && rest.contains("\"ended\"")).then_some(())
    });
}

#[test]
fn a_file_that_is_moved_away_is_followed_by_another() {
    let mut scene = Scene::start(FILE);
    let first = scene.call().hang_up();
    let ended = |path: &std::path::Path| lines(path).iter().any(|line| line["kind"] == "ended");
    eventually("the first is told", || ended(&scene.file()).then_some(()));
    let moved = scene.server.scratch.path("events.jsonl.1");
    fs::rename(scene.file(), &moved).unwrap();
    assert_eq!(scene.reload(FILE)["event"], "reloaded");
    eventually("there is a new one", || scene.file().exists().then_some(()));
    let second = scene.call().hang_up();
    eventually("the second is told", || ended(&scene.file()).then_some(()));
    assert_eq!(books(&lines(&moved)), [first]);
    assert_eq!(books(&lines(&scene.file())), [second]);
}

#[test]
fn a_full_disk_is_said_and_what_waits_is_written_when_there_is_room() {
    let scratch = super::process::Scratch::new();
    let file = scratch.path("events.jsonl");
    symlink("/dev/full", &file).unwrap();
    let mut scene = Scene::start_in(scratch, FILE);
    let mut call = scene.call();
    let line = scene.server.line("events_file");
    assert!(line["message"].as_str().unwrap().contains("No space left"), "{line}");
    // Nobody else is held up.
    (0..100).for_each(|_| call.talk(10, 10));
    let counted = call.hang_up();
    assert!(scene.metric("events_retries_total{sink=\"file\"}") > 0);
    assert_eq!(scene.metric("events_sent_total{sink=\"file\"}"), 0);
    fs::remove_file(&file).unwrap();
    assert_eq!(scene.reload(FILE)["event"], "reloaded");
    let told = eventually("what has waited is written", || {
        Some(lines(&file)).filter(|told| told.iter().any(|line| line["kind"] == "ended"))
    });
    assert_eq!(books(&told), [counted]);
}

#[test]
fn sinks_come_and_go_with_a_reload_and_a_bad_one_changes_nothing() {
    let mut scene = Scene::start("");
    let call = scene.call();
    let refused = scene.reload("[events.file]\npath = \"/no/such/directory/e\"");
    assert_eq!(refused["event"], "reload_failed");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("nothing was changed: events.file.path \"/no/such"), "{message}");
    assert_eq!(scene.reload(FILE)["event"], "reloaded");
    // A session that was there before is told from now on, with all that it has relayed.
    let told = eventually("usage is told", || lines(&scene.file()).pop());
    assert_eq!((&told["kind"], &told["sequence"]), (&"usage".into(), &1.into()));
    assert_eq!(scene.reload("")["event"], "reloaded");
    let before = lines(&scene.file()).len();
    call.hang_up();
    scene.call().hang_up();
    assert_eq!(scene.reload(FILE)["event"], "reloaded");
    let counted = scene.call().hang_up();
    let told = eventually("the last is told", || {
        Some(lines(&scene.file())).filter(|told| told.last().unwrap()["kind"] == "ended")
    });
    let more = &told[before..];
    assert!(more.iter().all(|line| line["client"] == counted.0), "{more:?}");
}

#[test]
fn only_the_kinds_that_are_wanted_are_told() {
    let kinds = "kinds = [\"began\"]\nusage_interval = 1\n[events.file]\npath = \"events.jsonl\"\nkinds = [\"ended\"]";
    let scene = Scene::start(kinds);
    scene.call().hang_up();
    let file = scene.file();
    eventually("it is told", || (!lines(&file).is_empty()).then_some(()));
    let told = lines(&file);
    assert!(told.len() == 1 && told[0]["kind"] == "ended", "{told:?}");
}
