//! `[web]`: who is given credentials over HTTP, and the page.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::check::Finding;
use super::draft::Draft;
use super::found::{Found, decimal};
use super::https::BACKEND;
use super::secrets::lines_of;
use super::table::{Entry, get, text};
use super::value::{Wrong, admin_token, duration};
use crate::auth::{Secret, canonical_origin, prepare};

pub(super) const PAGE: &str = "web.page";
pub(super) const LISTEN: &str = "web.listen";
pub(super) const KEYS: &str = "web.keys";

const ENTRY: Entry = Entry {
    what: "API key",
    form: "write it like NAME = { secret = \"...\" }",
    keys: &["secret", "secret_file", "label", "realm", "max_ttl"],
};

/// A minute is hardly enough to make a call, and who wants more than a year wants a user with a password.
pub(super) const TTL: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(366 * 86400);
/// The longest name and label.
const NAME_MAX: usize = 64;

/// The page and the credentials over HTTP.
#[derive(Clone, Debug)]
pub struct Web {
    /// Whether the page is served.
    pub page: bool,
    /// Where HTTP alone is spoken, beside the listeners of TURN.
    pub listen: Vec<SocketAddr>,
    /// Who may have credentials.
    pub keys: Vec<WebKey>,
    /// How long a credential is good when nobody asks for another time.
    pub ttl: Duration,
    /// Sites whose scripts may ask, in one form; `*` are all.
    pub origins: Vec<String>,
    /// STUN and TURN URIs that come with a credential; found by itself when empty.
    pub uris: Vec<String>,
    /// Requests a minute with one key; 0 is no bound.
    pub key_requests_per_minute: u32,
    /// Requests a minute from one address; 0 is no bound.
    pub address_requests_per_minute: u32,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            page: false,
            listen: Vec::new(),
            keys: Vec::new(),
            ttl: Duration::from_secs(12 * 3600),
            origins: Vec::new(),
            uris: Vec::new(),
            key_requests_per_minute: 6000,
            address_requests_per_minute: 600,
        }
    }
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebKey {
    /// What it is called.
    pub name: String,
    /// What its holder proves himself with; absent as long as its file has not been read.
    pub secret: Option<Secret>,
    /// The file that it stands in.
    pub secret_file: Option<PathBuf>,
    /// What its credentials are called in sessions and records.
    pub label: String,
    /// The realm that they are for, in the form in which realms are compared; the default one when absent.
    pub realm: Option<String>,
    /// The longest time that one is good.
    pub max_ttl: Duration,
}

impl Found<'_, '_> {
    /// A table of API keys by their names.
    pub(super) fn web_keys(&mut self) -> Option<Vec<WebKey>> {
        self.tables(&ENTRY, one)
    }
}

fn one(name: &str, table: &DeTable<'_>) -> Result<WebKey, Wrong> {
    plain(name, "has a name that cannot be part of a path")?;
    let label = text(table, "label")?.unwrap_or(name);
    plain(label, "has a label that cannot be one")?;
    let (secret, file) = (text(table, "secret")?, text(table, "secret_file")?);
    let (secret, secret_file) = match (secret, file) {
        (Some(secret), None) => (Some(this_secret(secret)?), None),
        (None, Some(file)) if !file.is_empty() => (None, Some(PathBuf::from(file))),
        _ => return Err(Wrong::new("needs either a secret or a secret_file").hint(ENTRY.form)),
    };
    let realm = text(table, "realm")?.map(|realm| prepare(realm).map(|it| it.into_owned()));
    let realm = match realm {
        Some(None) => return Err(Wrong::new("has a realm that is none")),
        Some(realm) => realm,
        None => None,
    };
    let max_ttl = max_ttl(table)?;
    Ok(WebKey {
        name: name.to_owned(),
        secret,
        secret_file,
        label: label.to_owned(),
        realm,
        max_ttl,
    })
}

fn plain(name: &str, wrong: &str) -> Result<(), Wrong> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(inner) {
        return Ok(());
    }
    let hint = format!("it may have up to {NAME_MAX} letters, digits, and \"-\", \"_\" and \".\"");
    Err(Wrong::new(wrong).hint(hint))
}

fn this_secret(text: &str) -> Result<Secret, Wrong> {
    admin_token(text).map_err(|_| {
        Wrong::new(
            "has a secret of less than 16 characters, or with others than ASCII without spaces",
        )
        .hint("make one with: openssl rand -hex 32")
    })
}

fn max_ttl(table: &DeTable<'_>) -> Result<Duration, Wrong> {
    let text = match get(table, "max_ttl") {
        None => return Ok(Duration::from_secs(86400)),
        Some(DeValue::String(text)) => text.to_string(),
        Some(DeValue::Integer(integer)) => decimal(integer),
        Some(_) => return Err(Wrong::new("must have a time as max_ttl, like \"24h\"")),
    };
    duration(&text, TTL)
        .map_err(|wrong| Wrong::new(format!("has a max_ttl that cannot be: {}", wrong.what)))
}

/// `https://meet.example.org`, or `*`.
pub(super) fn origin(text: &str) -> Result<String, Wrong> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    canonical_origin(text).ok_or_else(|| {
        Wrong::new(format!("{text:?} is no origin"))
            .hint("write it as browsers do, like \"https://meet.example.org\"; \"*\" is every one")
    })
}

