//! The flags of `turnwire serve`: in place of what the file says, or beside it, checked together with it.

use std::path::PathBuf;

use super::certificates::{CERTIFICATES, KEYS};
use super::draft::{Draft, Place};
use super::keys::{DTLS, FORMATS, LEVELS, WORKERS, put};
use super::value::{
    Wrong, admin_socket, choice, external, ip_address, number, path, ports, prefix, socket_address,
    text,
};
use crate::auth::{Secret, User};
use crate::turn::PeerRule;

/// The flags of `turnwire serve`, as they were given: read and checked together with the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Listen on this address, UDP and TCP (repeatable) [default: port 3478 of every address]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Vec<String>,

    /// Listen here for TLS alone (repeatable) [default: none; with a certificate, TLS is served on
    /// the TCP side of --listen as well]
    #[arg(long, value_name = "IP:PORT")]
    pub tls_listen: Vec<String>,

    /// Second address and port for NAT behaviour discovery (RFC 5780), at most one of each family
    /// (repeatable) [default: none]
    #[arg(long, value_name = "IP:PORT")]
    pub nat_alternate: Vec<String>,

    /// Listen on this address for DTLS alone (repeatable) [default: DTLS comes in on --listen]
    #[arg(long, value_name = "IP:PORT")]
    pub dtls_listen: Vec<String>,

    /// Relay from this address of this host (repeatable) [default: found by itself]
    #[arg(long, value_name = "IP")]
    pub relay_ip: Vec<String>,

    /// Address that clients and peers see, behind 1:1 NAT; as PUBLIC/PRIVATE for just one of
    /// several relay addresses (repeatable)
    #[arg(long, value_name = "PUBLIC[/PRIVATE]")]
    pub external_ip: Vec<String>,

    /// Realm of the users [default: turnwire]
    #[arg(long, value_name = "REALM")]
    pub realm: Option<String>,

    /// Let this user in (repeatable; `ps` shows it: better in the file)
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = hidden)]
    pub user: Vec<Secret>,

    /// Shared secret of ephemeral credentials (repeatable; `ps` shows it: better in the file)
    #[arg(long, value_name = "SECRET", value_parser = hidden)]
    pub secret: Vec<Secret>,

    /// File with shared secrets, one on each line, beside those of --secret and of the file
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,

    /// Ports to relay from [default: 49152-65535]
    #[arg(long, value_name = "A-B")]
    pub relay_ports: Option<String>,

    /// Threads that relay, 0 for one per core [default: 0]
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,

    /// Relay to peers in this prefix, also where that is denied by default (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub allow_peer: Vec<String>,

    /// Never relay to peers in this prefix (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub deny_peer: Vec<String>,

    /// Certificate of TLS and DTLS with its chain, in PEM (repeatable; each with its own --key)
    #[arg(long, value_name = "FILE")]
    pub cert: Vec<String>,

    /// Private key of the --cert at the same place [default: it is in that file]
    #[arg(long, value_name = "FILE")]
    pub key: Vec<String>,

    /// Serve metrics and health over HTTP here [default: off]
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<String>,

    /// Serve the admin API on this Unix socket; "off" for none [default: in the state directory]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<String>,

    /// Write the bound addresses here, as JSON, when ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<String>,

    /// Keep the generated secret here [default: found by itself]
    #[arg(long, value_name = "DIR")]
    pub state_directory: Option<String>,

    /// Log up to error, warn, info or debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Log as text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Keeps the text out of clap's messages and of `Debug`.
