use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use turnwire::config::import::{Imported, Weight};
use turnwire::config::{Config, Flags};
use turnwire::tls::Identity;
use turnwire::tools::{admin, check, credentials, explain, load, nat, users};

const USAGE: &str = "turnwire [serve] [OPTIONS]\n       turnwire check-config FILE\n       turnwire check URI... [OPTIONS]\n       turnwire nat URI [OPTIONS]\n       turnwire load URI [OPTIONS]\n       turnwire credentials [URI]... --secret S [OPTIONS]\n       turnwire users add|remove|list|secret [OPTIONS]\n       turnwire import turnserver.conf [--database [URL]] [--output FILE]\n       turnwire explain --user NAME|--address IP [OPTIONS]\n       turnwire status|sessions|reload|drain|revoke|log-level [OPTIONS]";

const HELP: &str = "\
Without any flag it works at once on this machine: it makes a secret and prints credentials to
try it with. It never relays for strangers.

turnwire reload, or kill -HUP, has the configuration file read again: all of it comes into force or
nothing does, and the log says which.

What stands on the command line can be seen by everybody on this machine (ps). Passwords and
secrets belong in the file; config/turnwire.toml is the reference.

Example, a public server behind the 1:1 NAT of a cloud:
  turnwire --config /etc/turnwire/turnwire.toml --external-ip 203.0.113.5 --realm example.org
";

const LOAD_HELP: &str = "\
Only for servers that you run: it is meant to exhaust them. It takes one core of this machine.

The built-in peer is a socket of this process. A server on this machine must be told that it may
relay there: turnwire --allow-peer 127.0.0.0/8, turnserver --allow-loopback-peers.

Example, what a packet costs a server here:
  turnwire load turn:127.0.0.1 --user alice --password wonderland --clients 50 --rate max --pid 4711

Exit code: 0 when all was set up and kept and nothing came corrupted or at the wrong place, 1 when
not, 2 when the options cannot be followed.
";

const USERS_HELP: &str = "\
Without --store and --config they live in turnwire.db (SQLite) in the server's state directory. The
tables are coturn's, so that both servers and both tools can use one database; beside coturn's MD5
keys, users written here have keys for SHA-256.

A server that runs on this machine is told at once, by its admin socket (--config says where, if it
is not the usual place). Others see a new user at once, or if they have just turned that name away,
after stores.keep_unknown (10s), a removal and a new password within stores.keep (5m), and a secret
within stores.refresh_secrets (1m). What becomes of calls then says auth.on_revocation.

No password stands on the command line: it is asked for, or is the first line of standard input.

Examples:
  turnwire users add alice --realm example.org
  pwgen 20 1 | turnwire users add bob --store postgresql://turn@localhost/turn
  turnwire users list --store sqlite:/var/lib/turn/turndb --json
  turnwire users secret add --generate

Exit code: 0 when it was done, 1 when not.
";

const IMPORT_HELP: &str = "\
Above each key stand the lines of coturn's file that it comes from; a line that has no equal stands
there as a comment, with the reason. What needs a look is also said on standard error. A database
of users and secrets becomes a store that is asked as it is. Users known by their MD5 keys alone go
into a file beside the result (FILE.users), which is asked too. coturn's file is only read.

With --database the database is read as well: its realms become [[realm]], with their limits, peers,
origins and token keys. Users and secrets stay where they are. Without a URL it is the one that the
file names. A URL is sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE, mysql://... or
redis://:PASSWORD@HOST/NUMBER; a password in it can be seen in ps.

Examples:
  turnwire import /etc/turnserver.conf --output turnwire.toml
  turnwire import /etc/turnserver.conf --database --output turnwire.toml
  turnwire import --database sqlite:/var/lib/turn/turndb

Exit code: 0 when everybody whom coturn lets in is taken along, 3 when not; 1 when the file or the
database cannot be read, or the result cannot be written or used.
";

const CHECK_HELP: &str = "\
Any TURN server can be asked. Each way to it is walked from its name to data that come back through
the relay, from a second allocation and from a socket outside; what fails is named, with its cause
and what to do about it. Run it from another network than the server's: from next to it, a firewall
and a wrong external address do not show.

