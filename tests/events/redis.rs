//! The stream in Redis, in front of the real one.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Scene;
use super::common::eventually;
use super::process::Scratch;
use super::records::{books, unique};

const PASSWORD: &str = "hunter2-of-redis";

/// A Redis that keeps what it has got, also when it is killed.
struct Redis {
    scratch: Scratch,
    child: Child,
}

impl Redis {
    fn start() -> Self {
        Self::start_in(Scratch::new())
    }

    fn start_in(scratch: Scratch) -> Self {
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always", "--requirepass", PASSWORD, "--unixsocket"])
            .arg(scratch.path("redis.sock"))
            .arg("--dir")
            .arg(&scratch.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server, which tests/run install brings");
        let redis = Self { scratch, child };
        eventually("Redis answers", || redis.ask(&["PING"]).map(drop));
        redis
    }

    fn socket(&self) -> PathBuf {
        self.scratch.path("redis.sock")
    }

    /// What Redis says, as redis-cli has it in JSON.
    fn ask(&self, what: &[&str]) -> Option<Value> {
        let said = Command::new("redis-cli")
            .args(["--no-auth-warning", "--json", "-a", PASSWORD, "-s"])
            .arg(self.socket())
            .args(what)
            .output()
            .expect("redis-cli");
        serde_json::from_slice(&said.stdout).ok().filter(|_| said.status.success())
    }

    fn records(&self) -> Vec<Value> {
        let entries = self.ask(&["XRANGE", "books", "-", "+"]).expect("a stream");
        let record = |entry: &Value| {
            let fields = &entry[1];
            assert_eq!((&fields[0], &fields[2]), (&"id".into(), &"kind".into()));
            let record: Value = serde_json::from_str(fields[5].as_str().unwrap()).unwrap();
            assert_eq!((&fields[1], &fields[3]), (&record["id"], &record["kind"]));
            record
        };
        entries.as_array().unwrap().iter().map(record).collect()
    }

    /// Waits until so many sessions have ended in its book.
    fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually("all have ended", || {
            let all = unique(self.records());
            (all.iter().filter(|it| it["kind"] == "ended").count() == count).then_some(all)
        })
    }

    fn kill(mut self) -> Scratch {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = fs::remove_file(self.socket());
        std::mem::replace(&mut self.scratch, Scratch(PathBuf::new()))
    }

    fn config(&self) -> String {
        format!(
            "usage_interval = 1\n[events.redis]\nurl = \"redis+unix://{}?db=0&pass={PASSWORD}\"\nstream = \"books\"\n",
            self.socket().display()
        )
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_redis_that_is_killed_and_comes_back_misses_nothing() {
    let redis = Redis::start();
    let mut scene = Scene::start(&redis.config());
    let mut counted = Vec::new();
    for round in 0..5 {
        let mut call = scene.call();
        call.talk(round * 11, 5);
        counted.push(call.hang_up());
    }
    redis.wait_for(5);
    let mut long = scene.call();
    long.talk(100, 200);
    let scratch = redis.kill();
    long.talk(10, 20);
    for _ in 0..5 {
        counted.push(scene.call().hang_up());
    }
    let line = scene.server.line("events_undelivered");
    assert!(!line.to_string().contains(PASSWORD), "{line}");
    let redis = Redis::start_in(scratch);
    long.talk(1, 2);
    counted.push(long.hang_up());
    counted.sort();
    assert_eq!(books(&redis.wait_for(11)), counted);
    // A stop brings what is left.
    let call = scene.call().sums();
    scene.server.finish();
    counted.push(call);
    counted.sort();
    assert_eq!(books(&redis.wait_for(12)), counted);
}

#[test]
fn the_stream_is_kept_short() {
    let redis = Redis::start();
    let scene = Scene::start(&format!("{}max_length = 10\n", redis.config()));
    for _ in 0..150 {
        scene.call().hang_up();
    }
    eventually("all have come", || {
        (scene.metric("events_sent_total{sink=\"redis\"}") >= 300).then_some(())
    });
    // "About": Redis cuts off whole blocks of a hundred.
    let length = redis.ask(&["XLEN", "books"]).and_then(|it| it.as_u64()).unwrap();
    assert!(length < 250, "{length}");
}
