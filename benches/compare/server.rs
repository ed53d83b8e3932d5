use std::env;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use turnwire::stun::{Kind as MessageKind, Method, TransactionId, Writer};

use crate::certificate;
use crate::process::{alone, come_first};
use crate::site::Site;

/// The servers that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// See [`crate::naive`].
    Naive,
    Turnwire,
    /// Turnwire on a kernel that has no trains.
    OneByOne,
    Coturn,
}

impl Kind {
    /// In the order in which a round begins; the last is the measure of the others.
    pub(crate) const ALL: [Self; 3] = [Self::Naive, Self::Turnwire, Self::Coturn];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Turnwire => "turnwire",
            Self::OneByOne => "no trains",
            Self::Coturn => "coturn",
        }
    }

    /// Its program and flags. `more` is for coturn; `--tls` in it stands for a certificate.
    fn command_line(self, site: &Site, address: SocketAddr, more: &str) -> (PathBuf, String) {
        let (ip, port, relay) = (address.ip(), address.port(), site.relay);
        let flags = |name| env::var(name).unwrap_or_default();
        let [chain, key] = certificate::files().each_ref().map(|path| path.display());
        let turnwire_flags = format!(
            "--user alice:secret --realm example.org --listen {address} --relay-ip {relay} \
             --allow-peer 127.0.0.0/8 --allow-peer 10.99.0.0/16 --log-level error --cert {chain} --key {key} {}",
            flags("TURNWIRE_FLAGS")
        );
        match self {
            Self::Naive => {
                let program = env::current_exe().expect("this program has a path");
                (program, format!("--naive {address} {relay}"))
            }
            Self::Turnwire | Self::OneByOne => {
                let config = configuration(self == Self::Turnwire);
                (turnwire(), format!("{turnwire_flags} --config {}", config.display()))
            }
            Self::Coturn => {
                // It is spared what a load does not need, which costs it a little at each packet.
                let secure = match more.contains("--tls") {
                    true => format!("--cert={chain} --pkey={key}"),
                    false => "--no-tls --no-dtls".to_owned(),
                };
                let more = more.replace("--tls", "");
                let flags = format!(
                    "-n --lt-cred-mech --no-cli --user=alice:secret --realm=example.org \
                     --listening-ip={ip} --listening-port={port} --relay-ip={relay} \
                     --allow-loopback-peers --no-stdout-log --log-file=/dev/null \
                     --pidfile=/dev/null {secure} {more} {}",
                    flags("COTURN_FLAGS")
                );
                (coturn(), flags)
            }
        }
    }
}

/// A server under load; it ends with this value.
pub(crate) struct Running<'a> {
    child: Child,
    address: SocketAddr,
    site: &'a Site,
}

impl<'a> Running<'a> {
    /// Starts the server on core 0; `None` when it is not installed. `more` are flags for coturn.
    pub(crate) fn start(site: &'a Site, kind: Kind, more: &str) -> Option<Self> {
        let address = site.free_address();
        let (program, flags) = kind.command_line(site, address, more);
        let mut command = alone("0");
        command.args(&site.enter).arg(program).args(flags.split_whitespace());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        come_first(child.id());
        let mut running = Self { child, address, site };
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

    pub(crate) const fn site(&self) -> &'a Site {
        self.site
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running<'_> {
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

/// All clients come from one address.
fn configuration(trains: bool) -> PathBuf {
    let name = format!("trains-{trains}.toml");
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let streams = "[limits.streams]\nper_address = 60000\nwithout_allocation = 60000\n";
    fs::write(&path, format!("[listen]\ntrains = {trains}\n{streams}")).expect("a file");
    path
}

/// coturn's program: the one of the search path, unless COTURN names another.
fn coturn() -> PathBuf {
    env::var_os("COTURN").unwrap_or_else(|| "turnserver".into()).into()
}

/// As coturn tells it.
pub(crate) fn coturn_version() -> String {
    let output = Command::new(coturn()).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let version = text.lines().rfind(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    version.map_or_else(|| "not there, or does not tell its version".to_owned(), str::to_owned)
}

fn answers_binding(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let mut buffer = [0; 64];
    let id = TransactionId::new([1; 12]);
    let writer = Writer::new(&mut buffer, MessageKind::request(Method::BINDING), &id);
    let length = writer.finish().expect("room");
    let sent = socket.send_to(&buffer[..length], server);
    sent.is_ok() && socket.recv(&mut buffer).is_ok()
}
