//! `turnwire credentials`: an ephemeral credential, in the forms in which it is pasted.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{argument, password, say};
use crate::auth::{RestDigest, Secret, can_separate, mint_password, prepare};
use crate::client::{Scheme, Transport, Uri};

/// A year: who wants more wants a user with a password.
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// RFC 8489 §14.3
const USERNAME_MAX: usize = 508;

/// The flags of `turnwire credentials`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Servers, for the lines to paste: turn:HOST, turn:HOST:PORT?transport=tcp, turns:HOST, stun:HOST
    #[arg(value_name = "URI", default_value = "turn:127.0.0.1")]
    pub uris: Vec<Uri>,

    /// The secret that the server shares with applications (`ps` shows it)
    #[arg(long, value_name = "SECRET", value_parser = argument::secret, required_unless_present = "secret_file")]
    pub secret: Option<Secret>,

    /// A file with the secret in it, the first where it has several, one a line, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    pub secret_file: Option<PathBuf>,

    /// Whom it is for: quotas and records count by this name; empty for nobody
    #[arg(long, value_name = "NAME", default_value = "turnwire")]
    pub user: String,

    /// How long it lets somebody in: 10m, 12h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    pub ttl: Duration,

    /// Mint with HMAC-SHA256, where the server takes that (auth.digests)
    #[arg(long)]
    pub sha256: bool,

    /// What stands between expiry and name in the server's configuration (auth.separator)
    #[arg(long, value_name = "CHARACTER", value_parser = separator, default_value = ":")]
    pub separator: char,

    /// Print the iceServers JSON alone
    #[arg(long)]
    pub json: bool,
}

/// A credential that is good for a while.
struct Minted {
    username: String,
    password: String,
    expires: u64,
}

