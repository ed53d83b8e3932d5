//! What is asked for on the command line, and what cannot be asked for together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::payload;
use crate::auth::Secret;
use crate::client::{Transport, Uri};
use crate::tls::Trust;
use crate::tools::argument;

/// Packets in flight that one client's bookkeeping can hold with room to spare.
const WINDOW_MAX: u32 = 2048;
/// The most bytes of a payload: what one UDP datagram holds, less the longest header before it.
const SIZE_MAX: u16 = 65_400;
/// The longest load.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// The flags of `turnwire load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server: turn:HOST, turn:HOST:PORT, turn:HOST:PORT?transport=tcp, turns:HOST for TLS; stun:HOST for
    /// --mode binding
    #[arg(value_name = "URI")]
    pub(super) uri: Uri,

    /// User name
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,

    /// The user's password (`ps` shows it)
    #[arg(long, value_name = "PASSWORD", value_parser = argument::secret, requires = "user")]
    pub(super) password: Option<Secret>,

    /// Shared secret to mint an ephemeral credential with, instead of a password (`ps` shows it)
    #[arg(long, value_name = "SECRET", value_parser = argument::secret, conflicts_with = "password")]
    pub(super) secret: Option<Secret>,

    /// Authenticate with SHA-256 where the server offers it (RFC 8489)
    #[arg(long)]
    pub(super) sha256: bool,

    /// Allocations; with --mode binding sockets, with --mode churn cycles at a time
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=65_000))]
    pub(super) clients: u32,

    /// Packets (requests, cycles) per second over all clients, or `max`: as many as come back
    #[arg(long, value_name = "N|max", default_value = "1000", value_parser = rate)]
    pub(super) rate: Rate,

    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value = "1200",
        value_parser = clap::value_parser!(u16).range(payload::MIN as i64..=SIZE_MAX as i64))]
    pub(super) size: u16,

    /// Packets that a client sends back to back
    #[arg(long, value_name = "K", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) train: u32,

    /// What to load the server with
    #[arg(long, value_enum, value_name = "MODE", default_value = "channel")]
    pub(super) mode: Mode,

    /// Where the packets go: to the peer and back, to the peer, or from the peer
    #[arg(long, value_enum, value_name = "DIRECTION", default_value = "echo")]
    pub(super) direction: Direction,

    /// Transport to the server [default: the URI's]
    #[arg(long, value_name = "udp|tcp", value_parser = transport)]
    pub(super) transport: Option<Transport>,

    /// With turns: the file with the root certificates that vouch for the server [default: this system's]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(super) ca: Option<PathBuf>,

    /// With turns: accept any certificate
    #[arg(long)]
    pub(super) insecure: bool,

    /// How long to send, such as 10s, 500ms or 5m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) duration: Duration,

    /// Another host's UDP echo service as the peer [default: a peer in this process]
    #[arg(long, value_name = "IP:PORT")]
    pub(super) peer: Option<SocketAddr>,

    /// One more client that sends so many packets per second besides, in trains of 32: what does it cost the others?
    /// Theirs are the figures of the load, its own stand apart
    #[arg(long, value_name = "PKT/S", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) flood: Option<u32>,

    /// Besides, so many TLS handshakes per second with the same address and port: what do they cost the others?
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) handshakes: Option<u32>,

    /// With --rate max: packets on their way at any time, over all clients
    #[arg(long, value_name = "N", default_value = "64",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(WINDOW_MAX)))]
    pub(super) window: u32,

    /// Send trains in one piece and take them so (UDP_SEGMENT, UDP_GRO), as with a network card that has these
    /// offloads; without it every packet is a datagram of its own
    #[arg(long)]
    pub(super) offload: bool,

    /// With --mode churn: the same sockets again, with the nonce that they know [default: a new one for each cycle].
    /// coturn refuses that for about two seconds
    #[arg(long)]
    pub(super) reuse_sockets: bool,

    /// The server's process, when it runs on this machine: report its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,

    /// Report as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// No progress line
    #[arg(long)]
    pub(super) quiet: bool,
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// So many per second.
    Fixed(u32),
    /// As fast as they come back.
    Max,
}

/// What the server is loaded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// ChannelData messages
    Channel,
    /// Send and Data indications
    Send,
    /// Binding requests
    Binding,
    /// Allocations that are made and ended again
    Churn,
}

/// Which way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Direction {
    /// To the peer and back
    Echo,
    /// From clients to the peer
    Up,
    /// From the peer to clients
    Down,
}

impl Options {
    /// The transport to use.
    pub(super) fn transport(&self) -> Transport {
        self.transport.unwrap_or(self.uri.transport)
    }

