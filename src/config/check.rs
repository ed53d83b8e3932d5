//! What no value shows by itself.

use std::net::{IpAddr, SocketAddr};

use super::OtherServer;
use super::certificates::{CERTIFICATES, KEYS};
use super::draft::Draft;
use super::events::{CA_FILE, REDIS, SECRET, URL, redis, webhook};
use super::https::{BACKEND, HEADER, PLAIN, backend};
use super::keys::DTLS;
use super::stores::{self, ASK};
use super::value::{Wrong, show_duration};
use super::web::{self, KEYS as WEB_KEYS, LISTEN, PAGE};
use crate::auth::{Authority, InvalidCredential, Settings, prepare};

/// What is wrong, and the values concerned, the likeliest culprit first.
pub(super) type Finding = (Vec<(&'static str, usize)>, Wrong);

/// Each with the keys it draws its conclusions from.
type Check = (&'static [&'static str], fn(&Draft) -> Vec<Finding>);

const CHECKS: &[Check] = &[
    (&["listen.addresses"], listeners),
    (&["listen.addresses", "listen.tls", CERTIFICATES], tls_listeners),
    (&["listen.addresses", DTLS, CERTIFICATES], dtls_listeners),
    (&["listen.addresses", "listen.tls", "admin.listen"], admin),
    (&[BACKEND, HEADER, PLAIN, CERTIFICATES, "listen.addresses", "listen.tls"], backend),
    (&[PAGE, WEB_KEYS, LISTEN, BACKEND, "listen.addresses", "admin.listen"], web::check),
    (&["listen.addresses", "listen.nat_alternates", "relay.external"], alternates),
    (&[URL, SECRET, CA_FILE], webhook),
    (&[REDIS], redis),
    (&["relay.addresses"], relays),
    (&["relay.addresses", "relay.external", "listen.nat_alternates"], external),
    (&[CERTIFICATES, KEYS], certificates),
    (&["process.user", "process.group"], group),
    (&["redirect.servers", "listen.addresses"], other_servers),
    (&["turn.default_lifetime", "turn.max_lifetime"], lifetimes),
    (&[], credentials),
    (&["auth.users", "auth.secrets", "auth.secrets_file", "auth.tokens.keys"], anonymity),
    (&[ASK], stores::anonymity),
];

/// Checks the values against each other.
pub(super) fn check(draft: &mut Draft) {
    for (keys, check) in CHECKS {
        if draft.is_read(keys) {
            for (values, wrong) in check(draft) {
                draft.complain_of(&values, wrong);
            }
        }
    }
}

/// The same for what a realm says of its users.
pub(super) fn realm(draft: &mut Draft) {
    let mut findings = credentials(draft);
    if !draft.config.auth.users.is_empty() {
        findings.extend(anonymity(draft));
    }
    for (values, wrong) in findings {
        draft.complain_of(&values, wrong);
    }
}

fn listeners(draft: &Draft) -> Vec<Finding> {
    let all = &draft.config.worker.listeners;
    let mut findings = Vec::new();
    for (i, listener) in all.iter().enumerate() {
        let wrong = if all[..i].contains(listener) && listener.port() != 0 {
            Some(Wrong::new(format!("{listener} is there twice")))
        } else {
            unusable(listener.ip())
        };
        findings.extend(wrong.map(|wrong| (vec![("listen.addresses", i)], wrong)));
    }
    findings
}

fn tls_listeners(draft: &Draft) -> Vec<Finding> {
    let hint = "leave it out: TLS is served on listen.addresses as well";
    sealed_listeners(draft, "listen.tls", &draft.config.worker.tls_listeners, hint)
}

fn dtls_listeners(draft: &Draft) -> Vec<Finding> {
    let all = &draft.config.worker.dtls_listeners;
    if !cfg!(feature = "dtls") && !all.is_empty() {
        let hint = "build it with the feature `dtls`, or leave this out";
        let wrong = Wrong::new("this turnwire was built without DTLS").hint(hint);
        return vec![(vec![(DTLS, 0)], wrong)];
    }
    let hint = "leave it out: with listen.dtls_on_udp, DTLS is served on listen.addresses as well";
    sealed_listeners(draft, DTLS, all, hint)
}

/// Listeners that need a certificate. `hint` is for those that are where the plain ones are.
fn sealed_listeners(
    draft: &Draft,
    key: &'static str,
    all: &[SocketAddr],
    hint: &str,
) -> Vec<Finding> {
    let plain = &draft.config.worker.listeners;
    let mut findings = Vec::new();
    for (i, listener) in all.iter().enumerate() {
        let wrong = if draft.certificates.is_empty() {
            Some(
                Wrong::new(format!("{listener} can serve nobody: there is no certificate"))
                    .hint("set tls.certificates, or --cert and --key"),
            )
        } else if let Some(other) = plain.iter().find(|other| clash(*listener, **other)) {
            Some(Wrong::new(format!("{listener} is taken by the listener {other}")).hint(hint))
        } else if all[..i].iter().any(|other| clash(*listener, *other)) {
            Some(Wrong::new(format!("{listener} is there twice")))
        } else {
            unusable(listener.ip())
        };
        findings.extend(wrong.map(|wrong| (vec![(key, i)], wrong)));
    }
    findings
}

/// Whether two addresses cannot both be listened on.
pub(super) fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (any || one.ip() == other.ip())
}

