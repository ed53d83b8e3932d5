use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::{PATIENCE, eventually};

/// How the server is to be started.
pub(crate) struct Setup {
    flags: Vec<String>,
    config: String,
}

impl Setup {
    /// A server that knows `alice:wonderland` and `bob:builder`, with all the defaults besides.
    pub(crate) fn new() -> Self {
        let mut setup = Self { flags: Vec::new(), config: String::new() };
        for user in ["alice:wonderland", "bob:builder"] {
            setup = setup.flag("--user", user);
        }
        setup.flag("--realm", "example.org").flag("--admin", "127.0.0.1:0")
    }

    /// The same, with peers on this host admitted, which by default they are not.
    pub(crate) fn with_local_peers() -> Self {
        Self::new().flag("--allow-peer", "127.0.0.0/8").flag("--allow-peer", "::1/128")
    }

    pub(crate) fn flag(mut self, name: &str, value: impl Display) -> Self {
        self.flags.extend([name.to_owned(), value.to_string()]);
        self
    }

    pub(crate) fn listen(self, address: &str) -> Self {
        self.flag("--listen", address)
    }

    /// Relays from `count` ports on the addresses, the first of which is `first`.
    pub(crate) fn relay_on(mut self, ips: &[IpAddr], first: u16, count: u16) -> Self {
        for ip in ips {
            self = self.flag("--relay-ip", ip);
        }
        self.flag("--relay-ports", format!("{first}-{}", first + count - 1))
    }