    /// The way to the server, as in reports.
    pub(super) fn way(&self) -> &'static str {
        if self.uri.secure { "tls" } else { self.transport().label() }
    }

    /// Whose certificates are accepted.
    pub(super) fn trust(&self) -> Trust {
        match &self.ca {
            _ if self.insecure => Trust::Anyone,
            Some(file) => Trust::Authorities(file.clone()),
            None => Trust::System,
        }
    }

    /// The allocations to make: one more when one floods.
    pub(super) fn allocations(&self) -> u32 {
        self.clients + u32::from(self.flood.is_some())
    }

    /// What cannot be asked for together.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.uri.secure && self.transport() == Transport::Udp {
            return Err(format!(
                "{}: there is no load over DTLS: load it over TLS or, on its plain port, as turn: or stun:",
                self.uri
            ));
        }
        if !self.uri.secure && (self.insecure || self.ca.is_some()) {
            return Err(
                "--ca and --insecure are about TLS: the URI begins with turns: then".to_owned()
            );
        }
        let authenticated = self.password.is_some() || self.secret.is_some();
        if self.flood.is_some() && matches!(self.mode, Mode::Binding | Mode::Churn) {
            return Err("--flood is of packets through an allocation: take --mode channel or send"
                .to_owned());
        }
        if self.handshakes.is_some() && self.mode == Mode::Churn {
            return Err("--handshakes go beside packets: take another --mode than churn".to_owned());
        }
        if self.mode == Mode::Binding {
            if self.peer.is_some() {
                return Err("--peer: Binding requests go to no peer; leave it out, \
                            or take --mode channel or send"
                    .to_owned());
            }
            return Ok(());
        }
        if self.uri.scheme == crate::client::Scheme::Stun {
            return Err(format!(
                "{} is a STUN server: only --mode binding can be asked of it; a TURN server's URI begins with turn:",
                self.uri
            ));
        }
        if !authenticated {
            return Err("who are you? give --user with --password, or --secret".to_owned());
        }
        if self.peer.is_some() && self.direction != Direction::Echo && self.mode != Mode::Churn {
            return Err(
                "what goes one way ends or begins at the built-in peer: leave --peer out, \
                 or take --direction echo"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Mode {
    /// As on the command line and in reports.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Send => "send",
            Self::Binding => "binding",
            Self::Churn => "churn",
        }
    }

    /// What the server holds for each client.
    pub(super) const fn holds(self) -> &'static str {
        match self {
            Self::Binding => "client",
            _ => "allocation",
        }
    }
}

impl Direction {
    /// As on the command line and in reports.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse() {
        Ok(rate @ 1..=10_000_000) => Ok(Rate::Fixed(rate)),
        _ => Err("1 to 10000000 per second, or max".to_owned()),
    }
}

fn transport(text: &str) -> Result<Transport, String> {
    match text {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        _ => Err("udp or tcp".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    argument::duration(text, DURATION_MAX, "24h")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("load").chain(line.split_whitespace());
        let options = Line::try_parse_from(words).map_err(|e| e.to_string())?.options;
        options.check().map(|()| options)
    }

    #[test]
    fn a_line_with_everything_is_understood() {
        let options = parse(
            "turn:127.0.0.1 --user a --password b --clients 50 --rate max --size 160 --train 10 --mode send \
             --direction up --transport tcp --duration 500ms --window 8 --pid 1 --json --quiet",
        )
        .unwrap();
        assert_eq!((options.rate, options.mode), (Rate::Max, Mode::Send));
        assert_eq!((options.direction, options.transport()), (Direction::Up, Transport::Tcp));
        assert_eq!(options.duration, Duration::from_millis(500));
        assert_eq!(
            (options.clients, options.size, options.train, options.window),
            (50, 160, 10, 8)
        );
    }

    #[test]
    fn the_uri_says_the_transport_unless_a_flag_does() {
        let both = "turn:a?transport=tcp --secret s";
        assert_eq!(parse(both).unwrap().transport(), Transport::Tcp);
        let udp = parse(&format!("{both} --transport udp")).unwrap();
        assert_eq!(udp.transport(), Transport::Udp);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (line, word) in [
            ("turn:a", "who are you"),
            ("stun:a --secret s", "STUN server"),
            ("turn:a --secret s --password p", "cannot be used with"),
            ("turn:a --password p", "--user"),
            ("turn:a --secret s --size 31", "31"),
            ("turn:a --secret s --rate 0", "max"),
            ("turn:a --secret s --duration 5", "unit"),
            ("turn:a --secret s --duration 25h", "24h"),
            ("turn:a --secret s --duration 99999999999999999999h", "24h"),
            ("turn:a --secret s --train 65", "65"),
            ("turn:a --secret s --peer 1.2.3.4:5 --direction up", "--peer"),
            ("stun:a --mode binding --peer 1.2.3.4:5", "no peer"),
            ("turn:a --secret s --flood 0", "10000000"),
            ("turn:a --secret s --flood 5 --mode churn", "--mode channel"),
            ("turn:a --secret s --handshakes 5 --mode churn", "another --mode"),
            ("turns:a?transport=udp --secret s", "no load over DTLS"),
            ("turn:a --secret s --insecure", "turns:"),
            ("turns:a --secret s --insecure --ca x", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
        assert!(parse("stun:a --mode binding").is_ok());
    }
}