/// RFC 7064, RFC 7065.
pub(super) fn uri(text: &str) -> Result<String, Wrong> {
    let known = |(scheme, rest): (&str, &str)| {
        let (host, transport) = rest.split_once('?').unwrap_or((rest, ""));
        let relay = matches!(scheme, "turn" | "turns");
        let good =
            host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte));
        let transports = ["", "transport=udp", "transport=tcp"];
        (relay || matches!(scheme, "stun" | "stuns"))
            && !host.is_empty()
            && good
            && (transport.is_empty() || relay)
            && transports.contains(&transport)
    };
    match text.split_once(':').is_some_and(known) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(format!("{text:?} is no address of a STUN or TURN server"))
            .hint("write it like \"turn:turn.example.org:3478?transport=udp\"")),
    }
}

/// Reads the secrets that stand in files of their own. Paths are those from the file's own directory.
pub(super) fn read_secrets(directory: &Path, draft: &mut Draft) {
    for index in 0..draft.config.web.keys.len() {
        let Some(path) = draft.config.web.keys[index].secret_file.clone() else { continue };
        let Some((place, lines)) = lines_of(directory, Some(path), (KEYS, index), "secret", draft)
        else {
            continue;
        };
        let name = draft.config.web.keys[index].name.clone();
        match &lines[..] {
            [line] => match this_secret(line) {
                Ok(secret) => draft.config.web.keys[index].secret = Some(secret),
                Err(Wrong { what, hint }) => {
                    let what = format!("the API key {name:?} {what}");
                    draft.complain(place, Wrong { what, hint });
                }
            },
            _ => {
                let what = format!("the API key {name:?} has a file with several lines in it");
                draft.complain(place, Wrong::new(what).hint("each key has a file of its own"));
            }
        }
    }
}

/// A page or keys that nobody would get to, or nothing could be minted for.
pub(super) fn check(draft: &Draft) -> Vec<Finding> {
    let web = &draft.config.web;
    let mut findings = Vec::new();
    if web.page || !web.keys.is_empty() {
        let place = if web.page { PAGE } else { KEYS };
        if draft.config.worker.web.backend.is_some() && web.listen.is_empty() {
            let wrong =
                Wrong::new("nobody gets there: HTTP on the listeners goes to https.backend")
                    .hint("give it web.listen, and have the backend pass these paths on to it");
            findings.push((vec![(place, 0), (BACKEND, 0)], wrong));
        }
        if draft.config.auth.username_anonymity {
            let wrong =
                Wrong::new("ephemeral credentials cannot be found by a hash of their names")
                    .hint("leave auth.username_anonymity out");
            findings.push((vec![(place, 0)], wrong));
        }
    } else if !web.listen.is_empty() {
        let wrong = Wrong::new("there is nothing to serve there")
            .hint("set web.page, or give somebody a key in [web.keys]");
        findings.push((vec![(LISTEN, 0)], wrong));
    }
    findings.extend(secrets(draft));
    findings.extend(listeners(draft));
    findings
}

/// Realms without a secret of their own have nothing to mint credentials with; the default one is given one.
fn secrets(draft: &Draft) -> Vec<Finding> {
    let (config, web) = (&draft.config, &draft.config.web);
    let mut findings = Vec::new();
    for (place, key) in web.keys.iter().enumerate() {
        let name = key.realm.as_deref().filter(|name| prepared(&config.auth.realm) != *name);
        let realm =
            name.map(|name| config.realms.iter().find(|it| prepared(&it.auth.realm) == name));
        let (name, what) = (name.unwrap_or_default(), format!("the API key {:?}", key.name));
        let wrong = match realm {
            Some(None) => {
                Some(Wrong::new(format!("{what} is for a realm {name:?}, which is not there")))
            }
            Some(Some(realm)) if realm.auth.secrets.is_empty() => {
                let what =
                    format!("{what} can have nothing minted: the realm {name:?} has no secrets");
                Some(Wrong::new(what).hint("make one with: openssl rand -hex 32"))
            }
            _ => None,
        };
        findings.extend(wrong.map(|wrong| (vec![(KEYS, place)], wrong)));
        let same = |other: &WebKey| other.secret.is_some() && other.secret == key.secret;
        if web.keys[..place].iter().any(same) {
            findings.push((
                vec![(KEYS, place)],
                Wrong::new(format!("{what} has the secret of another")),
            ));
        }
    }
    findings
}

fn prepared(realm: &str) -> String {
    prepare(realm).map_or_else(|| realm.to_owned(), |realm| realm.into_owned())
}

fn listeners(draft: &Draft) -> Vec<Finding> {
    let worker = &draft.config.worker;
    let mut findings = Vec::new();
    for (place, own) in draft.config.web.listen.iter().enumerate() {
        let others =
            worker.listeners.iter().chain(&worker.tls_listeners).chain(&draft.config.admin);
        if let Some(other) = others.into_iter().find(|other| super::check::clash(*own, **other)) {
            let wrong = Wrong::new(format!("{own} is taken by the listener {other}"))
                .hint("leave it out: HTTP is served on listen.addresses as well");
            findings.push((vec![(LISTEN, place)], wrong));
        }
    }
    findings
}
