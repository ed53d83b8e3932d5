//! The flags of the commands that speak to a running server.

use std::path::PathBuf;
use std::time::Duration;

use crate::tools::argument;

/// A month.
const LONGEST_DRAIN: Duration = Duration::from_secs(31 * 86400);
/// A year.
const LONGEST_REVOCATION: Duration = Duration::from_secs(366 * 86400);
const LONGEST_MEASURE: Duration = Duration::from_secs(5);

/// The flags that say which sessions are meant.
const FILTER: [&str; 4] = ["user", "realm", "address", "transport"];

const EXIT: &str = "Exit code: 0 when it was done, 1 when not, with the reason on standard error.";

const DRAIN_HELP: &str = "\
New clients are refused, or sent to another server where one is configured, and readiness is taken
down. Calls go on until they end or the deadline passes; then the server ends. A second drain sets
another deadline; 0s ends the server at once.

Exit code: 0 when it was done, 1 when not, with the reason on standard error.";

const REVOKE_HELP: &str = "\
The running server refuses the user from now on, whatever its configuration and its stores say,
until the time is over or the server ends. A user that is to stay out belongs out of them as well.

Examples:
  turnwire revoke alice
  turnwire revoke 1795255200:alice --for 2h
  turnwire revoke --list

Exit code: 0 when it was done, 1 when not, with the reason on standard error.";

const KILL_HELP: &str = "\
Examples:
  turnwire sessions kill 0-17
  turnwire sessions kill --user alice
  turnwire sessions kill --address 203.0.113.0/24

A client notices at once that nothing is relayed any more, and may come back with the same
credential.

Exit code: 0 when some were ended, 1 when none was, with the reason on standard error.";

/// What a running server can be asked for.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// See and end live sessions
    Sessions {
        /// What to do
        #[command(subcommand)]
        command: Sessions,
    },
    /// Say how the running server is
    #[command(after_help = EXIT)]
    Status(Target),
    /// Have the running server read its configuration again: all of it or nothing
    #[command(after_help = EXIT)]
    Reload(Target),
    /// Have the running server take no new clients, and end when the last call is over
    #[command(after_help = DRAIN_HELP)]
    Drain(Drain),
    /// Let a user in no more, and end its sessions
    #[command(after_help = REVOKE_HELP)]
    Revoke(Revoke),
    /// Change how much the running server logs, until its next reload
    #[command(after_help = EXIT)]
    LogLevel {
        /// error, warn, info or debug
        #[arg(value_parser = ["error", "warn", "info", "debug"])]
        level: String,
        /// Which server
        #[command(flatten)]
        target: Target,
    },
}

/// What can be done with sessions.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Sessions {
    /// List them, or those that are like this
    #[command(after_help = EXIT)]
    List(List),
    /// All about one
    #[command(after_help = EXIT)]
    Show {
        /// Its name, such as 0-17
        #[arg(value_name = "SESSION")]
        id: String,
        /// Measure its rates for so long, up to 5s
        #[arg(long, value_name = "TIME", value_parser = measure)]
        measure: Option<Duration>,
        /// Which server
        #[command(flatten)]
        target: Target,
    },
    /// End one, or all that are like this
    #[command(after_help = KILL_HELP)]
    Kill {
        /// Which sessions
        #[command(flatten)]
        which: Which,
        /// Which server
        #[command(flatten)]
        target: Target,
    },
}

/// Which server is asked, and how it answers.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The server's admin socket [default: found by the configuration, or in the state directory]
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub socket: Option<PathBuf>,
    /// The configuration that the server runs with, which names its socket
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the API's JSON
    #[arg(long)]
    pub json: bool,
}

/// The flags of `turnwire sessions list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Which sessions
    #[command(flatten)]
    pub which: Filter,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    pub limit: usize,
    /// Go on where a list has ended
    #[arg(long, value_name = "NEXT")]
    pub after: Option<String>,
    /// Which server
    #[command(flatten)]
    pub target: Target,
}

/// Sessions that are like this.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Of this user: the whole username, or the user part of an ephemeral one
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Of this realm
    #[arg(long, value_name = "REALM")]
    pub realm: Option<String>,
    /// Of clients at this IP, in this CIDR, or with this client or relayed IP:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Over udp, tcp, tls or dtls
    #[arg(long, value_name = "NAME", value_parser = ["udp", "tcp", "tls", "dtls"])]
    pub transport: Option<String>,
}

impl Filter {
    /// As the API has it.
    pub(super) fn query(&self) -> Vec<(&'static str, &str)> {
        let Self { user, realm, address, transport } = self;
        let all =
            [("user", user), ("realm", realm), ("address", address), ("transport", transport)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

/// One session, or those that are like this.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// Its name, such as 0-17
    #[arg(value_name = "SESSION", required_unless_present_any = FILTER, conflicts_with_all = FILTER)]
    pub id: Option<String>,
    /// Which sessions
    #[command(flatten)]
    pub filter: Filter,
}

/// The flags of `turnwire drain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Drain {
    /// How long calls may go on: 90s, 30m, 1h [default: process.drain, or an hour]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub deadline: Option<Duration>,
    /// Say how it goes, and return when the server has ended
    #[arg(long)]
    pub wait: bool,
    /// Which server
    #[command(flatten)]
    pub target: Target,
}

/// The flags of `turnwire revoke`.
#[derive(Clone, Debug, clap::Args)]
pub struct Revoke {
    /// The whole username, or the user part of ephemeral ones
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    pub user: Option<String>,
    /// In this realm only
    #[arg(long, value_name = "REALM", conflicts_with = "list")]
    pub realm: Option<String>,
    /// For so long: 30m, 24h, 7d
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = revocation)]
    pub time: Duration,
    /// Let it in again
    #[arg(long, conflicts_with_all = ["list", "time"])]
    pub undo: bool,
    /// Say who is revoked
    #[arg(long)]
    pub list: bool,
    /// Which server
    #[command(flatten)]
    pub target: Target,
}

impl Command {
    /// Which server is meant.
    pub const fn target(&self) -> &Target {
        match self {
            Self::Status(target) | Self::Reload(target) | Self::LogLevel { target, .. } => target,
            Self::Drain(Drain { target, .. }) | Self::Revoke(Revoke { target, .. }) => target,
            Self::Sessions { command } => match command {
                Sessions::List(List { target, .. }) => target,
                Sessions::Show { target, .. } | Sessions::Kill { target, .. } => target,
            },
        }
    }
}

fn deadline(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => argument::duration(text, LONGEST_DRAIN, "31d"),
    }
}

fn revocation(text: &str) -> Result<Duration, String> {
    argument::duration(text, LONGEST_REVOCATION, "366d")
}

fn measure(text: &str) -> Result<Duration, String> {
    argument::duration(text, LONGEST_MEASURE, "5s")
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a number from 1 on".to_owned())
}
