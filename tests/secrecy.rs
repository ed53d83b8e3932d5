//! No password, secret, token or key is told to anybody: not in a busy log with everything in it, not over the API, not
//! to whoever lists processes, not in what is written beside.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "admin/http.rs"]
mod http;
#[path = "process/server.rs"]
mod process;
/// As the API's helpers call it.
mod server {
    pub(crate) use super::process::LIMIT;
}

use std::fs;
use std::path::Path;

use common::{Application, Client, Credential, Mood, Peer};
use configured::Configured;
use turnwire::auth::{RestDigest, Secret, mint_password};

/// In every secret of this test.
const MARK: &str = "hush";

fn config(app: &Application, more: &str) -> String {
    let url = format!("http://{}/turn?key=hush-in-the-query", app.address);
    format!(
        "[auth]\nrealm = \"example.org\"\nsecrets = [\"hush-shared\"]\nsecrets_file = \"shared\"\n\
         [auth.users]\nalice = \"hush-alice\"\n\
         [auth.tokens.keys]\nk = {{ key = \"aHVzaGh1c2hodXNoaHVzaGh1c2hodXNoaHVzaGh1c2g=\" }}\n\
         [[realm]]\nname = \"other\"\nsecrets = [\"hush-of-a-realm\"]\nusers.bob = \"hush-bob\"\n\
         [web.keys]\nmeet = {{ secret = \"hush-web-key-0123456789\" }}\n\
         [admin]\ntokens = [\"hush-admin-token-0123\"]\n[peers]\nallow = [\"127.0.0.0/8\"]\n\
         [redirect]\ncredentials = \"check:hush-elsewhere\"\n\
         [redirect.servers]\neast = {{ addresses = [\"127.0.0.1:9\"] }}\n\
         [events]\nusage_interval = \"1s\"\n[events.webhook]\nsecret = \"hush-webhook-0123456789\"\n\
         url = \"http://127.0.0.1:9/hook?token=hush-hook\"\n[events.file]\npath = \"events.jsonl\"\n\
         [log]\nlevel = \"debug\"\n[stores]\nkeep_unknown = \"1s\"\n[stores.ask]\n\
         app = {{ kind = \"http\", url = \"{url}\", token = \"hush-token\", signature_secret = \"hush-sign\" }}\n{more}"
    )
}

/// Stores and sinks that are dead, whose addresses have passwords in them.
#[cfg(all(feature = "sql", feature = "redis"))]
const DEAD: &str = "pg = { kind = \"postgresql\", url = \"postgresql://u:hush-pg@127.0.0.1:9/d\" }\n\
     my = { kind = \"mysql\", url = \"mysql://u:hush-my@127.0.0.1:9/d\" }\n\
     re = { kind = \"redis\", url = \"redis://:hush-re@127.0.0.1:9/0\" }\n\
     [events.redis]\nurl = \"redis://:hush-events@127.0.0.1:9/0\"\n";
#[cfg(not(all(feature = "sql", feature = "redis")))]
const DEAD: &str = "";

fn allocate(configured: &Configured, realm: &str, credential: Credential) -> u16 {
    let mut client = Client::udp_to(configured.server.udp()).with(credential);
    client.in_realm(realm);
    client.try_allocate(|_| ()).code()
}

/// Everybody who may come in, and many who may not, as long as the application is like that.
fn visit(configured: &Configured) {
    let minted = |secret| Credential::ephemeral(RestDigest::Sha1, secret, "4000000000:carol");
    assert_eq!(allocate(configured, "example.org", minted("hush-shared")), 0);
    assert_eq!(allocate(configured, "example.org", minted("hush-in-a-file")), 0);
    assert_eq!(allocate(configured, "other", minted("hush-of-a-realm")), 0);
    assert_eq!(allocate(configured, "other", Credential::user("bob", "hush-bob").sha256()), 0);
    let expired = Credential::ephemeral(RestDigest::Sha1, "hush-shared", "7:carol");
    for wrong in [expired, minted("hush-wrong"), Credential::user("alice", "hush-wrong")] {
        // What stores are there that are dead may know somebody of this name.
        assert!(matches!(allocate(configured, "example.org", wrong), 401 | 500));
    }
    for name in ["erin", "nobody"] {
        allocate(configured, "example.org", Credential::user(name, "hush-erin"));
    }
}

