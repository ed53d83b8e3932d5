use std::env;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use turnwire::stun::{Kind as MessageKind, Method, TransactionId, Writer};

use crate::load::come_first;

/// The servers that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// See [`crate::naive`].
    Naive,
    Turnwire,
    Coturn,
}

impl Kind {
    /// All of them, in the order in which a round begins.
    pub(crate) const ALL: [Self; 3] = [Self::Naive, Self::Turnwire, Self::Coturn];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Turnwire => "turnwire",
            Self::Coturn => "coturn",
        }
    }
}

/// A server under load; it ends with this value.
pub(crate) struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts the server on core 0; `None` when it is not installed.
    pub(crate) fn start(kind: Kind, coturn_flags: &str) -> Option<Self> {
        let address = free_address();
        let mut command = alone("0");
        match kind {
            Kind::Naive => {
                command.arg(env::current_exe().ok()?).args(["--naive", &address.to_string()])
            }
            Kind::Turnwire => command.arg(turnwire()).args(turnwire_flags(address)),
            Kind::Coturn => command
                .arg(coturn())
                .args(coturn_words(address))
                .args(coturn_flags.split_whitespace()),
        };
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        come_first(child.id());
        let mut running = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !answers_binding(address) {
            if running.child.try_wait().ok()?.is_some() || Instant::now() > deadline {
                return None;
            }
        }
        Some(running)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The beginning of a command that has a core, a session and so a scheduler's group for itself, and ends with this
/// process.
pub(crate) fn alone(core: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "setsid", "taskset", "-c", core]);
    command
}

/// The release binary beside this program.
pub(crate) fn turnwire() -> PathBuf {
    env!("CARGO_BIN_EXE_turnwire").into()
}

/// coturn's program: the one of the search path, unless COTURN names another.
pub(crate) fn coturn() -> PathBuf {
    env::var_os("COTURN").unwrap_or_else(|| "turnserver".into()).into()
}

fn turnwire_flags(address: SocketAddr) -> Vec<String> {
    let flags = format!(
        "--user alice:secret --realm example.org --listen {address} --relay-ip {} \
         --allow-peer 127.0.0.0/8 --log-level error {}",
        address.ip(),
        env::var("TURNWIRE_FLAGS").unwrap_or_default()
    );
    flags.split_whitespace().map(str::to_owned).collect()
}

fn coturn_words(address: SocketAddr) -> Vec<String> {
    let flags = format!(
        "-n --lt-cred-mech --no-cli --user=alice:secret --realm=example.org --listening-ip={ip} \
         --relay-ip={ip} --listening-port={port} --allow-loopback-peers --no-stdout-log \
         --log-file=/dev/null --no-tls --no-dtls --pidfile=/dev/null {more}",
        ip = address.ip(),
        port = address.port(),
        more = env::var("COTURN_FLAGS").unwrap_or_default()
    );
    flags.split_whitespace().map(str::to_owned).collect()
}

fn free_address() -> SocketAddr {
    let probe = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("bound")
}

fn answers_binding(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let mut buffer = [0; 64];
    let id = TransactionId::new([1; 12]);
    let writer = Writer::new(&mut buffer, MessageKind::request(Method::BINDING), &id);
    let length = writer.finish().expect("room");
    let sent = socket.send_to(&buffer[..length], server);
    sent.is_ok() && socket.recv(&mut buffer).is_ok()
}
