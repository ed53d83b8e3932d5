//! Users who live in a store: a file, an application that is asked over HTTP, one that is slow, dead and back.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::{Application, Client, Credential, Mood, Peer, Setup, Trust, eventually};
use configured::Configured;
use turnwire::auth::RestDigest;
use turnwire::stun::{Kind, Method, Writer, attribute};

const CHANNEL: u16 = 0x4000;
const LOCAL: &str = "[auth]\nrealm = \"example.org\"\n[peers]\nallow = [\"127.0.0.0/8\"]\n[log]\nlevel = \"info\"\n";

fn transport(writer: &mut Writer<'_>) {
    writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

/// An Allocate on its way, whose answer is not waited for.
fn ask(client: &mut Client) {
    let request = client.signed(Method::ALLOCATE, &common::new_id(), transport);
    client.write(&request);
}

/// The code of the answer that comes next.
fn code(client: &mut Client) -> u16 {
    common::Answer(client.read()).code()
}

fn password(password: &str) -> String {
    format!("{{\"password\": \"{password}\"}}")
}

#[test]
fn whoever_is_in_a_file_comes_in_on_every_way() {
    let trust = Trust::new();
    let path = std::env::temp_dir().join(format!("turnwire-users-{}", getrandom::u32().unwrap()));
    let realm = "example.org";
    fs::write(&path, "erin:wonder\nfrank:builder\n").unwrap();
    let section = format!(
        "[auth]\nrealm = \"{realm}\"\n[stores]\nkeep_unknown = \"1s\"\n[stores.ask]\n\
         team = {{ kind = \"file\", path = {path:?} }}"
    );
    let server = Setup::with_local_peers().config(&section).certificate(&trust).start();
    let erin = || Credential::user("erin", "wonder");
    let mut clients = vec![
        Client::udp(&server).with(erin()),
        Client::tcp(&server).with(erin().sha256()),
        Client::tls(&server, &trust).with(erin()),
    ];
    if cfg!(feature = "dtls") {
        clients.push(Client::dtls_to(server.address()).with(erin().sha256()));
    }
    for client in &mut clients {
        let peer = Peer::new();
        client.allocate();
        client.bind(CHANNEL, peer.address);
        client.channel(CHANNEL, b"over a store");
        assert_eq!(peer.payload(), b"over a store");
    }
    let wrong = Credential::user("frank", "wrong");
    assert_eq!(Client::udp(&server).with(wrong).try_allocate(|_| ()).code(), 401);
    let carol = || Client::tcp(&server).with(Credential::user("carol", "new"));
    assert_eq!(carol().try_allocate(|_| ()).code(), 401);
    // Who is added comes in as soon as it is forgotten that there was nobody of that name.
    let beside = path.with_extension("new");
    fs::write(&beside, "erin:wonder\ncarol:new\n").unwrap();
    fs::rename(&beside, &path).unwrap();
    eventually("carol comes in", || (carol().try_allocate(|_| ()).code() == 0).then_some(()));
    let lookups = "store_lookups_total{outcome=\"found\",store=\"team\"}";
    assert!(server.metric(lookups) >= 2);
    assert_eq!(server.metric("requests_waiting"), 0);
    fs::remove_file(&path).unwrap();
}

#[test]
fn an_application_is_asked_once_with_its_token_and_a_signature() {
    let app = Application::new();
    app.add("alice", password("wonder"));
    let keys = ", token = \"T0ken\", signature_secret = \"S3\"";
    let mut configured = Configured::start(&format!("{LOCAL}{}", app.section(keys)));
    for _ in 0..5 {
        configured.client("alice", "wonder").allocate();
    }
    assert_eq!(app.asked("alice"), 1);
    assert_eq!(configured.client("mallory", "x").try_allocate(|_| ()).code(), 401);
    for head in app.heads() {
        assert!(head.starts_with("post /turn http/1.1"), "{head}");
        assert!(head.contains("authorization: bearer t0ken"), "{head}");
        assert!(head.contains("x-turnwire-signature: t="), "{head}");
    }
    configured.server.signal("TERM");
    let log: String = configured.server.rest().iter().map(ToString::to_string).collect();
    assert!(!log.contains("T0ken") && !log.contains("wonder"), "{log}");
}

#[test]
fn nobody_has_it_asked_without_having_proved_the_address() {
    let app = Application::new();
    let configured = Configured::start(&format!("{LOCAL}{}", app.section("")));
    let server = configured.server.udp();
    // A nonce that was got from one address, sent from many others under many names.
    let nonce = Client::udp_to(server).challenge().nonce;
    for number in 0..200 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let request = common::plain(Kind::request(Method::ALLOCATE), &common::new_id(), |writer| {
            transport(writer);
            writer.attribute(attribute::USERNAME, format!("u{number}").as_bytes());
            writer.attribute(attribute::REALM, b"example.org");
            writer.attribute(attribute::NONCE, &nonce);
            writer.attribute(attribute::MESSAGE_INTEGRITY, &[7; 20]);
        });
        socket.send_to(&request, server).unwrap();
        socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
        let mut answer = [0; 1500];
        let length = socket.recv(&mut answer).unwrap();
        assert_eq!(common::Answer(answer[..length].to_vec()).code(), 438);
    }
    // One with its own.
    assert_eq!(configured.client("u7", "x").try_allocate(|_| ()).code(), 401);
    let others = || app.heads().len() - app.asked("u7");
    eventually("the secrets are asked for, whenever that is", || (others() > 0).then_some(()));
    assert_eq!((others(), app.asked("u7")), (1, 1), "the secrets, and one user");
}