Examples:
  turnwire check turn:turn.example.org --user alice --password secret --all
  turnwire check turns:turn.example.org:443 --secret-file secret --json
  turnwire check --conformance turn:turn.example.org --secret-file secret

With --conformance the sentences of the RFCs are tried one by one: what fails breaks a MUST, what
the server does not offer is skipped. Give the secret where there is one: two users are needed.

Exit code: 0 when every way works, 1 when some do not or it cannot begin, 3 when none does. With
--conformance 1 when a sentence is broken or could not be tried, 3 when a server does not answer.
";

const NAT_HELP: &str = "\
Any STUN server tells whether there is a NAT. How it maps and filters takes one with a second address
and port (RFC 5780): with Turnwire --nat-alternate, with coturn rfc5780.

Example:
  turnwire nat stun:turn.example.org --lifetime 2m

Exit code: 0 when the server has answered, 1 when not, with the reason on standard error.
";

const EXPLAIN_HELP: &str = "\
Nothing is changed and nobody is slowed down: what is not read in time is left out and counted. No
password, key or packet content is shown. Up to eight can follow at a time.

Examples:
  turnwire explain --user alice
  turnwire explain --address 198.51.100.0/24 --for 1h --json
  turnwire explain peer_denied

Exit code: 0 when it was followed or told, 1 when not, with the reason on standard error.
";

const CREDENTIALS_HELP: &str = "\
Nothing is asked of the server: whoever has its secret can mint, and the server sees by the secret
that it was minted. A server that was told no secret has made one: --secret-file
/var/lib/turnwire/secret, or what its log names.

Example, for a page that calls by your server for a day:
  turnwire credentials turn:turn.example.org turns:turn.example.org --secret-file secret --ttl 24h --json

Exit code: 0 when it was minted, 1 when not, with the reason on standard error.
";

/// A STUN/TURN server
#[derive(Parser)]
#[command(name = "turnwire", version, override_usage = USAGE, after_help = HELP)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server (the default)
    #[command(after_help = HELP)]
    Serve(Box<Flags>),
    /// Say what is wrong with a configuration file, or that it is fine
    CheckConfig {
        /// The file, in TOML
        #[arg(value_name = "FILE", required_unless_present = "reference")]
        file: Option<PathBuf>,
        /// Warnings fail as well
        #[arg(long)]
        strict: bool,
        /// Read nothing: print every key with its default and what it is for, as a file or as a page
        #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true)]
        #[arg(default_missing_value = "toml", conflicts_with_all = ["file", "strict"])]
        reference: Option<Reference>,
    },
    /// Make a configuration from coturn's
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// coturn's configuration, usually /etc/turnserver.conf
        #[arg(value_name = "turnserver.conf", required_unless_present_any = ["options", "database"])]
        file: Option<PathBuf>,
        /// Read coturn's database too: realms, peers, limits, origins, token keys [default: the one of its file]
        #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
        database: Option<String>,
        /// Write here, to a new file that only its owner may read [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Read nothing: print every option of coturn's, and what it is here
        #[arg(long, conflicts_with_all = ["file", "database", "output"])]
        options: bool,
    },
    #[command(flatten)]
    Admin(admin::Command),
    /// Follow one client of the running server live: each request, the decision, the reason, a hint
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Box<explain::Options>),
    /// Load a TURN server of yours, and say what it delivers and what it costs
    #[command(after_help = LOAD_HELP)]
    Load(Box<load::Options>),
    /// Say whether a TURN server works, way by way, and why not
    #[command(after_help = CHECK_HELP)]
    Check(Box<check::Options>),
    /// Say who may come in: users and shared secrets in a database
    #[command(after_help = USERS_HELP)]
    Users(Box<users::Options>),
    /// Say what kind of NAT this host is behind, and whether calls from here need TURN
    #[command(after_help = NAT_HELP)]
    Nat(Box<nat::Options>),
    /// Mint an ephemeral credential, as an application does, and print it to be pasted
    #[command(after_help = CREDENTIALS_HELP)]
    Credentials(Box<credentials::Options>),
}

/// How the reference is printed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Reference {
    /// config/turnwire.toml
    Toml,
    /// docs/configuration.md
    Markdown,
}

