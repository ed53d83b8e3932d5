use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use turnwire::stun::{Kind as MessageKind, Method, TransactionId, Writer};

use crate::load::come_first;

/// The servers that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Coturn,
    Turnwire,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Coturn => "coturn",
            Self::Turnwire => "turnwire",
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
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        let address = free_address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new("setsid");
        command.args(["taskset", "-c", "0"]);
        match kind {
            Kind::Coturn => {
                command.args(["turnserver", "-n", "--lt-cred-mech", "--no-cli"]).args([
                    "--user=alice:secret",
                    "--realm=example.org",
                    &format!("--listening-ip={ip}"),
                    &format!("--relay-ip={ip}"),
                    &format!("--listening-port={port}"),
                    "--allow-loopback-peers",
                    "--no-stdout-log",
                    "--log-file=/dev/null",
                    "--no-tls",
                    "--no-dtls",
                    "--pidfile=/dev/null",
                ])
            }
            Kind::Turnwire => command.arg(turnwire()).args([
                "--user",
                "alice:secret",
                "--realm",
                "example.org",
                "--listen",
                &address.to_string(),
                "--relay-ip",
                &ip,
                "--allow-peer",
                "127.0.0.0/8",
                "--log-level",
                "error",
            ]),
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

/// The release binary beside this program.
pub(crate) fn turnwire() -> PathBuf {
    env!("CARGO_BIN_EXE_turnwire").into()
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