/// Mints and prints. Fails when there is no secret, or the name can be nobody's.
pub fn run(options: &Options) -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    match secret(options).and_then(|secret| mint(options, &secret, now)) {
        Ok(minted) => {
            let text =
                if options.json { json_line(options, &minted) } else { page(options, &minted) };
            say(&text, ExitCode::SUCCESS)
        }
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

fn secret(options: &Options) -> Result<Secret, String> {
    let secret = match (&options.secret, &options.secret_file) {
        (Some(secret), _) => secret.clone(),
        (None, Some(path)) => password::shared(path)?,
        (None, None) => Secret::new(""),
    };
    match secret.expose() {
        "" => Err("the secret is empty: it is what auth.secrets has, or the server's own in its state directory".into()),
        _ => Ok(secret),
    }
}

fn mint(options: &Options, secret: &Secret, now: u64) -> Result<Minted, String> {
    let expires = now + options.ttl.as_secs();
    let username = match options.user.as_str() {
        "" => expires.to_string(),
        user => format!("{expires}{}{user}", options.separator),
    };
    // The server makes the password of the name as it comes over the wire, which is prepared.
    let username = prepare(&username)
        .filter(|name| name.len() <= USERNAME_MAX)
        .ok_or("the name must have at most some 490 bytes and no control characters")?
        .into_owned();
    let digest = if options.sha256 { RestDigest::Sha256 } else { RestDigest::Sha1 };
    Ok(Minted { password: mint_password(digest, secret, &username), username, expires })
}

fn ice_servers(options: &Options, minted: &Minted) -> Value {
    let (stun, turn): (Vec<_>, Vec<_>) =
        options.uris.iter().partition(|uri| uri.scheme == Scheme::Stun);
    let urls = |uris: &[&Uri]| uris.iter().map(|uri| uri.to_string()).collect::<Vec<_>>();
    let mut servers = Vec::new();
    if !stun.is_empty() {
        servers.push(json!({ "urls": urls(&stun) }));
    }
    if !turn.is_empty() {
        let (username, credential) = (&minted.username, &minted.password);
        servers
            .push(json!({ "urls": urls(&turn), "username": username, "credential": credential }));
    }
    Value::Array(servers)
}

fn json_line(options: &Options, minted: &Minted) -> String {
    format!("{}\n", json!({ "iceServers": ice_servers(options, minted) }))
}

fn page(options: &Options, minted: &Minted) -> String {
    let Minted { username, password, expires } = minted;
    let good = options.ttl.as_secs();
    let servers = ice_servers(options, minted);
    let mut page = format!(
        "username    {username}\ncredential  {password}\ngood for    {good} s, until {expires} (seconds since 1970)\n\n\
         iceServers, as an application hands it out:\n{}\n\n\
         In a page:\nconst pc = new RTCPeerConnection({{ iceServers: {servers} }});\n\n\
         With coturn's test client, from one allocation to another:\n",
        json!({ "iceServers": servers }),
    );
    for uri in options.uris.iter().filter(|uri| uri.scheme == Scheme::Turn) {
        // Writing to a string does not fail.
        let _ = writeln!(page, "{}", uclient(uri, minted));
    }
    page
}

/// The line for `turnutils_uclient`: two clients who exchange packets through the server, by indications, as older
/// versions bind channels whose numbers RFC 8656 has taken away.
fn uclient(uri: &Uri, minted: &Minted) -> String {
    let stream = if uri.transport == Transport::Tcp { " -t" } else { "" };
    let secure = if uri.secure { " -S" } else { "" };
    let (name, password) = (quoted(&minted.username), quoted(&minted.password));
    format!(
        "turnutils_uclient -y -s{stream}{secure} -u {name} -w {password} -p {} {}",
        uri.port, uri.host
    )
}

/// One word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// As the configuration has it.
fn separator(text: &str) -> Result<char, String> {
    let one = text.parse().ok().filter(|c| can_separate(*c));
    one.ok_or_else(|| "one character that is not a digit, like \":\"".to_owned())
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = argument::duration(text, TTL_MAX, "366d")?;
    if ttl < Duration::from_secs(1) { Err("at least 1s".into()) } else { Ok(ttl) }
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

    fn parse(line: &str) -> Options {
        let words = std::iter::once("credentials").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).options
    }

    fn minted(line: &str) -> (Options, Minted) {
        let options = parse(line);
        let minted = mint(&options, &secret(&options).unwrap(), 1_699_996_400).unwrap();
        (options, minted)
    }

    #[test]
    fn the_password_is_the_one_that_servers_expect() {
        // openssl dgst -sha1 -hmac north -binary | base64, over "1700000000:alice"
        let (_, minted) = minted("--secret north --user alice --ttl 1h");
        assert_eq!(minted.username, "1700000000:alice");
        assert_eq!(minted.password, "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
        let (_, other) =
            self::minted("--secret north --user alice --ttl 60m --sha256 --separator =");
        assert_eq!(other.username, "1700000000=alice");
        assert_eq!(other.password.len(), 44);
    }

    #[test]
    fn servers_without_relay_get_no_credential() {
        let (options, minted) =
            minted("stun:a turn:a turns:b:443?transport=tcp --secret north --user alice");
        let json: Value = serde_json::from_str(&json_line(&options, &minted)).unwrap();
        assert_eq!(json["iceServers"][0], json!({ "urls": ["stun:a:3478"] }));
        let relay = &json["iceServers"][1];
        assert_eq!(relay["urls"], json!(["turn:a:3478", "turns:b:443"]));
        assert_eq!(relay["username"], json!(minted.username));
        assert_eq!(relay["credential"], json!(minted.password));
    }

    #[test]
    fn the_line_for_a_shell_survives_any_name() {
        let (options, minted) = minted("turns:[::1]:443 --secret north --user a'b$c");
        let line = uclient(&options.uris[0], &minted);
        assert!(
            line.starts_with("turnutils_uclient -y -s -t -S -u '1700000000:a'\\''b$c' -w '"),
            "{line}"
        );
        assert!(line.ends_with("' -p 443 ::1"), "{line}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let fails = |line: &str| {
            let words = std::iter::once("credentials").chain(line.split_whitespace());
            Line::try_parse_from(words).err().map(|error| error.to_string())
        };
        for (line, word) in [
            ("", "--secret"),
            ("--secret a --secret-file b", "cannot be used with"),
            ("--secret a --ttl 400d", "366d"),
            ("--secret a --ttl 5ms", "1s"),
            ("--secret a --separator 7", "not a digit"),
            ("--secret a http://x", "stun:"),
        ] {
            let error = fails(line).unwrap_or_else(|| panic!("{line} is taken"));
            assert!(error.contains(word), "{line}: {error}");
        }
        let mut options = parse("--secret x --user a");
        options.secret = Some(Secret::new(""));
        assert!(secret(&options).is_err());
        options.user = "x".repeat(600);
        assert!(mint(&options, &Secret::new("n"), 1).is_err());
    }
}