fn hidden(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl Flags {
    /// Puts what the flags say over what the file says, or adds it.
    pub(super) fn apply(&self, draft: &mut Draft) {
        self.replace(draft);
        self.add(draft);
    }

    fn replace(&self, draft: &mut Draft) {
        let listen = over(draft, "listen.addresses", "--listen", &self.listen, socket_address);
        put(&mut draft.config.worker.listeners, listen);
        let tls = over(draft, "listen.tls", "--tls-listen", &self.tls_listen, socket_address);
        put(&mut draft.config.worker.tls_listeners, tls);
        let dtls = over(draft, DTLS, "--dtls-listen", &self.dtls_listen, socket_address);
        put(&mut draft.config.worker.dtls_listeners, dtls);
        let seconds = &self.nat_alternate;
        let seconds =
            over(draft, "listen.nat_alternates", "--nat-alternate", seconds, socket_address);
        put(&mut draft.config.nat_alternates, seconds);
        let relays = over(draft, "relay.addresses", "--relay-ip", &self.relay_ip, ip_address);
        put(&mut draft.config.relay.addresses, relays);
        let pairs = over(draft, "relay.external", "--external-ip", &self.external_ip, external);
        put(&mut draft.config.relay.external, pairs);

        let realm = over(draft, "auth.realm", "--realm", &self.realm, text);
        put(&mut draft.config.auth.realm, first(realm));
        let range = over(draft, "relay.ports", "--relay-ports", &self.relay_ports, ports);
        put(&mut draft.config.relay.ports, first(range));
        let count = |text: &str| number(text, WORKERS);
        let workers = over(draft, "listen.workers", "--workers", &self.workers, count);
        put(&mut draft.config.worker.workers, first(workers));

        let certificates = over(draft, CERTIFICATES, "--cert", &self.cert, path);
        if certificates.is_some() {
            // Keys of the file belong to the file's certificates.
            draft.forget(KEYS);
            draft.keys = Vec::new();
        }
        put(&mut draft.certificates, certificates);
        let keys = over(draft, KEYS, "--key", &self.key, path);
        put(&mut draft.keys, keys);

        let admin = over(draft, "admin.listen", "--admin", &self.admin, socket_address);
        put(&mut draft.config.admin, first(admin).map(Some));
        let socket = &self.admin_socket;
        let socket = over(draft, "admin.socket", "--admin-socket", socket, admin_socket);
        put(&mut draft.config.admin_socket, first(socket));
        let ready = over(draft, "process.ready_file", "--ready-file", &self.ready_file, path);
        put(&mut draft.config.ready_file, first(ready).map(Some));
        let state = &self.state_directory;
        let state = over(draft, "process.state_directory", "--state-directory", state, path);
        put(&mut draft.config.state_directory, first(state).map(Some));
        let level = |text: &str| choice(text, LEVELS);
        let level = over(draft, "log.level", "--log-level", &self.log_level, level);
        put(&mut draft.config.log.level, first(level));
        let format = |text: &str| choice(text, FORMATS);
        let format = over(draft, "log.format", "--log-format", &self.log_format, format);
        put(&mut draft.config.log.format, first(format));
    }

    fn add(&self, draft: &mut Draft) {
        for secret in &self.secret {
            draft.config.auth.secrets.push(secret.clone());
            draft.note("auth.secrets", [Place::Flag("--secret")]);
            draft.config.shown.add("auth.secrets", None, None);
        }
        for user in &self.user {
            add_user(draft, user.expose());
        }
        let rules =
            [("--allow-peer", &self.allow_peer, true), ("--deny-peer", &self.deny_peer, false)];
        for (flag, texts, allow) in rules {
            let key = if allow { "peers.allow" } else { "peers.deny" };
            texts.iter().for_each(|text| draft.config.shown.add(key, None, Some(text)));
            let prefixes = read(draft, flag, texts, prefix).into_iter();
            draft.config.peers.extend(prefixes.map(|prefix| PeerRule { prefix, allow }));
        }
    }
}

/// A user of the file gets the flag's password.
fn add_user(draft: &mut Draft, text: &str) {
    let place = Place::Flag("--user");
    // What has no colon may be a password alone, and is not shown.
    let Some((name, password)) = text.split_once(':') else {
        return draft.complain(place, Wrong::new("expected NAME:PASSWORD, found no colon"));
    };
    draft.config.shown.add("auth.users", Some(name), None);
    let user = User { name: name.to_owned(), password: Secret::new(password) };
    let old = draft.config.auth.users.iter().position(|user| user.name == name);
    let in_file =
        |index: &usize| matches!(draft.place("auth.users", *index), Some(Place::File(..)));
    match old.filter(in_file) {
        Some(index) => {
            draft.config.auth.users[index] = user;
            draft.renote("auth.users", index, place);
        }
        None => {
            draft.config.auth.users.push(user);
            draft.note("auth.users", [place]);
        }
    }
}

/// The values of a flag in place of the file's; `None` when it was not given or cannot be read.
fn over<'t, T>(
    draft: &mut Draft,
    key: &'static str,
    flag: &'static str,
    texts: impl IntoIterator<Item = &'t String>,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<Vec<T>> {
    let texts: Vec<_> = texts.into_iter().collect();
    if texts.is_empty() {
        return None;
    }
    draft.forget(key);
    draft.note(key, texts.iter().map(|_| Place::Flag(flag)));
    draft.config.shown.put(key, &texts);
    let given = texts.len();
    let values = read(draft, flag, texts, parse);
    if values.len() < given {
        draft.unread(key);
        return None;
    }
    Some(values)
}

/// The values that can be read; complains about the others.
fn read<'t, T>(
    draft: &mut Draft,
    flag: &'static str,
    texts: impl IntoIterator<Item = &'t String>,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Vec<T> {
    let mut values = Vec::new();
    for text in texts {
        match parse(text) {
            Ok(value) => values.push(value),
            Err(wrong) => draft.complain(Place::Flag(flag), wrong),
        }
    }
    values
}

fn first<T>(values: Option<Vec<T>>) -> Option<T> {
    values?.into_iter().next()
}
