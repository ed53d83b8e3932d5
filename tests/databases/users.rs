//! `turnwire users`, as an operator uses it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
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
    assert!(desk.refused("secret remove --starts-with …", "").contains("give more of it"));
    // As `list` shows it.
    desk.done(&format!("secret remove --starts-with {}…", &secret[..4]), "");
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

#[test]
fn what_only_reads_makes_no_database_and_another_one_is_not_the_servers() {
    let desk = Desk::new();
    fs::create_dir_all(&desk.state).unwrap();
    let other = desk.state.join("other");
    let store = format!("--store sqlite:{}", other.display());
    for line in ["list", "remove alice", "secret list", "secret remove --starts-with abc"] {
        let told = desk.refused(&format!("{line} {store}"), "");
        assert!(told.contains("other"), "{line}: {told}");
        assert!(!other.exists(), "{line}");
    }
    let told = desk.done(&format!("add alice {store}"), "wonder");
    assert!(told.contains("made ") && !told.contains("a server"), "{told}");
}

#[test]
fn stores_that_others_write_are_not_passed_over_for_a_database_that_no_server_reads() {
    let desk = Desk::new();
    fs::create_dir_all(&desk.state).unwrap();
    fs::write(desk.state.join("users"), "").unwrap();
    let file = desk.state.join("turnwire.toml");
    fs::write(&file, "[stores.ask]\nfile = { kind = \"file\", path = \"users\" }\n").unwrap();
    let config = format!("--config {}", file.display());
    for line in ["add alice", "list"] {
        let told = desk.refused(&format!("{line} {config}"), "wonder");
        assert!(told.contains("are written by others") && told.contains("--store"), "{told}");
    }
    assert!(!desk.state.join("turnwire.db").exists());
}

/// Numbers of the user and the group that Debian has for nobody.
const NOBODY: u32 = 65534;

#[test]
fn a_directory_that_is_for_the_servers_user_is_not_passed_over_and_its_files_are_theirs() {
    let desk = Desk::new();
    fs::create_dir_all(&desk.state).unwrap();
    // Only root can play other users, and where a real server has its own, that would be found.
    let is_root = fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0);
    if !is_root || Path::new("/var/lib/turnwire/turnwire.db").exists() {
        println!("note: not tried, for want of root or because a server lives here");
    } else {
        let (mine, services) = (desk.state.join("mine"), desk.state.join("services"));
        for (directory, owner) in [(&mine, NOBODY), (&services, NOBODY - 1)] {
            fs::create_dir(directory).unwrap();
            chown(directory, Some(owner), Some(owner)).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        }
        // Of its own, so that nobody may run it wherever the tests are built.
        let program = desk.state.join("turnwire");
        fs::hard_link(env!("CARGO_BIN_EXE_turnwire"), &program)
            .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_turnwire"), &program).map(drop))
            .unwrap();
        let add = |user: u32| {
            let mut turnwire = Command::new(&program);
            turnwire.args(["users", "add", "alice", "--generate"]).uid(user).gid(user);
            turnwire
                .env("STATE_DIRECTORY", &services)
                .env("HOME", &mine)
                .env_remove("XDG_STATE_HOME");
            turnwire.output().unwrap()
        };
        let refused = add(NOBODY);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains("is for the user that the server runs as"), "{told}");
        assert!(!mine.join(".local").exists());
        assert!(add(0).status.success());
        let owner = |path: PathBuf| fs::metadata(path).map(|it| (it.uid(), it.gid())).unwrap();
        assert_eq!(owner(services.join("turnwire.db")), (NOBODY - 1, NOBODY - 1));
    }
}

#[test]
fn what_cannot_be_shown_has_not_succeeded() {
    let desk = Desk::new();
    let add = |output: Stdio| {
        let mut turnwire = Command::new(env!("CARGO_BIN_EXE_turnwire"));
        turnwire.args(["users", "add", "carol", "--generate", "--state-directory"]);
        turnwire.arg(&desk.state).stdout(output).output().unwrap()
    };
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let lost = add(full.into());
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    let told = String::from_utf8(lost.stderr).unwrap();
    assert!(told.contains("standard output cannot be written: No space left"), "{told}");
    // Whoever has read enough may close the pipe.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(add(writer.into()).status.code(), Some(0));
}

#[test]
fn a_file_with_nothing_but_a_secret_in_it_has_one_line() {
    let desk = Desk::new();
    fs::create_dir_all(&desk.state).unwrap();
    let file = |text: &str| {
        fs::write(desk.state.join("file"), text).unwrap();
        desk.state.join("file").display().to_string()
    };
    let two = file("north\nsouth\n");
    let told = desk.refused(&format!("secret add --secret-file {two}"), "");
    assert!(told.contains("more than one line"), "{told}");
    let credentials = |path: &str| {
        let mut turnwire = Command::new(env!("CARGO_BIN_EXE_turnwire"));
        turnwire.args(["credentials", "--secret-file", path]).output().unwrap()
    };
    // It may be the server's own, and then the first is what it mints with.
    assert!(credentials(&two).status.success());
    let one = file("north\r\n");
    desk.done(&format!("secret add --secret-file {one}"), "");
    assert!(credentials(&one).status.success());
    let told = desk.refused("secret add --secret-file -", "");
    assert!(told.contains("is empty"), "{told}");
    desk.done("secret add --secret-file -", "south\n");
    let listed = desk.done("secret list --show", "");
    assert!(listed.contains("north ") && listed.contains("south "), "{listed}");
}