#[test]
fn one_that_is_slow_holds_up_nobody_but_those_who_wait_for_it() {
    let app = Application::new();
    app.add("alice", password("wonder"));
    app.add("carol", password("new"));
    let more = ", timeout_milliseconds = 10000";
    let configured = Configured::start(&format!("{LOCAL}{}", app.section(more)));
    let (mut call, peer) = (configured.client("alice", "wonder"), Peer::new());
    call.allocate();
    call.bind(CHANNEL, peer.address);
    app.set_mood(Mood::Silent);
    let mut waiting: Vec<_> = (0..6).map(|_| configured.client("carol", "new")).collect();
    waiting.iter_mut().for_each(ask);
    app.wait_for_open(1);
    // Not a packet of the call is late, and whoever is known comes in.
    for round in 0..200_u32 {
        call.channel(CHANNEL, &round.to_be_bytes());
        assert_eq!(peer.payload(), round.to_be_bytes());
    }
    configured.client("alice", "wonder").allocate();
    assert_eq!(call.refresh(600).code(), 0);
    app.set_mood(Mood::Well);
    assert!(waiting.iter_mut().all(|client| code(client) == 0));
    assert_eq!(app.asked("carol"), 1, "six requests are one question");
}

#[test]
fn one_that_is_dead_lets_nobody_in_who_is_not_known_and_is_used_at_once_when_it_is_back() {
    let app = Application::new();
    app.add("alice", password("wonder"));
    app.add("carol", password("new"));
    let text =
        format!("{LOCAL}[stores]\nkeep = \"1s\"\n{}", app.section(", timeout_milliseconds = 2000"));
    let mut configured = Configured::start(&text);
    let (mut call, peer) = (configured.client("alice", "wonder"), Peer::new());
    call.allocate();
    call.bind(CHANNEL, peer.address);
    for (mood, name) in [(Mood::Broken, "carol"), (Mood::Silent, "dora")] {
        app.add(name, password("new"));
        app.set_mood(mood);
        let answer = configured.client(name, "new").try_allocate(|_| ());
        assert_eq!(answer.code(), 500);
        assert!(answer.phrase().contains("try again"), "{}", answer.phrase());
        // What was known of alice is out of date, and good as long as nobody says anything else.
        let known_for = Instant::now() + Duration::from_millis(1200);
        while Instant::now() < known_for {
            call.channel(CHANNEL, b"goes on");
            assert_eq!(peer.payload(), b"goes on");
        }
        configured.client("alice", "wonder").allocate();
        assert_eq!(call.refresh(600).code(), 0);
        app.set_mood(Mood::Well);
        assert_eq!(configured.client(name, "new").try_allocate(|_| ()).code(), 0);
    }
    let warned = configured.server.line("store_failed");
    assert!(warned["message"].as_str().unwrap().contains("\"app\""), "{warned}");
    configured.server.line("store_back");
}

