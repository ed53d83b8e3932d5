//! `turnwire explain`: follows one client of a running server live, by the admin socket.

mod text;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::admin::Target;
use super::admin::http::{Server, Trouble, encode};
use super::argument;

const LONGEST: Duration = Duration::from_secs(86_400);

/// The flags of `turnwire explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Follow this user: the whole username, or the user part of an ephemeral one
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Follow clients at this IP or in this CIDR
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Follow clients that name this realm
    #[arg(long, value_name = "REALM")]
    realm: Option<String>,
    /// For so long: 30s, 10m, up to 24h
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "10m")]
    time: Duration,
    /// Follow nobody: print what a cause in the log means and what to do, such as peer_denied
    #[arg(value_name = "CAUSE", conflicts_with_all = ["user", "address", "realm", "causes"])]
    pub cause: Option<String>,
    /// Follow nobody: print all causes, as docs/troubleshooting.md has them
    #[arg(long, conflicts_with_all = ["user", "address", "realm"])]
    pub causes: bool,
    /// Which server
    #[command(flatten)]
    pub target: Target,
}

fn time(text: &str) -> Result<Duration, String> {
    let whole = |it: &Duration| it.subsec_nanos() == 0;
    let time = argument::duration(text, LONGEST, "24h")?;
    Some(time).filter(whole).ok_or_else(|| "whole seconds".to_owned())
}

/// Follows until the time is over, the server ends, or nobody reads any more. Success is that it was followed.
pub fn run(options: &Options, sockets: &[PathBuf]) -> ExitCode {
    match Server::find(sockets).and_then(|server| follow(options, &server)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "{trouble}");
            ExitCode::FAILURE
        }
    }
}

fn follow(options: &Options, server: &Server) -> Result<(), Trouble> {
    let mut path = format!("/v1/explain?for_seconds={}", options.time.as_secs());
    let names = [("user", &options.user), ("address", &options.address), ("realm", &options.realm)];
    for (name, value) in names {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    let (json, color) = (options.target.json, io::stdout().is_terminal());
    server.lines(&path, |line| {
        let mut out = io::stdout().lock();
        let printed = match serde_json::from_str::<Value>(line) {
            // Nothing but a sign of life.
            _ if line.is_empty() => Ok(()),
            Ok(heard) if !json => writeln!(out, "{}", text::heard(&heard, color)),
            _ => writeln!(out, "{line}"),
        };
        printed.and_then(|()| out.flush()).is_ok()
    })
}
