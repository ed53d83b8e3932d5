//! `[[realm]]`: further realms. Most of what one can say of itself is said as [auth], [peers] and [limits] say it, so
//! each is read by the same keys into a draft of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::certificates::{CERTIFICATES, KEYS};
use super::draft::{Draft, Place};
use super::found::{Found, expected};
use super::keys::known;
use super::nearest::nearest;
use super::others::domain;
use super::value::{Wrong, socket_address};
use super::{Config, Realm, check, secrets};
use crate::auth::{Reach, canonical_origin, prepare};

/// What the table is called.
pub(super) const TABLE: &str = "realm";
const NAME: &str = "auth.realm";
const NAMES: &str = "realm.server_names";
const LISTENERS: &str = "realm.listeners";
const ORIGINS: &str = "realm.origins";
const EXCLUSIVE: &str = "realm.exclusive";

/// The keys that are read as others are.
const ALIKE: &[(&str, &str)] = &[
    ("realm.name", NAME),
    ("realm.users", "auth.users"),
    ("realm.secrets", "auth.secrets"),
    ("realm.secrets_file", "auth.secrets_file"),
    ("realm.separator", "auth.separator"),
    ("realm.digests", "auth.digests"),
    ("realm.sha256", "auth.sha256"),
    ("realm.username_anonymity", "auth.username_anonymity"),
    ("realm.nonce_lifetime", "auth.nonce_lifetime"),
    ("realm.on_expiry", "auth.on_expiry"),
    ("realm.on_revocation", "auth.on_revocation"),
    ("realm.tokens.server_name", "auth.tokens.server_name"),
    ("realm.tokens.clock_skew", "auth.tokens.clock_skew"),
    ("realm.tokens.keys", "auth.tokens.keys"),
    ("realm.peers.allow", "peers.allow"),
    ("realm.peers.deny", "peers.deny"),
    ("realm.limits.allocations", "limits.allocations"),
    ("realm.limits.allocations_per_user", "limits.allocations_per_user"),
    ("realm.limits.allocations_per_address", "limits.allocations_per_address"),
    ("realm.limits.permissions", "limits.permissions"),
    ("realm.limits.channels", "limits.channels"),
    ("realm.limits.connections", "limits.connections"),
    ("realm.limits.pending_connections", "limits.pending_connections"),
    ("realm.limits.connections_per_user", "limits.connections_per_user"),
    ("realm.limits.bytes_per_second", "limits.bytes_per_second"),
    ("realm.limits.user_bytes_per_second", "limits.user_bytes_per_second"),
    ("realm.limits.all_bytes_per_second", "limits.all_bytes_per_second"),
];

/// The keys that only a realm has.
const OWN: &[&str] = &[NAMES, LISTENERS, ORIGINS, EXCLUSIVE];

/// The sections within.
const SECTIONS: &[&str] = &["realm.tokens", "realm.peers", "realm.limits"];

/// What a realm does not say is as in [auth] and [limits]; users, secrets and tokens are its own.
type Inherit = fn(&mut Config, &Config);
const INHERITED: &[(&str, Inherit)] = &[
    ("auth.separator", |to, of| to.auth.separator = of.auth.separator),
    ("auth.digests", |to, of| to.auth.rest_digests.clone_from(&of.auth.rest_digests)),
    ("auth.sha256", |to, of| to.auth.sha256 = of.auth.sha256),
    ("auth.nonce_lifetime", |to, of| to.auth.nonce_lifetime = of.auth.nonce_lifetime),
    ("auth.on_expiry", |to, of| to.auth.on_expiry = of.auth.on_expiry),
    ("auth.on_revocation", |to, of| to.auth.on_revocation = of.auth.on_revocation),
    ("limits.allocations", |to, of| to.limits.allocations = of.limits.allocations),
    ("limits.allocations_per_user", |to, of| {
        to.limits.allocations_per_user = of.limits.allocations_per_user;
    }),
    ("limits.allocations_per_address", |to, of| {
        to.limits.allocations_per_address = of.limits.allocations_per_address;
    }),
    ("limits.permissions", |to, of| to.limits.permissions = of.limits.permissions),
    ("limits.channels", |to, of| to.limits.channels = of.limits.channels),
    ("limits.connections", |to, of| to.limits.connections = of.limits.connections),
    ("limits.pending_connections", |to, of| {
        to.limits.pending_connections = of.limits.pending_connections;
    }),
    ("limits.connections_per_user", |to, of| {
        to.limits.connections_per_user = of.limits.connections_per_user;
    }),
    ("limits.bytes_per_second", |to, of| to.limits.bytes_per_second = of.limits.bytes_per_second),
    ("limits.user_bytes_per_second", |to, of| {
        to.limits.user_bytes_per_second = of.limits.user_bytes_per_second;
    }),
    ("limits.all_bytes_per_second", |to, of| {
        to.limits.all_bytes_per_second = of.limits.all_bytes_per_second;
    }),
];

