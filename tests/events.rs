//! Records of sessions, from the outside: exact, kept, and never in anybody's way.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

#[path = "events/app.rs"]
mod app;
#[path = "events/file.rs"]
mod file;
#[path = "events/records.rs"]
mod records;
#[cfg(feature = "redis")]
#[path = "events/redis.rs"]
mod redis;
#[path = "events/webhook.rs"]
mod webhook;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Client, Credential, Peer};
use process::{Scratch, Server, get};

const CHANNEL: u16 = 0x4000;

/// A server of one worker in a directory of its own, and what it is started with again.
struct Scene {
    server: Server,
    config: PathBuf,
}

impl Scene {
    /// With this in its `[events]` section and behind.
    fn start(events: &str) -> Self {
        Self::start_in(Scratch::new(), events)
    }

    fn start_in(scratch: Scratch, events: &str) -> Self {
        let config = scratch.path("server.toml");
        fs::write(&config, text(events)).expect("a file");
        let flags = ["--config", config.to_str().expect("UTF-8"), "--workers", "2"];
        Self { server: Server::start_in(scratch, &flags), config }
    }

    /// Ends it as an operator does, and starts it again with this configuration.
    fn restart(self, events: &str) -> Self {
        Self::start_in(self.server.finish(), events)
    }

    /// Ends it without a last word, and gives its directory.
    fn kill(mut self) -> Scratch {
        self.server.signal("KILL");
        self.server.exit();
        std::mem::replace(&mut self.server.scratch, Scratch(PathBuf::new()))
    }

    /// Has it read another configuration.
    fn reload(&mut self, events: &str) -> serde_json::Value {
        fs::write(&self.config, text(events)).expect("a file");
        self.server.signal("HUP");
        self.server.line_of(&["reloaded", "reload_failed"])
    }

    fn file(&self) -> PathBuf {
        self.server.scratch.path("events.jsonl")
    }

    fn client(&self) -> Client {
        Client::udp_to(self.server.udp()).with(Credential::user("alice", "wonderland"))
    }

    fn call(&self) -> Call {
        let (mut client, peer) = (self.client(), Peer::new());
        let relayed = client.allocate();
        client.bind(CHANNEL, peer.address);
        Call { client, peer, relayed, to_peer: 0, to_client: 0 }
    }

    fn metric(&self, series: &str) -> u64 {
        let (status, page) = get(self.server.admin(), "/metrics");
        assert_eq!(status, 200);
        let lines = page.lines().filter_map(|line| line.strip_prefix("turnwire_"));
        let value = lines.filter_map(|line| line.strip_prefix(series)).next();
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{series}"))
    }
}

fn text(events: &str) -> String {
    format!(
        "[auth]\nusers.alice = \"wonderland\"\n[peers]\nallow = [\"127.0.0.0/8\"]\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[events]\n{events}"
    )
}

/// With a file, in the server's own directory, and a record each second.
const FILE: &str = "usage_interval = 1\n[events.file]\npath = \"events.jsonl\"\n";

/// A client with a peer, who count what arrives.
struct Call {
    client: Client,
    peer: Peer,
    relayed: std::net::SocketAddr,
    to_peer: u64,
    to_client: u64,
}

impl Call {
    /// Some bytes there and others back; what has arrived is counted.
    fn talk(&mut self, there: usize, back: usize) {
        self.client.channel(CHANNEL, &vec![1; there]);
        self.to_peer += self.peer.payload().len() as u64;
        self.peer.send(self.relayed, &vec![2; back]);
        self.to_client += self.client.channel_data().1.len() as u64;
    }

    /// Ends the allocation; the name of the client, by which its records are found, and its bytes there and back.
    fn hang_up(mut self) -> (String, u64, u64) {
        assert_eq!(self.client.refresh(0).code(), 0);
        self.sums()
    }

    fn sums(&self) -> (String, u64, u64) {
        (self.client.local().to_string(), self.to_peer, self.to_client)
    }
}

/// The whole lines of a file that may not be there yet.
fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}
