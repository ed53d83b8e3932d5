//! `turnwire users`, as an operator uses it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::servers::{Scratch, turnadmin};

/// Runs the program with a state directory.
pub(crate) struct Desk {
    state: PathBuf,
    /// The one around it, if it is the desk's own.
    _scratch: Option<Scratch>,
}

impl Desk {
    fn new() -> Self {
        let scratch = Scratch::new();
        Self { state: scratch.path("state"), _scratch: Some(scratch) }
    }

    /// With a directory of somebody else's.
    pub(crate) fn at(state: PathBuf) -> Self {
        Self { state, _scratch: None }
    }

    fn run(&self, line: &str, input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnwire"))
            .arg("users")
            .args(line.split(' '))
            .arg("--state-directory")
            .arg(&self.state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let stdin = child.stdin.take();
        // It may have ended without reading.
        let _ = stdin.expect("it is piped").write_all(input.as_bytes());
        child.wait_with_output().expect("a child of ours")
    }

    #[track_caller]
    pub(crate) fn done(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input);
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[track_caller]
    fn refused(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }
}

#[test]
fn the_servers_own_database_is_made_for_its_owner_and_read_by_coturns_tool() {
    let desk = Desk::new();
    let told = desk.refused("list", "");
    assert!(told.contains("turnwire.db") && told.contains("turnwire users add"), "{told}");
    assert!(!desk.state.exists(), "asking makes nothing");

    let told = desk.done("add alice --realm example.org", "wonderland\n");
    let mut lines = told.lines();
    assert_eq!(lines.next(), Some("added \"alice\" to realm \"example.org\""));
    assert!(lines.next().unwrap().contains("turnwire.db: a server that runs already"), "{told}");
    let file = desk.state.join("turnwire.db");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read(&file).unwrap().windows(10).any(|part| part == b"wonderland"));

    let told = desk.done("add alice --realm example.org", "other");
    assert_eq!(told, "\"alice\" of realm \"example.org\" has a new password\n");
    desk.done("add bob", "builder");
    let listed = desk.done("list", "");
    let lines: Vec<Vec<_>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["alice", "example.org", "MD5,", "SHA-256"]);
    assert_eq!(lines[2], ["bob", "turnwire", "MD5,", "SHA-256"]);
    let json: serde_json::Value =
        serde_json::from_str(&desk.done("list --json --realm example.org", "")).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{ "name": "alice", "realm": "example.org", "sha256": true }])
    );
    let seen = turnadmin(&["-l", "-b", file.to_str().unwrap()]);
    assert!(seen.contains("alice[example.org]") && seen.contains("bob[turnwire]"), "{seen}");

    desk.done("remove alice --realm example.org", "");
    let told = desk.refused("remove alice --realm example.org", "");
    assert!(told.contains("there is no \"alice\" of realm \"example.org\""), "{told}");
}

#[test]
fn what_is_made_is_shown_once_and_secrets_are_not_shown_unless_asked_for() {
    let desk = Desk::new();
    let told = desk.done("add carol --generate", "");
    let password = told.lines().nth(1).unwrap().strip_prefix("password: ").unwrap().to_owned();
    assert_eq!(password.len(), 32);
    let told = desk.done("secret add --generate", "");
    let secret = told.lines().nth(1).unwrap().strip_prefix("secret: ").unwrap().to_owned();
    let listed = desk.done("secret list", "");
    assert!(listed.contains(&secret[..4]) && !listed.contains(&secret[..5]), "{listed}");
    assert!(desk.done("secret list --show", "").contains(&secret));
    assert!(!desk.done("list", "").contains(&password));

    desk.done("secret add", "north");
    assert!(desk.refused("secret remove --starts-with zzz", "").contains("no secret begins so"));
    desk.done("secret remove", "north\n");
    desk.done(&format!("secret remove --starts-with {}", &secret[..6]), "");
    assert_eq!(desk.done("secret list --json", ""), "[]\n");
}

#[test]
fn what_cannot_be_done_is_told_in_one_line_that_shows_no_password() {
    let desk = Desk::new();
    for (line, input, words) in [
        ("add alice", "", "the password of alice is empty"),
        ("add alice --password-file /nowhere", "", "/nowhere"),
        ("add alice --realm \u{7}", "x", "can be no realm"),
        ("list --store mongodb://u:hunter2@h/d", "", "write sqlite:PATH"),
        ("list --store sqlite:/nowhere/turndb", "", "/nowhere/turndb"),
        ("add alice --store nobody", "x", "write sqlite:PATH"),
    ] {
        let told = desk.refused(line, input);
        assert!(told.contains(words) && !told.contains("hunter2"), "{line}: {told}");
        assert_eq!(told.lines().count(), 1, "{line}: {told}");
    }
    fs::create_dir_all(&desk.state).unwrap();
    fs::write(desk.state.join("turnwire.db"), "no database, but long enough to be looked at")
        .unwrap();
    assert!(desk.refused("list", "").contains("is not an SQLite database"));
}