fn admin(draft: &Draft) -> Vec<Finding> {
    let Some(admin) = draft.config.admin else {
        return Vec::new();
    };
    let worker = &draft.config.worker;
    let mut listeners = worker.listeners.iter().chain(&worker.tls_listeners);
    let wrong = listeners.find(|listener| clash(admin, **listener)).map(|listener| {
        Wrong::new(format!("{admin} is taken by the listener {listener}"))
            .hint("choose another port, like 9641")
    });
    wrong
        .map(|wrong| (vec![("admin.listen", 0), ("listen.addresses", 0)], wrong))
        .into_iter()
        .collect()
}

fn relays(draft: &Draft) -> Vec<Finding> {
    let all = &draft.config.relay.addresses;
    let mut findings = Vec::new();
    for (i, ip) in all.iter().enumerate() {
        let wrong = match ip {
            _ if all[..i].contains(ip) => Some(Wrong::new(format!("{ip} is there twice"))),
            ip if ip.is_unspecified() => Some(
                Wrong::new(format!("{ip} is not an address of this host"))
                    .hint("leave it out: the address is then found by itself"),
            ),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                Some(Wrong::new(format!("{ip} is link-local: no peer behind a router reaches it")))
            }
            ip => unusable(*ip),
        };
        findings.extend(wrong.map(|wrong| (vec![("relay.addresses", i)], wrong)));
    }
    findings
}

/// An address that no socket of ours can have.
fn unusable(ip: IpAddr) -> Option<Wrong> {
    match ip {
        IpAddr::V4(v4) if v4.is_broadcast() => {
            Some(Wrong::new(format!("{ip} is a broadcast address")))
        }
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some(
            Wrong::new(format!("{ip} is an IPv4 address in IPv6 form"))
                .hint(format!("write \"{}\"", ip.to_canonical())),
        ),
        ip if ip.is_multicast() => Some(Wrong::new(format!("{ip} is a multicast address"))),
        _ => None,
    }
}

fn alternates(draft: &Draft) -> Vec<Finding> {
    let all = &draft.config.nat_alternates;
    let mut findings = Vec::new();
    for (i, second) in all.iter().enumerate() {
        let wrong = if second.ip().is_unspecified() {
            let hint = "name one address of this host";
            Some(Wrong::new(format!("{second} is every address, not a second one")).hint(hint))
        } else if all[..i].iter().any(|other| other.is_ipv4() == second.is_ipv4()) {
            Some(Wrong::new(format!("{second} is one too many: one of each family will do")))
        } else {
            unusable(second.ip())
                .or_else(|| beside_no_listener(draft, *second))
                .or_else(|| outside_unknown(draft, second.ip()))
        };
        findings.extend(wrong.map(|wrong| (vec![("listen.nat_alternates", i)], wrong)));
    }
    findings
}

/// A second address needs a listener of its family with another address and port (RFC 5780 §6).
fn beside_no_listener(draft: &Draft, second: SocketAddr) -> Option<Wrong> {
    let listeners = draft.config.worker.listeners.iter();
    let mut listeners = listeners.filter(|it| it.is_ipv4() == second.is_ipv4()).peekable();
    if listeners.peek().is_none() {
        return Some(Wrong::new(format!("{second} has no listener of its family beside it")));
    }
    let other = |listener: &SocketAddr| {
        listener.ip() != second.ip() && (listener.port() == 0 || listener.port() != second.port())
    };
    let wrong =
        || Wrong::new(format!("{second} shares its address or its port with each listener"));
    let hint = "it must have both for itself, like port 3479 on another address";
    (!listeners.any(other)).then(|| wrong().hint(hint))
}

