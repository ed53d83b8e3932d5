//! The configuration: the reference file is true and complete, and each mistake is told with its
//! place and what would be right.

#[path = "config/damage.rs"]
mod damage;
#[path = "config/doubts.rs"]
mod doubts;
#[path = "config/endpoint.rs"]
mod endpoint;
#[path = "config/everything.rs"]
mod everything;
#[path = "config/flags.rs"]
mod flags;
#[path = "config/manual.rs"]
mod manual;
#[path = "config/mistakes.rs"]
mod mistakes;
#[path = "config/places.rs"]
mod places;
#[path = "config/realms.rs"]
mod realms;
#[path = "config/secrets.rs"]
mod secrets;
#[path = "config/stores.rs"]
mod stores;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use turnwire::auth::{OnExpiry, OnRevocation, RestDigest, Secret};
use turnwire::config::{
    Config, External, Flags, Format, Level, OtherServer, Problem, Problems, Web, WebKey,
    known_keys, load, parse,
};
use turnwire::http::Url;
use turnwire::net::Endpoint;
use turnwire::store;
use turnwire::tls::{Files, Version};
use turnwire::turn;
use turnwire::worker::{RecordKind, RecordKinds, proxy};

const REFERENCE: &str = include_str!("../config/turnwire.toml");

/// A file that goes away with the test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(text: impl AsRef<[u8]>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("turnwire-config-{}-{number}.toml", getrandom::u32().unwrap());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }

    fn flags(&self) -> Flags {
        Flags { config: Some(self.0.clone()), ..Flags::default() }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn problems(text: &str) -> Problems {
    parse(text, "t.toml").expect_err(text)
}

/// The only problem, as `line:column: what: hint`.
fn only(text: &str) -> String {
    let problems = problems(text);
    let [problem] = problems.as_slice() else { panic!("not one problem:\n{problems}") };
    headline(problem).replace("t.toml:", "")
}

fn headline(problem: &Problem) -> String {
    problem.to_string().lines().next().unwrap().to_owned()
}

fn flag_problem(flags: &Flags) -> String {
    load(flags).unwrap_err().to_string()
}

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

fn same(a: &Config, b: &Config) -> bool {
    // Neither has a secret in it, which `Debug` would not show.
    assert!(a.auth.users.is_empty() && a.auth.secrets.is_empty());
    assert!(b.auth.users.is_empty() && b.auth.secrets.is_empty());
    format!("{a:?}") == format!("{b:?}")
}

// The reference file.

#[test]
fn an_empty_file_is_fine_and_means_the_defaults() {
    let config = parse("", "t.toml").unwrap();
    assert!(same(&config, &Config::default()));
    assert!(same(&config, &load(&Flags::default()).unwrap()));
    let listeners: Vec<_> = config.worker.listeners.iter().map(ToString::to_string).collect();
    assert_eq!(listeners, ["0.0.0.0:3478", "[::]:3478"]);
}

#[test]
fn the_reference_says_the_real_defaults() {
    let reference = parse(REFERENCE, "turnwire.toml").unwrap_or_else(|it| panic!("{it}"));
    let empty = parse("", "t.toml").unwrap();
    assert_eq!(format!("{reference:#?}"), format!("{empty:#?}"));
}

#[test]
fn the_reference_has_every_key_and_each_default_uncommented() {
    let known: BTreeSet<String> = known_keys().map(str::to_owned).collect();
    let (active, examples) = keys_of_reference();
    let all: BTreeSet<String> = active.union(&examples).cloned().collect();
    assert_eq!(all, known);
    // A realm has no defaults but those of [auth] and [limits].
    let settled = |key: &&String| !key.starts_with("realm.");
    let without_default: Vec<_> = all.difference(&active).filter(settled).collect();
    assert_eq!(
        without_default,
        [
            "admin.listen",
            "admin.tokens_file",
            "auth.secrets_file",
            "auth.tokens.keys",
            "auth.tokens.server_name",
            "auth.users",
            "events.file.path",
            "events.redis.url",
            "events.spool",
            "events.webhook.ca_file",
            "events.webhook.secret",
            "events.webhook.secret_file",
            "events.webhook.url",
            "https.backend",
            "process.group",
            "process.ready_file",
            "process.state_directory",
            "process.user",
            "redirect.credentials",
            "redirect.servers",
            "relay.stun_server",
            "stores.ask",
            "web.keys"
        ]
    );
}

/// The keys that stand in the reference, and those that stand in its examples.
fn keys_of_reference() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut active, mut examples) = (BTreeSet::new(), BTreeSet::new());
    let mut section = "";
    for line in REFERENCE.lines() {
        // Of a table that may be there several times, all is an example.
        let realm = uncommented(line).strip_prefix("[[realm]").or(line.strip_prefix("#[realm."));
        if let Some(header) = line.strip_prefix('[').or(realm) {
            section = header.strip_suffix(']').unwrap();
            section = match realm {
                Some("]") => "realm",
                Some(_) => uncommented(line).trim_matches(['[', ']']),
                None => section,
            };
        } else if let Some((key, _)) = uncommented(line).split_once(" = ") {
            let path = match section {
                "auth.users" | "auth.tokens.keys" | "redirect.servers" | "stores.ask"
                | "web.keys" | "realm.users" | "realm.tokens.keys" => section.to_owned(),
                section => format!("{section}.{key}"),
            };
            if line.starts_with('#') { &mut examples } else { &mut active }.insert(path);
        }
    }
    (active, examples)
}

/// The line, if it is an example; prose has a space behind the `#` and becomes empty.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(prose) if prose.is_empty() || prose.starts_with(' ') => "",
        Some(example) => example,
        None => line,
    }
}

#[test]
fn the_examples_of_the_reference_are_right() {
    let mut lines: Vec<String> = Vec::new();
    for line in REFERENCE.lines() {
        // An example takes the place of the default right above it.
        if let (true, Some((key, _))) = (line.starts_with('#'), uncommented(line).split_once(" = "))
            && lines.last().is_some_and(|last| last.starts_with(&format!("{key} = ")))
        {
            lines.pop();
        }
        lines.push(uncommented(line).to_owned());
    }
    if !cfg!(feature = "dtls") {
        lines.retain(|line| !line.starts_with("dtls = "));
    }
    if !cfg!(feature = "redis") {
        lines.retain(|line| !line.starts_with("url = \"redis"));
    }
    let config = parse(&lines.join("\n"), "turnwire.toml").unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(config.worker.dtls_listeners.len(), if cfg!(feature = "dtls") { 2 } else { 0 });
    assert_eq!(config.auth.users.len(), 2);
    assert_eq!(config.auth.secrets.len(), 2);
    assert_eq!(config.auth.tokens.keys.len(), 2);
    assert_eq!(config.relay.external.len(), 2);
    assert_eq!(config.peers.len(), 4);
    assert_eq!(config.tls.certificates.len(), 1);
    let backend = Endpoint::Tcp("127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.worker.web.backend, Some(backend));
    assert_eq!(config.admin, Some("127.0.0.1:9641".parse().unwrap()));
    assert_eq!(config.relay.stun_server.as_deref(), Some("stun.example.org:3478"));
}
