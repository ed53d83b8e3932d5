#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::path::PathBuf;

use super::common::{Client, Credential};
use super::process::{Scratch, Server};

/// A server whose configuration is a file.
pub(crate) struct Configured {
    pub(crate) server: Server,
    pub(crate) file: PathBuf,
}

impl Configured {
    pub(crate) fn start(text: &str) -> Self {
        let scratch = Scratch::new();
        let file = scratch.path("server.toml");
        fs::write(&file, text).expect("a file");
        let flags = ["--config", file.to_str().expect("UTF-8"), "--workers", "2"];
        Self { server: Server::start_in(scratch, &flags), file }
    }

    /// The same with the listeners that the file names.
    pub(crate) fn listening(text: &str) -> Self {
        Self::of_workers(text, "2")
    }

    /// The same with so many workers.
    pub(crate) fn of_workers(text: &str, workers: &str) -> Self {
        let scratch = Scratch::new();
        let file = scratch.path("server.toml");
        fs::write(&file, text).expect("a file");
        let flags = ["--config", file.to_str().expect("UTF-8"), "--workers", workers];
        let mut server = Server::spawn_on(scratch, &[], &flags, &[]);
        server.told("READY=1");
        Self { server, file }
    }

    /// Writes another configuration and has it read; what the log says of it.
    pub(crate) fn reload(&mut self, text: &str) -> serde_json::Value {
        fs::write(&self.file, text).expect("a file");
        self.server.signal("HUP");
        self.server.line_of(&["reloaded", "reload_failed"])
    }

    #[track_caller]
    pub(crate) fn accepts(&mut self, text: &str) {
        let line = self.reload(text);
        assert_eq!(line["event"], "reloaded", "{line}");
    }

    /// What it says of a configuration that it does not take.
    #[track_caller]
    pub(crate) fn refuses(&mut self, text: &str) -> String {
        let line = self.reload(text);
        assert_eq!((&line["event"], &line["level"]), (&"reload_failed".into(), &"ERROR".into()));
        line["message"].as_str().expect("a message").to_owned()
    }

    pub(crate) fn client(&self, name: &str, password: &str) -> Client {
        Client::udp_to(self.server.udp()).with(Credential::user(name, password))
    }
}
