//! The real servers, each with a directory of its own and nothing in common with another: PostgreSQL, MariaDB
//! and Redis as Debian packages them. They can be killed, stopped for a while and started again.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use super::common::{Authority, unique_loopback};

/// Making a new database takes seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The password of the user `turn` in each of them.
pub(crate) const PASSWORD: &str = "pass-of-turn";

/// A directory that goes away with the test. Its path is short, for sockets have to fit into it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tw-db-{}-{number}", getrandom::u32().unwrap()));
        fs::create_dir(&path).expect("a new directory");
        // Programs of other users work in it.
        fs::set_permissions(&path, Permissions::from_mode(0o711)).expect("a directory of ours");
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

/// One of the three.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brand {
    Postgresql,
    Mariadb,
    Redis,
}

/// A running database server.
pub(crate) struct Database {
    brand: Brand,
    scratch: Scratch,
    /// Where it listens, besides its Unix socket.
    ip: String,
    port: u16,
    /// Redis has another port for TLS.
    tls_port: u16,
    child: Option<Child>,
}

impl Database {
    /// Makes a new one with coturn's tables in it, and waits until it answers.
    pub(crate) fn start(brand: Brand) -> Self {
        let ip = unique_loopback();
        // Nobody else has this address, so the port stays free until the server has it.
        let held = [0; 2].map(|any| TcpListener::bind((ip, any)).expect("a port"));
        let [port, tls_port] = held.map(|it| it.local_addr().expect("a port").port());
        let ip = ip.to_string();
        let mut database = Self { brand, scratch: Scratch::new(), ip, port, tls_port, child: None };
        database.make();
        database.certify();
        database.resume();
        database.fill();
        database
    }

    /// Its URL over the Unix socket.
    pub(crate) fn url(&self) -> String {
        let place = self.scratch.0.display();
        match self.brand {
            Brand::Postgresql => {
                format!(
                    "postgresql://turn:{PASSWORD}@localhost/turn?host={place}&port={}",
                    self.port
                )
            }
            Brand::Mariadb => {
                format!("mysql://turn:{PASSWORD}@localhost/turn?socket={place}/socket")
            }
            Brand::Redis => format!("redis+unix://{place}/socket?db=0&pass={PASSWORD}"),
        }
    }

    /// Its URL over TCP with another password and these words about TLS.
    pub(crate) fn url_over_tcp(&self, password: &str, query: &str) -> String {
        let place = format!("turn:{password}@{}:{}", self.ip, self.port);
        match self.brand {
            Brand::Postgresql => format!("postgresql://{place}/turn{query}"),
            Brand::Mariadb => format!("mysql://{place}/turn{query}"),
            Brand::Redis => format!("redis://:{password}@{}:{}/0{query}", self.ip, self.port),
        }
    }