    /// Adds lines to the configuration file.
    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(mut self) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !self.flags.iter().any(|flag| flag == "--listen") {
            self = self.listen("127.0.0.1:0");
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("server-{}-{number}", getrandom::u32().unwrap());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory for the server");
        let (config, ready) = (directory.join("turnwire.toml"), directory.join("ready.json"));
        fs::write(&config, on_the_datapath(&self.config)).expect("a configuration file");
        let log = fs::File::create(directory.join("log")).expect("a log file");
        let process = Command::new(env!("CARGO_BIN_EXE_turnwire"))
            .args(&self.flags)
            .args(["--config".as_ref(), config.as_os_str()])
            .args(["--ready-file".as_ref(), ready.as_os_str()])
            .args(["--admin-socket".as_ref(), directory.join("admin.sock").as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut server = Server {
            process,
            directory,
            listeners: Vec::new(),
            tls: Vec::new(),
            dtls: Vec::new(),
            web: Vec::new(),
            admin: SocketAddr::from(([0; 4], 0)),
            stopped: false,
        };
        server.become_ready(&ready);
        server
    }
}

/// The configuration with the datapath that the environment names, so that the same tests run over each:
/// `single` moves one datagram at a time, `gathering` lets packets gather.
fn on_the_datapath(config: &str) -> String {
    let Ok(path) = std::env::var("TEST_DATAPATH") else {
        return config.to_owned();
    };
    let line = match path.as_str() {
        "single" => "trains = false\n",
        "gathering" => "gather_microseconds = 100\n",
        other => panic!("TEST_DATAPATH is `single`, `gathering` or not set, not {other}"),
    };
    let section = "[listen]\n";
    if !config.contains(section) {
        return format!("{config}\n{section}{line}");
    }
    config.replacen(section, &format!("{section}{line}"), 1)
}

/// A running server. It is killed at the end, and its log shown when the test has failed.
pub(crate) struct Server {
    process: Child,
    directory: PathBuf,
    listeners: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    dtls: Vec<SocketAddr>,
    web: Vec<SocketAddr>,
    admin: SocketAddr,
    /// Whether it was to end.
    stopped: bool,
}

impl Server {
    fn become_ready(&mut self, file: &PathBuf) {
        let json = eventually("the server is ready", || {
            let ended = self.process.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "the server ended: {ended:?}");
            fs::read(file).ok()
        });
        let ready: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let address = |value: &serde_json::Value| {
            let text = value.as_str().expect("an address");
            text.parse::<SocketAddr>().expect("an address")
        };
        let list = |value: &serde_json::Value| -> Vec<SocketAddr> {
            value.as_array().expect("a list").iter().map(address).collect()
        };
        self.listeners = list(&ready["udp"]);
        self.tls = list(&ready["tls"]);
        self.dtls = list(&ready["dtls"]);
        self.web = list(&ready["web"]);
        self.admin = address(&ready["admin"]);
        assert_eq!(ready["udp"], ready["tcp"]);
    }

    /// Its first listener, on UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// All of them, in the order of the flags.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Its listeners for TLS alone, in the order of the flags.
    pub(crate) fn tls_listeners(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// Its listeners for DTLS alone.
    pub(crate) fn dtls_listeners(&self) -> &[SocketAddr] {
        &self.dtls
    }

    /// Its listeners for HTTP alone.
    pub(crate) fn web_listeners(&self) -> &[SocketAddr] {
        &self.web
    }

    /// Connections closed for what they said.
    #[track_caller]
    pub(crate) fn unfit(&self, cause: &str) -> u64 {
        self.metric(&format!("streams_unfit_total{{cause=\"{cause}\"}}"))
    }

    /// Its admin socket.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }

    /// The address of its admin endpoint.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// All metrics by their series: name and labels, as they stand on the page.
    pub(crate) fn metrics(&self) -> HashMap<String, u64> {
        let mut stream = TcpStream::connect(self.admin).expect("the admin endpoint");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("a page");
        page.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// One metric, such as `drops_total{reason="noise"}`.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let metrics = self.metrics();
        let found = metrics.get(&format!("turnwire_{series}"));
        *found.unwrap_or_else(|| panic!("no series {series} in {metrics:?}"))
    }

    /// Packets dropped for a reason.
    #[track_caller]
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        self.metric(&format!("drops_total{{reason=\"{reason}\"}}"))
    }

    /// Requests refused for a cause.
    #[track_caller]
    pub(crate) fn refusals(&self, cause: &str, code: u16) -> u64 {
        self.metric(&format!("refusals_total{{cause=\"{cause}\",code=\"{code}\"}}"))
    }

    /// Allocations alive.
    #[track_caller]
    pub(crate) fn live(&self) -> u64 {
        self.metric("allocations_live")
    }

    /// Stops its threads where they are, while what is sent to it piles up in its sockets.
    #[track_caller]
    pub(crate) fn pause(&self) {
        self.signal(libc::SIGSTOP);
        eventually("every thread has stopped", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("alive");
            let stopped = |task: std::io::Result<fs::DirEntry>| {
                let stat = fs::read_to_string(task.expect("a thread").path().join("stat"));
                // The state stands behind the name, which is in brackets.
                stat.expect("alive").rsplit(") ").next().expect("a state").starts_with('T')
            };
            tasks.into_iter().all(stopped).then_some(())
        });
    }

    pub(crate) fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Ends it as an operator does, and tells what it has logged.
    pub(crate) fn stop(mut self) -> String {
        self.signal(libc::SIGTERM);
        let ended = self.process.wait().expect("a child can be waited for");
        assert!(ended.success(), "{ended}");
        self.stopped = true;
        self.log()
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that has not been waited for.
        let sent = unsafe { libc::kill(self.process.id() as i32, signal) };
        assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
    }

    /// CPU time of all of its threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("alive");
        let nanos = tasks.filter_map(|task| {
            // A thread may end meanwhile.
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        // A page of metrics takes memory too, the first time, and tests ask for one between two looks.
        self.metrics();
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).expect("the process is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("VmRSS").parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.process.try_wait();
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let log = self.log();
        let _ = fs::remove_dir_all(&self.directory);
        if thread::panicking() {
            eprintln!("--- the server's log\n{log}---");
            return;
        }
        assert!(self.stopped || matches!(ended, Ok(None)), "the server ended: {ended:?}\n{log}");
        assert!(!log.contains("panicked at"), "{log}");
    }
}