/// Before an @ there may be a password.
fn hide_passwords(error: &mut clap::Error) {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand, ContextKind::InvalidArg]
    {
        if let Some(ContextValue::String(value)) = error.get(kind)
            && let Some((_, host)) = value.rsplit_once('@')
        {
            let shown = ContextValue::String(format!("...@{host}"));
            error.insert(kind, shown);
        }
    }
}

impl Cli {
    /// Reads the command line. Whoever names the configuration as other servers want it is told how it is named here,
    /// if what was asked for takes one.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|mut error| {
            let named = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg];
            let named = named.map(|kind| error.get(kind).map(ToString::to_string));
            hide_passwords(&mut error);
            let Some(file) = named.into_iter().flatten().next() else { error.exit() };
            if takes_config() && (file == "-c" || Path::new(&file).is_file()) {
                let tip = "the configuration is named with '--config FILE'".into();
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            }
            error.exit()
        })
    }

    /// What was asked for.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(Box::new(self.flags)))
    }
}

/// Whether what the command line asks for has a flag `--config`.
fn takes_config() -> bool {
    let command = <Cli as CommandFactory>::command();
    let first = std::env::args_os().nth(1).unwrap_or_default();
    command
        .find_subcommand(first)
        .is_none_or(|it| it.get_arguments().any(|flag| flag.get_long() == Some("config")))
}

/// A configuration in one line.
pub(crate) fn summary(config: &Config) -> String {
    let ports = config.relay.ports;
    let auth = &config.auth;
    let who = match (auth.users.len(), auth.secrets.len(), auth.tokens.keys.len()) {
        (0, 0, 0) if config.has_credentials() => "no user and no secret of its own".to_owned(),
        (0, 0, 0) => "no user and no secret (one will be made)".to_owned(),
        (users, secrets, 0) => {
            format!("{}, {}", count(users, "user"), count(secrets, "shared secret"))
        }
        (users, secrets, keys) => format!(
            "{}, {}, {} for access tokens",
            count(users, "user"),
            count(secrets, "shared secret"),
            count(keys, "key"),
        ),
    };
    let who = match config.stores.len() {
        0 => who,
        stores => format!("{who}, {}", count(stores, "store")),
    };
    format!(
        "{}, {who}, realm {:?}, relay ports {}-{} ({}), {}, {}, admin {}",
        count(config.worker.listeners.len(), "listener"),
        auth.realm,
        ports.first,
        ports.last,
        ports.len(),
        count(config.peers.len(), "peer rule"),
        count(config.tls.certificates.len(), "certificate"),
        config.admin.map_or("off".to_owned(), |address| format!("on {address}")),
    )
}

/// What an import did, line by line, for whoever has to look after it.
pub(crate) fn report(imported: &Imported, name: &str) -> String {
    let mut text = String::new();
    let mut told = [0, 0, 0];
    for note in &imported.notes {
        told[note.weight as usize] += 1;
        let place = match note.line {
            Some(line) => format!("{name}:{line}"),
            None if note.database => "coturn's database".to_owned(),
            // About what is not there: it stands in the result.
            None => continue,
        };
        let word = match note.weight {
            Weight::Act => "look here",
            Weight::Lost => "no equal",
            Weight::Same => continue,
        };
        let colon = if note.options.is_empty() { "" } else { ": " };
        let what = format!("{}{colon}{}", note.options, note.text);
        text.push_str(&format!("{place}: {word}: {what}\n"));
    }
    let [same, lost, act] = told;
    let (keys, act) = (count(imported.keys, "key"), count(act, "place"));
    text.push_str(&format!(
        "{name}: {keys} written; {act} to look at, {} without an equal, {same} with nothing to write",
        lost,
    ));
    if imported.left_behind {
        text.push_str(&format!("\n{name}: not everybody whom coturn lets in is taken along"));
    }
    text
}

/// A certificate in one line.
pub(crate) fn certificate(identity: &Identity) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let kind = if identity.is_rsa() { "RSA" } else { "ECDSA" };
    let names = match identity.names() {
        [] => identity.label().to_owned(),
        names => names.join(", "),
    };
    let left = match identity.seconds_left(now) {
        past if past < 0 => "expired".to_owned(),
        left => format!("{} left", count((left / 86400) as usize, "day")),
    };
    format!("certificate of {names} ({kind}), {left}")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