    /// Its URL over TLS, trusting the authority in this file.
    pub(crate) fn url_over_tls(&self, authority: &Path) -> String {
        let authority = authority.display();
        match self.brand {
            Brand::Postgresql => {
                let query = format!("?sslmode=verify-full&sslrootcert={authority}");
                self.url_over_tcp(PASSWORD, &query)
            }
            Brand::Mariadb => {
                let query = format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}");
                self.url_over_tcp(PASSWORD, &query)
            }
            Brand::Redis => {
                let place = format!("{}:{}", self.ip, self.tls_port);
                format!("rediss://:{PASSWORD}@{place}/0?sslrootcert={authority}")
            }
        }
    }

    /// The authority that vouches for it.
    pub(crate) fn authority(&self) -> PathBuf {
        self.scratch.path("ca.pem")
    }

    /// A certificate for its address, whose key only its user may read.
    fn certify(&self) {
        let authority = Authority::new("databases");
        authority.issue(&self.ip, 30).put(&self.scratch.0);
        fs::write(self.authority(), authority.pem()).expect("a file");
        let key = self.scratch.path("key.pem");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("a file of ours");
        match self.brand {
            Brand::Postgresql => own(&key, "postgres"),
            Brand::Mariadb => own(&key, "mysql"),
            Brand::Redis => {}
        }
    }

    /// Has coturn's own tool do something.
    pub(crate) fn turnadmin(&self, arguments: &[&str]) -> String {
        let (flag, _, connection) = self.connection();
        turnadmin(&[&[flag, &connection], arguments].concat())
    }

    /// What coturn connects with, and the flag and the option that it stands behind.
    pub(crate) fn connection(&self) -> (&'static str, &'static str, String) {
        match self.brand {
            Brand::Postgresql => (
                "-e",
                "psql-userdb",
                format!(
                    "host={} port={} dbname=turn user=turn password={PASSWORD}",
                    self.scratch.0.display(),
                    self.port
                ),
            ),
            Brand::Mariadb => (
                "-M",
                "mysql-userdb",
                format!(
                    "host={} port={} dbname=turn user=turn password={PASSWORD} connect_timeout=10",
                    self.ip, self.port
                ),
            ),
            Brand::Redis => (
                "-N",
                "redis-userdb",
                format!(
                    "ip={} port={} dbname=0 password={PASSWORD} connect_timeout=10",
                    self.ip, self.port
                ),
            ),
        }
    }

    /// Has the server's own client say something to it, and gives the answer.
    pub(crate) fn say(&self, what: &str) -> String {
        let mut client = self.client();
        if self.brand == Brand::Redis {
            client.args(what.split(' '));
            return stdout(client.output().expect("the client"));
        }
        let mut child =
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client");
        let stdin = child.stdin.take();
        stdin.expect("it is piped").write_all(what.as_bytes()).expect("the client reads");
        stdout(child.wait_with_output().expect("the client"))
    }

    /// Locks the table of users, so that each question about them waits until this is dropped.
    pub(crate) fn locked(&self) -> Locked<'_> {
        let mut client = None;
        match self.brand {
            Brand::Redis => self.signal(libc::SIGSTOP),
            Brand::Postgresql | Brand::Mariadb => {
                let mut child = self.client().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
                let child = child.as_mut().expect("the client");
                let mut stdin = child.stdin.take().expect("it is piped");
                let lock: &[u8] = match self.brand {
                    Brand::Postgresql => b"BEGIN; LOCK TABLE turnusers_lt; SELECT 'locked';\n",
                    _ => b"LOCK TABLES turnusers_lt WRITE; SELECT 'locked';\n",
                };
                stdin.write_all(lock).expect("the client reads");
                let mut answer = [0; 6];
                let mut stdout = child.stdout.take().expect("it is piped");
                std::io::Read::read_exact(&mut stdout, &mut answer).expect("an answer");
                client = Some(stdin);
            }
        }
        Locked { database: self, client }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        // PostgreSQL's own way to do that: its other processes go with it.
        let signal = if self.brand == Brand::Postgresql { libc::SIGQUIT } else { libc::SIGKILL };
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
        child.wait().expect("a child of ours");
    }

    /// Starts it again where it was, and waits until it answers.
    pub(crate) fn resume(&mut self) {
        let place = &self.scratch.0;
        let (socket, data) = (place.join("socket"), place.join("data"));
        let (chain, key) = (place.join("chain.pem"), place.join("key.pem"));
        let mut command = match self.brand {
            Brand::Postgresql => {
                let mut command = as_user("postgres", &postgresql("postgres"));
                command.arg("-D").arg(&data).arg("-k").arg(place).arg("-F");
                command.args(["-p", &self.port.to_string()]);
                command.args(["-c", &format!("listen_addresses={}", self.ip), "-c", "ssl=on"]);
                command.arg("-c").arg(flag("ssl_cert_file", &chain));
                command.arg("-c").arg(flag("ssl_key_file", &key));
                command
            }
            Brand::Mariadb => {
                let mut command = as_user("mysql", Path::new("/usr/sbin/mariadbd"));
                command.env("TMPDIR", place);
                command.arg("--no-defaults").arg(flag("--datadir", &data));
                command.arg(flag("--socket", &socket)).arg(flag("--pid-file", &place.join("pid")));
                command.arg(format!("--bind-address={}", self.ip));
                command.arg(format!("--port={}", self.port));
                command.arg(flag("--ssl-cert", &chain)).arg(flag("--ssl-key", &key));
                command
            }
            Brand::Redis => {
                let mut command = Command::new("redis-server");
                command.args(["--bind", &self.ip, "--port", &self.port.to_string()]);
                command.arg("--unixsocket").arg(&socket).arg("--dir").arg(place);
                command.args(["--requirepass", PASSWORD, "--save", "", "--appendonly", "yes"]);
                command.args(["--appendfsync", "always"]);
                command.args(["--tls-port", &self.tls_port.to_string()]);
                command.args(["--tls-auth-clients", "no"]);
                command.arg("--tls-cert-file").arg(&chain).arg("--tls-key-file").arg(&key);
                command.arg("--tls-ca-cert-file").arg(place.join("ca.pem"));
                command
            }
        };
        let log = File::options().create(true).append(true).open(place.join("log"));
        let log = log.expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.child =
            Some(command.current_dir(place).spawn().expect("the server, see tests/run install"));
        self.wait();
    }

    fn wait(&mut self) {
        let until = Instant::now() + LIMIT;
        while !self.answers() {
            let ended = self.child.as_mut().expect("it runs").try_wait().expect("a child of ours");
            let late = Instant::now() > until;
            if ended.is_some() || late {
                let log = fs::read_to_string(self.scratch.path("log"));
                panic!("the database does not answer ({ended:?}): {log:?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let mut probe = match self.brand {
            Brand::Postgresql => self.postgres_client("postgres", "select 1"),
            Brand::Mariadb => self.root_client("select 1"),
            Brand::Redis => {
                let mut client = self.client();
                client.arg("ping");
                client
            }
        };
        let probe = probe.stdin(Stdio::null()).stderr(Stdio::null()).output().expect("the client");
        probe.status.success() && !probe.stdout.is_empty() && !probe.stdout.starts_with(b"LOADING")
    }

    /// The directory of a new database.
    fn make(&self) {
        let (place, data) = (&self.scratch.0, self.scratch.path("data"));
        match self.brand {
            Brand::Postgresql => {
                own(place, "postgres");
                let password = place.join("password");
                fs::write(&password, PASSWORD).expect("a file");
                let mut initdb = as_user("postgres", &postgresql("initdb"));
                initdb.arg("-D").arg(&data).arg(flag("--pwfile", &password));
                initdb.args(["-U", "turn", "-A", "scram-sha-256", "--no-sync"]);
                run(initdb.args(["--no-locale", "-E", "UTF8"]));
            }
            Brand::Mariadb => {
                own(place, "mysql");
                let mut install = Command::new("mariadb-install-db");
                // Each server clears away the temporary tables that it finds there, another's as well.
                install.env("TMPDIR", place);
                install.arg("--no-defaults").arg(flag("--datadir", &data));
                if is_root() {
                    install.arg("--user=mysql");
                }
                run(install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]));
            }
            Brand::Redis => {}
        }
    }

    /// coturn's tables, from its own package.
    fn fill(&self) {
        let tables =
            || fs::read_to_string("/usr/share/coturn/schema.sql").expect("coturn's tables");
        match self.brand {
            Brand::Postgresql => {
                run(&mut self.postgres_client("postgres", "create database turn"));
                self.say(&tables());
            }
            Brand::Mariadb => {
                let grant = format!(
                    "create database turn; create user turn@'%' identified by '{PASSWORD}'; \
                     grant all on turn.* to turn@'%'"
                );
                run(&mut self.root_client(&grant));
                self.say(&tables());
            }
            Brand::Redis => {}
        }
    }

    /// The client that comes with it, as the user `turn`.
    fn client(&self) -> Command {
        let place = &self.scratch.0;
        match self.brand {
            Brand::Postgresql => {
                let mut client = Command::new("psql");
                client.env("PGPASSWORD", PASSWORD).arg("-h").arg(place);
                client.args(["-p", &self.port.to_string(), "-U", "turn", "-d", "turn"]);
                client.args(["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-X"]);
                client
            }
            Brand::Mariadb => {
                let mut client = Command::new("mariadb");
                client.args(["--no-defaults", "--unbuffered", "-N", "-B", "-u", "turn"]);
                client.arg(format!("-p{PASSWORD}")).arg("-S").arg(place.join("socket")).arg("turn");
                client
            }
            Brand::Redis => {
                let mut client = Command::new("redis-cli");
                client.env("REDISCLI_AUTH", PASSWORD).arg("-s").arg(place.join("socket"));
                client
            }
        }
    }

    fn postgres_client(&self, database: &str, sql: &str) -> Command {
        let mut client = self.client();
        client.args(["-d", database, "-c", sql]);
        client
    }

    fn root_client(&self, sql: &str) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-u", "root", "-N", "-B", "-S"]);
        client.arg(self.scratch.path("socket")).args(["-e", sql]);
        client
    }

    fn signal(&self, signal: i32) {
        let id = self.child.as_ref().expect("it runs").id() as i32;
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// While it is there, no question about a user is answered.
pub(crate) struct Locked<'a> {
    database: &'a Database,
    /// The client that has the table, as long as it may read.
    client: Option<std::process::ChildStdin>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.client.take().is_none() {
            self.database.signal(libc::SIGCONT);
        }
    }
}

/// Runs coturn's own tool and gives what it says. It leaves a log file of its own, which goes away.
pub(crate) fn turnadmin(arguments: &[&str]) -> String {
    let child = Command::new("turnadmin")
        .args(arguments)
        .current_dir(env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("turnadmin, see tests/run install");
    let log = format!("turn_{}_", child.id());
    let output = child.wait_with_output().expect("a child of ours");
    for folder in ["/var/log", "/var/tmp", "/tmp"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&log) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    stdout(output)
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.expect("a program of the database, see tests/run install");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

fn is_root() -> bool {
    // SAFETY: it only asks.
    unsafe { libc::geteuid() == 0 }
}

/// The servers refuse to run as root.
fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
    command
}

fn own(path: &Path, user: &str) {
    if !is_root() {
        return;
    }
    let id = |which| {
        let output = Command::new("id").args([which, user]).output().expect("id");
        stdout(output).trim().parse().expect("a number")
    };
    chown(path, Some(id("-u")), Some(id("-g"))).expect("root may");
}

/// Debian keeps each version of PostgreSQL in a place of its own.
fn postgresql(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL, see tests/run install");
    let mut found: Vec<_> = versions
        .flatten()
        .map(|version| version.path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL, see tests/run install")
}
