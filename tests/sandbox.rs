//! What the built server is kept to once it serves, and what it says when somebody wants more of it.

mod common;
#[path = "process/server.rs"]
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{Authority, Client, Credential};
use server::{Scratch, Server};

/// A field of every thread's status, as the kernel tells it.
fn threads(server: &Server, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    tasks.map(|task| of(task.unwrap())).collect()
}

fn start(text: &str) -> Server {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, text).unwrap();
    Server::start_in(scratch, &["--config", file.to_str().unwrap()])
}

const USERS: &str = "[auth.users]\nalice = \"wonder\"\n";

#[test]
fn every_thread_is_kept_to_the_system_calls_of_a_server_and_the_log_says_so() {
    let mut server = start(USERS);
    let told = server.line("sandbox");
    assert_eq!(told["level"], "INFO", "{told}");
    assert!(told["message"].as_str().unwrap().contains("Landlock (ABI "), "{told}");
    let modes = threads(&server, "Seccomp");
    assert!(modes.len() >= 3 && modes.iter().all(|mode| mode == "2"), "{modes:?}");
    assert!(threads(&server, "NoNewPrivs").iter().all(|set| set == "1"));
    let mut client = Client::udp_to(server.udp()).with(Credential::user("alice", "wonder"));
    client.allocate();
    assert_eq!(client.refresh(0).code(), 0);
}

#[test]
fn it_can_be_switched_off() {
    let mut server = start(&format!("{USERS}[process]\nsandbox = false\n"));
    assert_eq!(server.line("sandbox")["message"], "no sandbox: process.sandbox is off");
    assert!(threads(&server, "Seccomp").iter().all(|mode| mode == "0"));
}

#[test]
fn a_reload_reads_new_files_beside_the_old_ones_and_says_why_it_cannot_elsewhere() {
    let elsewhere = Scratch::new();
    Authority::new("authority").issue("turn.example.org", 30).put(&elsewhere.0);
    let mut server = start(USERS);
    let file = server.scratch.path("server.toml");
    let tls = |directory: &std::path::Path| {
        let [chain, key] = ["chain.pem", "key.pem"].map(|name| directory.join(name));
        format!("{USERS}[tls]\ncertificates = [{chain:?}]\nkeys = [{key:?}]\n")
    };
    // Put in its place, as careful editors do.
    let replace = |text: String| {
        let new = file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    replace(tls(&elsewhere.0));
    server.signal("HUP");
    let told = server.line_of(&["reload_failed", "reloaded"]);
    let words = told["message"].as_str().unwrap();
    assert_eq!(told["event"], "reload_failed", "{told}");
    assert!(words.contains("sandbox") && words.contains("restart"), "{words}");
    // A file of this process's own, which nobody else may read, is kept from it by nothing else.
    let secret = elsewhere.path("secret");
    fs::write(&secret, "north-sea\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    replace(format!("[auth]\nsecrets_file = {secret:?}\n{USERS}"));
    server.signal("HUP");
    let told = server.line_of(&["reload_failed", "reloaded"]);
    let words = told["message"].as_str().unwrap();
    assert_eq!(told["event"], "reload_failed", "{told}");
    assert!(words.contains("sandbox") && words.contains("restart"), "{words}");
    let here = server.scratch.0.join("certificates");
    fs::create_dir(&here).unwrap();
    Authority::new("authority").issue("turn.example.org", 30).put(&here);
    replace(tls(&here));
    server.signal("HUP");
    let told = server.line_of(&["reload_failed", "reloaded"]);
    assert_eq!(told["event"], "reloaded", "{told}");
}

#[test]
fn every_file_with_secrets_is_read_again_wherever_it_is() {
    let places = [(); 4].map(|()| Scratch::new());
    let [shared, tenants, token, key] = places.each_ref().map(|place| place.path("secret"));
    let write = |word: &str| {
        for file in [&shared, &tenants, &token, &key] {
            fs::write(file, format!("{word}-{word}-{word}\n")).unwrap();
        }
    };
    write("first");
    let mut server = start(&format!(
        "{USERS}[auth]\nsecrets_file = {shared:?}\n[admin]\ntokens_file = {token:?}\n[web.keys]\none = {{ secret_file = {key:?} }}\n\
         [[realm]]\nname = \"tenant.example\"\nsecrets_file = {tenants:?}\n"
    ));
    write("second");
    server.signal("HUP");
    let told = server.line_of(&["reload_failed", "reloaded"]);
    assert_eq!(told["event"], "reloaded", "{told}");
}

#[test]
fn a_store_that_is_checked_by_an_authority_of_its_own_is_opened_inside() {
    let elsewhere = Scratch::new();
    Authority::new("authority").issue("turn.example.org", 30).put(&elsewhere.0);
    let ca = elsewhere.path("chain.pem");
    let store = |text: String| format!("{USERS}[stores.ask]\none = {{ {text} }}\n");
    let mut server =
        start(&store(format!("kind = \"http\", url = \"https://127.0.0.1:9/\", ca = {ca:?}")));
    assert_eq!(server.line("sandbox")["level"], "INFO");
    if cfg!(feature = "redis") {
        let url = format!("rediss://127.0.0.1:9/0?sslrootcert={}", ca.to_str().unwrap());
        let mut server = start(&store(format!("kind = \"redis\", url = \"{url}\"")));
        assert_eq!(server.line("sandbox")["level"], "INFO");
    }
}
