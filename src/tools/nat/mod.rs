//! `turnwire nat`: what kind of NAT this host is behind, in words (RFC 5780, from the client's side).
//!
//! ```text
//! discover   which questions follow from which answers; asks through `Wire`
//! wire       the questions on real sockets
//! words      what the answers mean to somebody who makes calls
//! ```
//!
//! Mapping tells whether a peer can learn the address that it is to send to, filtering whether it is let in there.
//! Any STUN server tells whether there is a NAT at all; the rest takes one with a second address (RFC 5780 §6).

mod discover;
mod wire;
mod words;

use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use super::{argument, say};
use crate::client::{Transport, Uri};

use discover::{Found, discover};
use wire::Sockets;

/// The longest that a binding's lifetime is looked for.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// The flags of `turnwire nat`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// A STUN server: stun:HOST or stun:HOST:PORT; with a second address (RFC 5780) it can tell everything
    #[arg(value_name = "URI")]
    pub uri: Uri,

    /// Only by IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Only by IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,

    /// Also find out how long the NAT remembers a silent socket, looking at most this far: a NAT that forgets soon
    /// is found out in a minute or two; with 5m it takes up to 27 minutes, with 1h two hours and more
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub lifetime: Option<Duration>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints. Fails when no server answers.
pub fn run(options: &Options) -> ExitCode {
    match look(options) {
        Ok(found) => {
            let text = if options.json { words::json(&found) } else { words::page(&found) };
            say(&text, ExitCode::SUCCESS)
        }
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

fn look(options: &Options) -> Result<Found, String> {
    let uri = &options.uri;
    if uri.transport != Transport::Udp || uri.secure {
        return Err("NATs are looked at by UDP in clear: stun:HOST or stun:HOST:PORT".to_owned());
    }
    let found = (uri.host.as_str(), uri.port).to_socket_addrs();
    let found = found.map_err(|error| format!("{} cannot be resolved: {error}", uri.host))?;
    let wanted = |it: &SocketAddr| if it.is_ipv4() { !options.ipv6 } else { !options.ipv4 };
    let mut servers: Vec<SocketAddr> = found.filter(wanted).collect();
    // Where there is a NAT, it is most likely on the way of IPv4.
    servers.sort_by_key(SocketAddr::is_ipv6);
    let server = servers.first().ok_or_else(|| format!("{} has no such address", uri.host))?;
    let mut sockets = Sockets::open(*server).map_err(|error| error.to_string())?;
    discover(&mut sockets, *server, options.lifetime).ok_or_else(|| {
        format!("{server} does not answer: is UDP to it open, and a STUN server there?")
    })
}

fn lifetime(text: &str) -> Result<Duration, String> {
    argument::duration(text, LIFETIME_MAX, "1h")
}

#[cfg(test)]
mod tests;