/// All that can be asked for.
fn ask(configured: &Configured, text: &mut String) {
    let socket = configured.server.scratch.path("state").join("admin.sock");
    let list = http::call(&socket, "GET", "/v1/sessions", "").1;
    let id = list["sessions"][0]["id"].as_str().expect("a session").to_owned();
    let one = format!("/v1/sessions/{id}");
    text.push_str(&list.to_string());
    for path in [
        &one,
        "/v1/status",
        "/v1/counters",
        "/v1/config",
        "/v1/credentials/revoked",
        "/metrics",
        "/readyz",
        "/healthz",
        "/v1/explain?user=alice&for_seconds=1",
    ] {
        text.push_str(&http::raw(http::patient(&socket), "GET", path, "", "").1);
    }
    for (method, path, body) in [
        ("POST", "/v1/credentials/revoke", "{\"user\":\"carol\",\"for_seconds\":1}"),
        ("PUT", "/v1/log-level", "{\"level\":\"debug\"}"),
        ("POST", "/v1/reload", ""),
    ] {
        text.push_str(&http::raw(http::patient(&socket), method, path, body, "").1);
    }
}

/// What is in the files below a directory, but for those of ours that are to have it.
fn read_all(directory: &Path, text: &mut Vec<u8>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        let ours = ["server.toml", "shared"].iter().any(|name| path.ends_with(name));
        if path.is_dir() {
            read_all(&path, text);
        } else if !ours && let Ok(found) = fs::read(&path) {
            text.extend(found);
        }
    }
}

#[test]
fn a_server_that_is_busy_tells_nobody_a_secret() {
    let app = Application::new();
    app.add("erin", "{\"password\": \"hush-erin\"}");
    app.set_secrets("{\"secrets\": [\"hush-of-the-application\"]}");
    let scratch = process::Scratch::new();
    fs::write(scratch.path("shared"), "hush-in-a-file\n").expect("a file");
    let file = scratch.path("server.toml");
    fs::write(&file, config(&app, DEAD)).expect("a file");
    let flags = ["--config", file.to_str().expect("UTF-8"), "--workers", "2"];
    let mut configured = Configured { server: process::Server::start_in(scratch, &flags), file };
    let (mut call, peer) = (configured.client("alice", "hush-alice"), Peer::new());
    call.allocate();
    call.bind(0x4000, peer.address);
    call.channel(0x4000, b"data");
    assert_eq!(peer.payload(), b"data");
    let mut told = String::new();
    for mood in [Mood::Well, Mood::Broken, Mood::Forbidding] {
        app.set_mood(mood);
        visit(&configured);
    }
    app.set_mood(Mood::Well);
    // What cannot be used is told with its line, and what can with its difference.
    for wrong in [
        "[auth]\nusers.bob = hush\n",
        "x = { url = \"hush\" }\n",
        "[[realm]]\nsecrets = 5 # hush\n",
    ] {
        told.push_str(&configured.refuses(&config(&app, wrong)));
    }
    configured.accepts(&config(&app, DEAD).replace("hush-alice", "hush-other"));
    ask(&configured, &mut told);
    let process = format!("/proc/{}", configured.server.pid());
    for file in ["cmdline", "environ", "comm"] {
        let found = fs::read(format!("{process}/{file}")).expect("a process");
        told.push_str(&String::from_utf8_lossy(&found));
    }
    configured.server.signal("TERM");
    for line in configured.server.rest() {
        told.push_str(&line.to_string());
    }
    let mut written = Vec::new();
    read_all(&configured.server.scratch.0, &mut written);
    assert!(written.len() > 1000, "records, and where they wait");
    told.push_str(&String::from_utf8_lossy(&written));
    for event in ["store_failed", "request_refused", "events_undelivered", "alternate_dead"] {
        assert!(told.contains(event), "no {event} in the log");
    }
    let minted = mint_password(RestDigest::Sha1, &Secret::new("hush-shared"), "4000000000:carol");
    for secret in [MARK, "aHVzaGh1", &minted] {
        if let Some(at) = told.find(secret) {
            let from = told.floor_char_boundary(at.saturating_sub(300));
            panic!("{secret}: ...{}", &told[from..told.floor_char_boundary(at + 60)]);
        }
    }
}