/// A realm in the making.
#[derive(Default)]
pub(super) struct RealmDraft {
    draft: Draft,
    reach: Reach,
}

/// Every key of the table.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    ALIKE.iter().map(|(key, _)| *key).chain(OWN.iter().copied())
}

/// Whether the value of one of these keys must never be shown.
pub(super) fn is_secret(key: &str) -> bool {
    let like = ALIKE.iter().find(|(own, _)| *own == key).and_then(|(_, like)| known(like));
    like.is_some_and(|like| like.secret)
}

/// Reads the tables.
pub(super) fn read(value: &Spanned<DeValue<'_>>, draft: &mut Draft) {
    let form = "write [[realm]] above each, with two brackets on each side";
    let DeValue::Array(items) = value.get_ref() else {
        draft.hide(value);
        let wrong = expected("a list of realms", value.get_ref()).hint(form);
        return draft.complain(Place::Nameless(value.span()), wrong);
    };
    for item in items.iter() {
        let DeValue::Table(table) = item.get_ref() else {
            draft.hide(item);
            draft.complain(Place::Nameless(item.span()), Wrong::new("is no realm").hint(form));
            continue;
        };
        let mut realm = RealmDraft::default();
        realm.section(TABLE, table);
        if realm.draft.place(NAME, 0).is_none() {
            let hint = "every realm needs one: name = \"tenant.example\"";
            let wrong = Wrong::new("a realm without a name").hint(hint);
            realm.draft.complain(Place::Nameless(item.span()), wrong);
            realm.draft.unread(NAME);
        }
        draft.realms.push(realm);
    }
}

impl RealmDraft {
    /// What has been read of it.
    pub(super) const fn draft(&self) -> &Draft {
        &self.draft
    }

    fn section(&mut self, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let inner = format!("{path}.{}", name.get_ref());
            let plain = !name.get_ref().contains('.');
            let own = OWN.iter().find(|key| plain && **key == inner);
            let alike = ALIKE.iter().find(|(key, _)| plain && *key == inner);
            match (own, alike, value.get_ref()) {
                (Some(key), ..) => self.own(key, value),
                (_, Some((key, like)), _) => self.alike(key, like, value),
                (.., DeValue::Table(table)) if plain && SECTIONS.contains(&&*inner) => {
                    self.section(&inner, table);
                }
                _ => {
                    self.draft.hide(value);
                    let what = format!("unknown key {:?} in [[realm]]", name.get_ref());
                    let wrong = match nearest(&inner, keys().chain(SECTIONS.iter().copied())) {
                        Some(key) => {
                            let key = key.strip_prefix("realm.").unwrap_or(key);
                            Wrong::new(what).hint(format!("did you mean {key:?}?"))
                        }
                        None => Wrong::new(what),
                    };
                    self.draft.complain(Place::Nameless(name.span()), wrong);
                }
            }
        }
    }

    fn alike(&mut self, key: &'static str, like: &'static str, value: &Spanned<DeValue<'_>>) {
        let Some(reader) = known(like) else { return };
        if reader.secret {
            self.draft.hide(value);
        }
        let mut found = Found::new(value);
        (reader.read)(&mut self.draft, &mut found);
        self.note(key, like, found);
    }

    fn own(&mut self, key: &'static str, value: &Spanned<DeValue<'_>>) {
        let mut found = Found::new(value);
        match key {
            NAMES => self.reach.server_names = found.list(domain).unwrap_or_default(),
            LISTENERS => self.reach.listeners = found.list(socket_address).unwrap_or_default(),
            ORIGINS => self.reach.origins = found.list(origin).unwrap_or_default(),
            _ => self.reach.exclusive = found.boolean().unwrap_or_default(),
        }
        self.note(key, key, found);
    }

    fn note(&mut self, key: &'static str, like: &'static str, found: Found<'_, '_>) {
        let Found { spans, wrongs, .. } = found;
        self.draft.note(like, spans.into_iter().map(|span| Place::File(key, span)));
        for (span, wrong) in wrongs {
            self.draft.unread(like);
            self.draft.complain(Place::File(key, span), wrong);
        }
    }

    fn name(&self) -> String {
        let name = &self.draft.config.auth.realm;
        prepare(name).map_or_else(|| name.clone(), |name| name.into_owned())
    }

    /// What it says and what it does not say.
    fn complete(&mut self, config: &Config, directory: Option<&Path>) {
        if let Some(directory) = directory {
            secrets::read(directory, &mut self.draft);
        }
        for (key, inherit) in INHERITED {
            if self.draft.place(key, 0).is_none() {
                inherit(&mut self.draft.config, config);
            }
        }
        check::realm(&mut self.draft);
        let auth = &self.draft.config.auth;
        let nobody =
            auth.users.is_empty() && auth.secrets.is_empty() && auth.tokens.keys.is_empty();
        let read = ["auth.users", "auth.secrets", "auth.secrets_file", "auth.tokens.keys"];
        if nobody
            && config.stores.is_empty()
            && self.draft.secrets_file.is_none()
            && self.draft.is_read(&read)
        {
            let what = format!("nobody can come in by the realm {:?}", auth.realm);
            let hint = "give it users, secrets or tokens.keys, or add a store";
            self.draft.complain_of(&[(NAME, 0)], Wrong::new(what).hint(hint));
        }
        if self.reach.exclusive
            && self.draft.is_read(OWN)
            && self.reach == (Reach { exclusive: true, ..Reach::default() })
        {
            let hint = "give it server_names, listeners or origins";
            let wrong =
                Wrong::new("nobody can come in by an exclusive realm without a way of its own");
            self.draft.complain_of(&[(EXCLUSIVE, 0)], wrong.hint(hint));
        }
    }
}