/// What stands for every relay address cannot stand for a second address as well.
fn outside_unknown(draft: &Draft, second: IpAddr) -> Option<Wrong> {
    let external = &draft.config.relay.external;
    let paired = external.iter().any(|entry| entry.private == Some(second));
    let mut general = external.iter().filter(|entry| entry.private.is_none());
    let general = general.find(|entry| entry.public.is_ipv4() == second.is_ipv4())?;
    (!paired).then(|| {
        Wrong::new(format!("it is not known what {second} is outside"))
            .hint(format!("{} is the relay address: add \"PUBLIC/{second}\"", general.public))
    })
}

fn external(draft: &Draft) -> Vec<Finding> {
    let relays = &draft.config.relay.addresses;
    let all = &draft.config.relay.external;
    let mut findings = Vec::new();
    for (i, external) in all.iter().enumerate() {
        let public = external.public;
        let same_family = |ip: &IpAddr| ip.is_ipv4() == public.is_ipv4();
        let twice = all[..i].iter().any(|other| {
            other.private == external.private && other.public.is_ipv4() == public.is_ipv4()
        });
        let unspecified = public.is_unspecified();
        let wrong = match external.private {
            _ if unspecified => Some(Wrong::new(format!("{public} is not an address outside"))),
            Some(private) if !same_family(&private) => {
                Some(Wrong::new(format!("{public} and {private} are not of one family")))
            }
            Some(private)
                if !relays.is_empty()
                    && !relays.contains(&private)
                    && !draft.config.nat_alternates.iter().any(|it| it.ip() == private) =>
            {
                Some(
                    Wrong::new(format!("{private} is not one of the relay addresses"))
                        .hint("add it to relay.addresses (--relay-ip)"),
                )
            }
            Some(private) if twice => {
                Some(Wrong::new(format!("{private} has two addresses outside")))
            }
            None if !relays.is_empty() && !relays.iter().any(same_family) => {
                Some(Wrong::new(format!("no relay address is of the family of {public}")))
            }
            None if relays.iter().filter(|ip| same_family(ip)).count() > 1 => Some(
                Wrong::new(format!("{public} cannot stand for several relay addresses"))
                    .hint("give each its own address outside: \"PUBLIC/PRIVATE\""),
            ),
            Some(private) if all[..i].iter().any(|other| other.public == public) => {
                Some(Wrong::new(format!("{public} stands for another address than {private} too")))
            }
            None if twice => Some(
                Wrong::new(format!("{public} is the second address outside for all of its family"))
                    .hint("say which stands for which: \"PUBLIC/PRIVATE\""),
            ),
            _ => unusable(public),
        };
        findings.extend(wrong.map(|wrong| (vec![("relay.external", i)], wrong)));
    }
    findings
}

fn other_servers(draft: &Draft) -> Vec<Finding> {
    let all = &draft.config.redirect.servers;
    let mut findings = Vec::new();
    for (i, server) in all.iter().enumerate() {
        let addresses = || server.addresses.iter().chain(&server.tls_addresses);
        let own = addresses().find(|address| draft.config.worker.listeners.contains(address));
        let others = |address: &&SocketAddr| {
            let taken = |other: &OtherServer| {
                other.addresses.contains(address) || other.tls_addresses.contains(address)
            };
            all[..i].iter().any(taken)
        };
        let wrong = match (own, addresses().find(others)) {
            (Some(own), _) => Some(format!("{own} is this server itself")),
            (None, Some(twice)) => Some(format!("{twice} is another server's as well")),
            (None, None) => None,
        };
        let place = vec![("redirect.servers", i)];
        findings.extend(wrong.map(|what| (place, Wrong::new(what))));
    }
    findings
}

fn lifetimes(draft: &Draft) -> Vec<Finding> {
    let (default, max) = (draft.config.turn.default_lifetime, draft.config.turn.max_lifetime);
    if default <= max {
        return Vec::new();
    }
    let what = format!(
        "default_lifetime ({}) is longer than max_lifetime ({})",
        show_duration(default),
        show_duration(max)
    );
    vec![(vec![("turn.default_lifetime", 0), ("turn.max_lifetime", 0)], Wrong::new(what))]
}