#[test]
fn a_user_whom_the_application_deletes_loses_the_call_if_the_operator_wants_that() {
    let app = Application::new();
    app.add("alice", password("wonder"));
    app.add("bob", password("builder"));
    let auth = LOCAL.replace("[peers]", "on_revocation = \"end\"\n[peers]");
    let text = format!("{auth}[stores]\nkeep = \"2s\"\n{}", app.section(""));
    let mut configured = Configured::start(&text);
    let mut bob = configured.client("bob", "builder");
    bob.allocate();
    let mut alice = configured.client("alice", "wonder");
    alice.allocate();
    app.remove("alice");
    let ended = configured.server.line("session_ended");
    assert_eq!((&ended["reason"], &ended["user"]), (&"credential_revoked".into(), &"alice".into()));
    assert_eq!(bob.refresh(600).code(), 0);
}

#[test]
fn secrets_of_an_application_let_in_whoever_has_a_password_made_with_them() {
    let app = Application::new();
    app.set_secrets("{\"secrets\": [\"north\"]}");
    let text = format!("{LOCAL}[stores]\nrefresh_secrets = \"1s\"\n{}", app.section(""));
    let configured = Configured::start(&text);
    let with = |secret| {
        let credential = Credential::ephemeral(RestDigest::Sha1, secret, "4000000000:alice");
        let mut client = Client::udp_to(configured.server.udp()).with(credential);
        client.try_allocate(|_| ()).code()
    };
    eventually("the secret is known", || (with("north") == 0).then_some(()));
    assert_eq!(with("south"), 401);
    app.set_secrets("{\"secrets\": [\"south\"]}");
    eventually("the new secret is known", || (with("south") == 0).then_some(()));
    assert_eq!(with("north"), 401);
    assert!(app.asked("4000000000:alice") > 0, "a name that no secret fits may be somebody's");
}

#[test]
fn what_a_store_says_after_it_was_taken_out_does_not_count() {
    let (old, new) = (Application::new(), Application::new());
    old.add("alice", password("wonder"));
    old.set_secrets("{\"secrets\": [\"north\"]}");
    new.add("bob", password("builder"));
    new.set_secrets("{\"secrets\": [\"south\"]}");
    old.set_mood(Mood::Silent);
    let slow = ", timeout_milliseconds = 10000";
    let text = |app: &Application| format!("{LOCAL}{}", app.section(slow));
    let mut configured = Configured::start(&text(&old));
    let mut alice = configured.client("alice", "wonder");
    alice.challenge();
    ask(&mut alice);
    // About her, and for its secrets.
    old.wait_for_open(2);
    configured.accepts(&text(&new));
    let minted = |secret| {
        let credential = Credential::ephemeral(RestDigest::Sha1, secret, "4000000000:anna");
        let mut client = Client::udp_to(configured.server.udp()).with(credential);
        client.try_allocate(|_| ()).code()
    };
    eventually("the new one's secret is known", || (minted("south") == 0).then_some(()));
    old.set_mood(Mood::Well);
    assert_eq!(code(&mut alice), 401, "the new one does not know her");
    assert_eq!(new.asked("alice"), 1);
    assert_eq!((minted("south"), minted("north")), (0, 401));
    assert_eq!(configured.client("bob", "builder").try_allocate(|_| ()).code(), 0);
}