fn origin(text: &str) -> Result<String, Wrong> {
    canonical_origin(text).ok_or_else(|| {
        Wrong::new(format!("{text:?} is no origin"))
            .hint("write it as browsers do, like \"https://meet.example.org\"")
    })
}

/// Puts the realms into the configuration, with what is wrong with them. `directory` is where relative paths start;
/// without one no file is read.
pub(super) fn finish(directory: Option<&Path>, draft: &mut Draft) {
    let mut realms = std::mem::take(&mut draft.realms);
    let default = draft.config.auth.realm.clone();
    let default = prepare(&default).map_or(default.clone(), |name| name.into_owned());
    let mut names = HashMap::from([(default, "that of [auth]".to_owned())]);
    let mut claims = HashMap::new();
    for realm in &mut realms {
        realm.complete(&draft.config, directory);
        let name = realm.name();
        if realm.draft.is_read(&[NAME])
            && let Some(other) = names.insert(name.clone(), "another".to_owned())
        {
            let wrong = Wrong::new(format!("the realm {name:?} is called as {other} is"));
            realm
                .draft
                .complain_of(&[(NAME, 0)], wrong.hint("realms are told apart by their names"));
        }
        realm.claim(&name, &mut claims);
        if draft.is_read(&["listen.addresses", "listen.tls", "listen.dtls"]) {
            realm.check_listeners(&draft.config);
        }
        if draft.certificates.is_empty() && draft.is_read(&[CERTIFICATES, KEYS]) {
            realm.doubt_names();
        }
        draft.config.realms.push(Realm {
            auth: realm.draft.config.auth.clone(),
            reach: realm.reach.clone(),
            peers: realm.draft.config.peers.clone(),
            limits: realm.draft.config.limits.clone(),
        });
    }
    for realm in realms {
        draft.absorb(realm.draft);
    }
}

impl RealmDraft {
    /// Each name, listener and origin leads to one realm.
    fn claim(&mut self, name: &str, claims: &mut HashMap<(&'static str, String), String>) {
        let lower = |name: &String| name.to_ascii_lowercase();
        let names = self.reach.server_names.iter().map(lower).collect::<Vec<_>>();
        let listeners = self.reach.listeners.iter().map(SocketAddr::to_string).collect();
        let all = [(NAMES, names), (LISTENERS, listeners), (ORIGINS, self.reach.origins.clone())];
        for (key, values) in all {
            for (place, value) in values.into_iter().enumerate() {
                let other = claims.insert((key, value.clone()), name.to_owned());
                if let Some(other) = other {
                    let wrong = Wrong::new(format!("{value} leads to the realm {other:?} already"));
                    self.draft.complain_of(&[(key, place)], wrong);
                }
            }
        }
    }

    /// Names that nobody can ask for. By them alone nobody gets there, and /ice has no URI to give.
    fn doubt_names(&mut self) {
        if !self.reach.server_names.is_empty() && self.draft.is_read(&[NAMES]) {
            let wrong =
                Wrong::new("no client says a name without TLS, and there is no certificate for it");
            let hint = "set tls.certificates, or --cert and --key";
            self.draft.remark_on(&[(NAMES, 0)], wrong.hint(hint));
        }
    }

    fn check_listeners(&mut self, config: &Config) {
        let worker = &config.worker;
        let all = [&worker.listeners, &worker.tls_listeners, &worker.dtls_listeners];
        let all: Vec<_> = all.into_iter().flatten().collect();
        for (place, own) in self.reach.listeners.clone().iter().enumerate() {
            let covers = |listener: &&SocketAddr| {
                let every = listener.ip().is_unspecified() && listener.is_ipv4() == own.is_ipv4();
                listener.port() == own.port() && (listener.ip() == own.ip() || every)
            };
            if !all.iter().any(covers) {
                let wrong = Wrong::new(format!("nothing listens on {own}"))
                    .hint("name one of listen.addresses, listen.tls or listen.dtls");
                self.draft.complain_of(&[(LISTENERS, place)], wrong);
            }
        }
    }
}
