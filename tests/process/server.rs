//! The built server as a process of its own, in a directory of its own.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing here takes a second; what takes so long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A directory of its own, removed with all that is in it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("turnwire-process-{}-{number}", getrandom::u32().unwrap());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    manager: UnixDatagram,
    log: Receiver<String>,
    /// The log so far, a JSON object a line.
    pub(crate) lines: Vec<Value>,
    /// Shared with those who start a second server in the same place.
    pub(crate) scratch: Scratch,
}

impl Server {
    /// Starts it on a free port and waits until it says that it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_in(Scratch::new(), flags)
    }

    /// The same in a directory in which another has been.
    pub(crate) fn start_in(scratch: Scratch, flags: &[&str]) -> Self {
        let mut server = Self::spawn(scratch, flags);
        server.told("READY=1");
        server
    }

    /// Starts it and waits for nothing. Flags of the test's own come after the usual ones.
    pub(crate) fn spawn(scratch: Scratch, flags: &[&str]) -> Self {
        Self::spawn_with(scratch, flags, &[])
    }

    /// The same with these in its environment.
    pub(crate) fn spawn_with(
        scratch: Scratch,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let listens = flags.contains(&"--listen");
        let any = ["--listen", "127.0.0.1:0"];
        Self::spawn_on(scratch, if listens { &[] } else { &any }, flags, environment)
    }

    /// The same without a listener of its own accord.
    pub(crate) fn spawn_on(
        scratch: Scratch,
        listen: &[&str],
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        Self::spawn_as(
            Command::new(env!("CARGO_BIN_EXE_turnwire")),
            scratch,
            listen,
            flags,
            environment,
        )
    }

    /// The same by a program that runs what is named behind its own words, on a free port.
    pub(crate) fn spawn_under(scratch: Scratch, program: &[&str], flags: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_turnwire"));
        let listens = flags.contains(&"--listen");
        let any = ["--listen", "127.0.0.1:0"];
        Self::spawn_as(command, scratch, if listens { &[] } else { &any }, flags, &[])
    }

    fn spawn_as(
        mut command: Command,
        scratch: Scratch,
        listen: &[&str],
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let socket = scratch.path("notify");
        let _ = fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).expect("a socket for sd_notify");
        // As systemd has it: whoever the service becomes may speak.
        let anybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&socket, anybody).expect("a socket of ours");
        command
            .args(listen)
            .args(["--log-format", "json", "--ready-file"])
            .arg(scratch.path("ready.json"))
            .arg("--state-directory")
            .arg(scratch.path("state"))
            .args(flags)
            .current_dir(&scratch.0)
            .env("NOTIFY_SOCKET", &socket)
            .envs(environment.iter().copied())
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(File::create(scratch.path("stdout")).expect("a file for the output"))
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        // A test that does not read holds the server's log up, as any slow reader would.
        let (sender, log) = sync_channel(16);
        thread::spawn(move || {
            let lines = stderr.lines().map_while(Result::ok);
            // A test that has ended reads no more.
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Self { child, manager, log, lines: Vec::new(), scratch }
    }

    /// The same when it has said that it is ready.
    pub(crate) fn up(mut self) -> Self {
        self.told("READY=1");
        self
    }

    /// Waits for a message to the service manager.
    pub(crate) fn told(&mut self, state: &str) {
        let until = Instant::now() + LIMIT;
        let step = Some(Duration::from_millis(100));
        self.manager.set_read_timeout(step).expect("a timeout");
        let mut buffer = [0; 256];
        while Instant::now() < until {
            match self.manager.recv(&mut buffer) {
                Ok(length) if &buffer[..length] == state.as_bytes() => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let ended = self.child.try_wait().expect("a child of ours");
                    assert!(ended.is_none(), "it ended: {ended:?}, {:?}", self.rest());
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("it has not said {state}");
    }

    /// Forgets the messages to the service manager that have come so far.
    pub(crate) fn hear_nothing_of_before(&mut self) {
        self.manager.set_nonblocking(true).expect("an option");
        while self.manager.recv(&mut [0; 256]).is_ok() {}
        self.manager.set_nonblocking(false).expect("an option");
    }

    /// The content of the ready file.
    pub(crate) fn ready(&self) -> Value {
        let text = fs::read_to_string(self.scratch.path("ready.json")).expect("a ready file");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The first UDP listener.
    pub(crate) fn udp(&self) -> SocketAddr {
        address(&self.ready()["udp"][0])
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        address(&self.ready()["admin"])
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        let done = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(done.success(), "{kill}");
    }

    /// Waits for the next line with this `event`.
    pub(crate) fn line(&mut self, event: &str) -> Value {
        self.line_of(&[event])
    }

    /// Waits for the next line with one of these.
    pub(crate) fn line_of(&mut self, events: &[&str]) -> Value {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) => {
                    let line = self.keep(&line);
                    if events.iter().any(|event| line["event"] == *event) {
                        return line;
                    }
                }
                Err(error) => panic!("no line {events:?}: {error}; {:?}", self.lines),
            }
        }
    }

    /// Waits for the end and gives the exit code.
    pub(crate) fn exit(&mut self) -> Option<i32> {
        self.rest();
        self.wait()
    }

    /// The exit code of one that is ending already.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let status: ExitStatus = self.child.wait().expect("a child of ours");
        status.code()
    }

    /// Waits until it has ended, whoever reads its log.
    pub(crate) fn is_gone(&mut self) {
        let until = Instant::now() + LIMIT;
        while self.child.try_wait().expect("a child of ours").is_none() {
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// All lines, when the last one has been written.
    pub(crate) fn rest(&mut self) -> &[Value] {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) => drop(self.keep(&line)),
                Err(RecvTimeoutError::Disconnected) => return &self.lines,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:?}", self.lines),
            }
        }
    }

    fn keep(&mut self, line: &str) -> Value {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        self.lines.push(value.clone());
        value
    }

    /// The lines so far with this `event`.
    pub(crate) fn of(&self, event: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["event"] == event).collect()
    }

    /// What it has printed.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.scratch.path("stdout")).expect("a file of ours")
    }

    /// Closes our end of its standard error: nobody reads its log any more.
    pub(crate) fn stop_reading(&mut self) {
        self.log = sync_channel(1).1;
    }

    /// Ends it and gives its directory to the next.
    pub(crate) fn finish(mut self) -> Scratch {
        self.signal("TERM");
        assert_eq!(self.exit(), Some(0));
        std::mem::replace(&mut self.scratch, Scratch(PathBuf::new()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn address(value: &Value) -> SocketAddr {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

/// Status and body of a `GET`.
pub(crate) fn get(server: SocketAddr, path: &str) -> (u16, String) {
    get_as(server, path, "*/*")
}

/// The same in a form of the client's choice.
pub(crate) fn get_as(server: SocketAddr, path: &str, accept: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).expect("the admin endpoint");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP response");
    assert!(head.contains("connection: close"), "one request for each connection: {head}");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).expect("a file").mode() & 0o777
}