#[test]
fn stores_come_and_go_under_a_live_call() {
    let app = Application::new();
    app.add("alice", password("wonder"));
    let without = format!("{LOCAL}[auth.users]\nbob = \"builder\"\n");
    let mut configured = Configured::start(&without);
    let (mut call, peer) = (configured.client("bob", "builder"), Peer::new());
    call.allocate();
    call.bind(CHANNEL, peer.address);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 401);
    let with = format!("{without}{}", app.section(""));
    configured.accepts(&with);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 0);
    let missing = format!("{with}team = {{ kind = \"file\", path = \"/nowhere/users\" }}\n");
    let refused = configured.refuses(&missing);
    assert!(refused.contains("the store \"team\" cannot be reached: /nowhere/users"), "{refused}");
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 0);
    configured.accepts(&without);
    assert_eq!(configured.client("alice", "wonder").try_allocate(|_| ()).code(), 401);
    call.channel(CHANNEL, b"all the time");
    assert_eq!(peer.payload(), b"all the time");
}

#[test]
fn a_user_with_an_md5_key_is_told_to_do_without_sha256() {
    let app = Application::new();
    // printf 'dora:example.org:x' | md5sum
    app.add("dora", "{\"key_md5\": \"fe2dfc65a3cc88dac76d6a8526325554\"}");
    let configured = Configured::start(&format!("{LOCAL}{}", app.section("")));
    let dora = || Credential::user("dora", "x");
    let mut new = Client::udp_to(configured.server.udp()).with(dora().sha256());
    let answer = new.try_allocate(|_| ());
    assert_eq!(answer.code(), 438);
    assert!(answer.attribute(attribute::PASSWORD_ALGORITHMS).is_none());
    assert_eq!(Client::udp_to(configured.server.udp()).with(dora()).try_allocate(|_| ()).code(), 0);
}

#[test]
fn each_realm_has_the_users_and_the_secrets_that_stores_know_for_it() {
    let app = Application::new();
    app.add("alice", password("wonder"));
    app.set_secrets("{\"secrets\": [\"north\"]}");
    let own = format!("{}\n[[realm]]\nname = \"other.example\"\n", app.section(""));
    let configured = Configured::start(&format!("{LOCAL}{own}"));
    let in_realm = |realm: &str, credential: Credential| {
        let mut client = Client::udp_to(configured.server.udp()).with(credential);
        client.in_realm(realm);
        client.try_allocate(|_| ()).code()
    };
    let minted = || Credential::ephemeral(RestDigest::Sha1, "north", "4000000000:bob");
    for realm in ["example.org", "other.example"] {
        assert_eq!(in_realm(realm, Credential::user("alice", "wonder")), 0, "{realm}");
        eventually("the secret is known", || (in_realm(realm, minted()) == 0).then_some(()));
    }
    assert_eq!(app.asked("alice"), 2, "once in each realm");
}

/// What waits when a connection goes to another worker would be granted to whoever is at its place by then.
#[test]
fn what_waits_is_forgotten_when_its_connection_goes_to_another_worker() {
    let app = Application::new();
    app.add("carol", password("new"));
    let server = Setup::new().flag("--workers", 2).config(&app.section("")).start();
    let mut client = Client::tcp(&server).with(Credential::user("carol", "new"));
    let allocate = client.signed(Method::ALLOCATE, &common::new_id(), transport);
    // One of the two is the other worker's, and takes the connection along.
    let binds = [2_u32, 3].map(|number| {
        client.signed(Method::CONNECTION_BIND, &common::new_id(), |writer| {
            writer.number(attribute::CONNECTION_ID, number);
        })
    });
    app.set_mood(Mood::Silent);
    client.write(&[&allocate[..], &binds.concat()].concat());
    app.wait_for_open(1);
    app.set_mood(Mood::Well);
    // The request that went along is answered where it is.
    assert_eq!(code(&mut client), 400);
    eventually("nobody waits", || (server.metric("requests_waiting") == 0).then_some(()));
    assert_eq!(server.live(), 0, "an allocation without a client");
}

