//! What may be wrong with a configuration and may be meant: told to whoever asks, and no reason not to start.

use std::net::IpAddr;

use super::draft::Draft;
use super::value::Wrong;
use crate::turn::{Decision, PeerPolicy, PeerRule, Prefix, Redirect};

/// What is doubted, and the values concerned, the likeliest culprit first.
type Doubt = (Vec<(&'static str, usize)>, Wrong);

/// Each with the keys it draws its conclusions from.
type Look = (&'static [&'static str], fn(&Draft) -> Vec<Doubt>);

const LOOKS: &[Look] = &[
    (&["peers.allow", "peers.deny"], rules),
    (&["relay.ports", "limits.allocations", "relay.addresses"], ports),
    (&["relay.external", "listen.addresses"], external),
    (&["relay.addresses", "relay.external", "relay.stun_server", "listen.addresses"], unknown),
    (&["limits.allocations", "limits.allocations_per_user"], per_user),
    (&["limits.connections", "limits.pending_connections"], pending),
    (&["redirect.when", "redirect.servers"], redirect),
];

/// Remarks on what is doubtful.
pub(super) fn look(draft: &mut Draft) {
    for (keys, look) in LOOKS {
        if draft.is_read(keys) {
            for (values, wrong) in look(draft) {
                draft.remark_on(&values, wrong);
            }
        }
    }
}

/// Rules about peers that decide about nobody.
fn rules(draft: &Draft) -> Vec<Doubt> {
    let all = &draft.config.peers;
    let verb = |rule: &PeerRule| if rule.allow { "allow" } else { "deny" };
    let mut doubts = Vec::new();
    for (i, rule) in all.iter().enumerate() {
        let key = if rule.allow { "peers.allow" } else { "peers.deny" };
        let nth = all[..i].iter().filter(|other| other.allow == rule.allow).count();
        let prefix = rule.prefix;
        let twice = all[..i].contains(rule);
        let denied = rule.allow && all.iter().any(|it| it.prefix == prefix && !it.allow);
        let inside: Vec<_> =
            all.iter().map(|it| it.prefix).filter(|it| is_inside(*it, prefix)).collect();
        let wider = all.iter().filter(|it| is_inside(prefix, it.prefix));
        let wider = wider.max_by_key(|it| (it.prefix.length(), !it.allow));
        let wrong = if twice {
            Some(Wrong::new(format!("{prefix} is there twice")))
        } else if denied {
            let hint = "deny wins: take one of the two out";
            Some(
                Wrong::new(format!("{prefix} is never allowed, since it is denied too")).hint(hint),
            )
        } else if is_covered(prefix, &inside) {
            let hint = "the most specific rule decides: take it out, or what is inside";
            let what = format!("{prefix} never decides: narrower rules cover all of it");
            Some(Wrong::new(what).hint(hint))
        } else {
            wider.filter(|wider| wider.allow == rule.allow).map(|wider| {
                let (verb, wider) = (verb(wider), wider.prefix);
                Wrong::new(format!("{prefix} changes nothing: {wider} has the same in {verb}"))
                    .hint("take it out")
            })
        };
        doubts.extend(wrong.map(|wrong| (vec![(key, nth)], wrong)));
    }
    doubts
}

/// Whether a prefix is a part of a wider one.
fn is_inside(inner: Prefix, outer: Prefix) -> bool {
    inner.length() > outer.length() && outer.contains(inner.network())
}

/// Whether each address of a prefix lies in one of the others, all of them inside of it.
fn is_covered(prefix: Prefix, others: &[Prefix]) -> bool {
    if others.contains(&prefix) {
        return true;
    }
    let inside: Vec<_> = others.iter().copied().filter(|it| is_inside(*it, prefix)).collect();
    // Two halves have to be covered, each by itself.
    inside.len() >= 2
        && halves(prefix).is_some_and(|both| both.iter().all(|it| is_covered(*it, &inside)))
}

fn halves(prefix: Prefix) -> Option<[Prefix; 2]> {
    let (length, network) = (prefix.length() + 1, prefix.network());
    let upper: IpAddr = match network {
        IpAddr::V4(ip) => {
            IpAddr::V4((ip.to_bits() | 1_u32.checked_shl(32 - u32::from(length))?).into())
        }
        IpAddr::V6(ip) => {
            IpAddr::V6((ip.to_bits() | 1_u128.checked_shl(128 - u32::from(length))?).into())
        }
    };
    Some([Prefix::new(network, length).ok()?, Prefix::new(upper, length).ok()?])
}

/// Each allocation takes a port.
fn ports(draft: &Draft) -> Vec<Doubt> {
    let (relay, wanted) = (&draft.config.relay, draft.config.limits.allocations);
    let v4 = relay.addresses.iter().filter(|ip| ip.is_ipv4()).count();
    let addresses = v4.max(relay.addresses.len() - v4).max(1);
    let ports = relay.ports.len() * addresses;
    if wanted as usize <= ports {
        return Vec::new();
    }
    let what = format!("{ports} ports are too few for {wanted} allocations (limits.allocations)");
    let wrong = Wrong::new(what).hint("widen the range, add relay addresses, or lower the limit");
    vec![(vec![("relay.ports", 0), ("limits.allocations", 0)], wrong)]
}

/// Whether clients from elsewhere are to come at all.
fn is_development(draft: &Draft) -> bool {
    draft.config.worker.listeners.iter().all(|listener| listener.ip().is_loopback())
}

/// By the table by which strangers' peers are judged.
fn is_public(ip: IpAddr) -> bool {
    PeerPolicy::default().decide(ip) == Decision::Allow
}

fn external(draft: &Draft) -> Vec<Doubt> {
    if is_development(draft) {
        return Vec::new();
    }
    let all = draft.config.relay.external.iter().enumerate();
    let private = all.filter(|(_, external)| !is_public(external.public));
    let doubt = |ip: IpAddr| {
        Wrong::new(format!(
            "{ip} is not a public address: only clients in its own network reach it"
        ))
        .hint("give the address that the Internet knows")
    };
    private.map(|(i, external)| (vec![("relay.external", i)], doubt(external.public))).collect()
}

/// Relay addresses that nobody outside reaches, and no word of what they are there.
fn unknown(draft: &Draft) -> Vec<Doubt> {
    let relay = &draft.config.relay;
    if is_development(draft) || relay.stun_server.is_some() {
        return Vec::new();
    }
    let known = |ip: &IpAddr| {
        let mut external = relay.external.iter();
        external.any(|it| it.private.map_or(it.public.is_ipv4() == ip.is_ipv4(), |own| own == *ip))
    };
    let all = relay.addresses.iter().enumerate();
    let unknown = all.filter(|(_, ip)| !is_public(**ip) && !known(ip));
    let doubt = |ip: IpAddr| {
        Wrong::new(format!("{ip} is not a public address, and nothing says what it is outside"))
            .hint("set relay.external, or relay.stun_server to find it out")
    };
    unknown.map(|(i, ip)| (vec![("relay.addresses", i)], doubt(*ip))).collect()
}

fn per_user(draft: &Draft) -> Vec<Doubt> {
    let limits = &draft.config.limits;
    let (all, each) = (limits.allocations, limits.allocations_per_user);
    if all == 0 || each <= all {
        return Vec::new();
    }
    let what = format!(
        "a user never gets {each} allocations: there are {all} in all (limits.allocations)"
    );
    vec![(vec![("limits.allocations_per_user", 0), ("limits.allocations", 0)], Wrong::new(what))]
}

fn pending(draft: &Draft) -> Vec<Doubt> {
    let limits = &draft.config.limits;
    let (all, pending) = (limits.connections, limits.pending_connections);
    if pending <= all {
        return Vec::new();
    }
    let what = format!("{pending} is more than limits.connections ({all}), which counts them too");
    vec![(vec![("limits.pending_connections", 0), ("limits.connections", 0)], Wrong::new(what))]
}

fn redirect(draft: &Draft) -> Vec<Doubt> {
    let redirect = &draft.config.redirect;
    if redirect.when == Redirect::default() || !redirect.servers.is_empty() {
        return Vec::new();
    }
    let wrong = Wrong::new("there is no other server that clients could be sent to")
        .hint("name one in redirect.servers");
    vec![(vec![("redirect.when", 0)], wrong)]
}