fn certificates(draft: &Draft) -> Vec<Finding> {
    let (certificates, keys) = (&draft.certificates, &draft.keys);
    let mut findings = Vec::new();
    if !keys.is_empty() && keys.len() != certificates.len() {
        let count = |n: usize, what| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let keys = count(keys.len(), "key");
        let what = format!("{keys} for {}", count(certificates.len(), "certificate"));
        let wrong = Wrong::new(what).hint(
            "give each certificate its key, in the same order, or no key at all when each file \
             has both in it",
        );
        // The first key that is too many, or the last one there is.
        findings.push((vec![(KEYS, certificates.len()), (CERTIFICATES, 0)], wrong));
    }
    for (i, certificate) in certificates.iter().enumerate() {
        if certificates[..i].contains(certificate) {
            let wrong = Wrong::new(format!("{} is there twice", certificate.display()));
            findings.push((vec![(CERTIFICATES, i)], wrong));
        }
    }
    findings
}

fn group(draft: &Draft) -> Vec<Finding> {
    if draft.config.group.is_none() || draft.config.user.is_some() {
        return Vec::new();
    }
    let wrong = Wrong::new("a group alone changes nothing").hint("set process.user as well");
    vec![(vec![("process.group", 0)], wrong)]
}

/// Asks `auth` itself, again and again without what it has refused.
fn credentials(draft: &Draft) -> Vec<Finding> {
    // Each round derives the keys of all users.
    const ROUNDS: usize = 50;
    let mut settings = draft.config.auth.clone();
    // Checked by `anonymity`, which knows more.
    settings.username_anonymity = false;
    let mut places: Vec<usize> = (0..settings.users.len()).collect();
    let mut token_places: Vec<usize> = (0..settings.tokens.keys.len()).collect();
    let mut findings = Vec::new();
    for _ in 0..ROUNDS {
        let Err(refused) = Authority::new(settings.clone(), [0; 16]) else {
            break;
        };
        let wrong = Wrong::new(refused.to_string());
        let place = match &refused {
            InvalidCredential::Realm => {
                settings.realm = Settings::default().realm;
                Some(("auth.realm", 0))
            }
            InvalidCredential::EmptySecret => {
                let empty = settings.secrets.iter().position(|it| it.expose().is_empty());
                settings.secrets.retain(|secret| !secret.expose().is_empty());
                empty.map(|index| ("auth.secrets", index))
            }
            InvalidCredential::Username(_)
            | InvalidCredential::Password(_)
            | InvalidCredential::Duplicate(_) => refused_user(&settings, &refused).map(|index| {
                settings.users.remove(index);
                ("auth.users", places.remove(index))
            }),
            InvalidCredential::ServerName => {
                settings.tokens.server_name = None;
                Some(("auth.tokens.server_name", 0))
            }
            InvalidCredential::Kid(kid) | InvalidCredential::DuplicateKid(kid) => {
                let keys = &mut settings.tokens.keys;
                let index = keys.iter().rposition(|key| key.kid == *kid);
                index.map(|index| {
                    keys.remove(index);
                    ("auth.tokens.keys", token_places.remove(index))
                })
            }
            InvalidCredential::Anonymity => None,
        };
        let Some(place) = place else { break };
        findings.push((vec![place], wrong));
    }
    findings
}

/// Which user was refused.
fn refused_user(settings: &Settings, refused: &InvalidCredential) -> Option<usize> {
    let named = |name: &str| {
        let prepared = |text: &str| prepare(text).is_some_and(|text| text == name);
        settings
            .users
            .iter()
            .enumerate()
            .filter(move |(_, user)| prepared(&user.name))
            .map(|(i, _)| i)
            .collect::<Vec<_>>()
    };
    match refused {
        InvalidCredential::Username(name) => {
            settings.users.iter().position(|user| user.name == *name)
        }
        InvalidCredential::Password(name) => {
            let bad = |index: &usize| prepare(settings.users[*index].password.expose()).is_none();
            named(name).into_iter().find(bad)
        }
        InvalidCredential::Duplicate(name) => named(name).get(1).copied(),
        _ => None,
    }
}

fn anonymity(draft: &Draft) -> Vec<Finding> {
    let auth = &draft.config.auth;
    if !auth.username_anonymity {
        return Vec::new();
    }
    let place = vec![("auth.username_anonymity", 0)];
    let secrets = !auth.secrets.is_empty() || draft.secrets_file.is_some();
    if secrets || !auth.tokens.keys.is_empty() {
        return vec![(place, Wrong::new(InvalidCredential::Anonymity.to_string()))];
    }
    if auth.users.is_empty() && draft.config.stores.is_empty() {
        let wrong = Wrong::new("there is no user whose name could be hidden")
            .hint("without [auth.users] a secret is made, and ephemeral names cannot be found by their hash");
        return vec![(place, wrong)];
    }
    Vec::new()
}
