use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::session::answers_binding;

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
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
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

    /// CPU time of all of its threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let spent = tasks.into_iter().flatten().flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
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
fn turnwire() -> PathBuf {
    env!("CARGO_BIN_EXE_turnwire").into()
}

fn free_address() -> SocketAddr {
    let probe = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("bound")
}

pub(crate) fn pin_to_core(core: usize) {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-pc", &core.to_string(), &pid]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        eprintln!("could not pin to core {core}: figures will be noisy");
    }
}