/// Its client would wait for ever: nobody answers from there when it is closed.
#[test]
fn a_listener_that_ends_waits_for_what_waits_for_a_store() {
    let app = Application::new();
    app.add("carol", password("new"));
    let ip = common::unique_loopback();
    let first = common::free_ports(&[ip], 2);
    let [stays, goes] = [first, first + 1].map(|port| std::net::SocketAddr::new(ip, port));
    let text = |listen: String| {
        let more = ", timeout_milliseconds = 10000";
        format!(
            "[listen]\naddresses = [{listen}]\n[relay]\naddresses = [\"127.0.0.1\"]\n{LOCAL}{}",
            app.section(more)
        )
    };
    let mut configured = Configured::listening(&text(format!("\"{stays}\", \"{goes}\"")));
    let mut carol = Client::udp_to(goes).with(Credential::user("carol", "new"));
    carol.challenge();
    app.set_mood(Mood::Silent);
    ask(&mut carol);
    app.wait_for_open(1);
    configured.accepts(&text(format!("\"{stays}\"")));
    // Listeners without clients are closed within half a second.
    let closed = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < closed {
        assert!(UdpSocket::bind(goes).is_err(), "the listener is closed");
        std::thread::sleep(Duration::from_millis(20));
    }
    app.set_mood(Mood::Well);
    assert_eq!(code(&mut carol), 0);
    assert_eq!(carol.refresh(0).code(), 0);
    eventually("the port is free", || UdpSocket::bind(goes).ok());
}

/// A gateway or a token that is out of date says so too, of everybody.
#[test]
fn an_application_that_forbids_says_nothing_about_its_users() {
    let app = Application::new();
    app.add("alice", password("wonder"));
    let auth = LOCAL.replace("[peers]", "on_revocation = \"end\"\n[peers]");
    let text = format!("{auth}[stores]\nkeep = \"1s\"\n{}", app.section(""));
    let mut configured = Configured::start(&text);
    let mut alice = configured.client("alice", "wonder");
    alice.allocate();
    app.set_mood(Mood::Forbidding);
    let failed = configured.server.line("store_failed");
    assert!(failed["message"].as_str().unwrap().contains("403"), "{failed}");
    assert_eq!(alice.refresh(600).code(), 0);
    assert_eq!(configured.client("dora", "x").try_allocate(|_| ()).code(), 500);
}

/// Says no to whoever comes, in words of PostgreSQL's that would be a line of the log and clear the screen.
#[cfg(feature = "sql")]
fn refuse(mut client: std::net::TcpStream) -> std::io::Result<()> {
    use std::io::{Read as _, Write as _};
    let words = "gone\u{1b}[2J\r\n2026-01-01T00:00:00.000000Z  INFO forged";
    let fields = format!("SFATAL\0VFATAL\0C3D000\0M{words}\0\0");
    client.read_exact(&mut [0; 8])?;
    client.write_all(b"E")?;
    client.write_all(&(fields.len() as u32 + 4).to_be_bytes())?;
    client.write_all(fields.as_bytes())
}

#[cfg(feature = "sql")]
#[test]
fn a_database_forges_no_line_and_steers_no_terminal() {
    let database = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://turn:x@{}/d?sslmode=disable", database.local_addr().unwrap());
    std::thread::spawn(move || database.incoming().flatten().map(refuse).for_each(drop));
    let section = format!("[stores.ask]\ndb = {{ kind = \"postgresql\", url = \"{url}\" }}");
    let server = Setup::new().config(&section).start();
    let told = eventually("the line", || {
        let log = server.log();
        log.contains("forged").then_some(log)
    });
    let turnwire = std::process::Command::new(env!("CARGO_BIN_EXE_turnwire"));
    let listed = { turnwire }.args(["users", "list", "--store", &url]).output().unwrap();
    let listed = String::from_utf8(listed.stderr).unwrap();
    for text in [told, listed] {
        let line = text.lines().find(|line| line.contains("forged")).unwrap();
        assert!(line.contains("gone"), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
