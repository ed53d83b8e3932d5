//! The addresses and ports of allocations.

use std::net::{IpAddr, SocketAddr};

use super::facts::Facts;
use super::grammar::Line;
use super::listen::{addresses, bindable, strings};
use super::page::Page;
use super::page::Weight::{self, Act, Lost, Same};
use crate::config::External;

/// RFC 8656 §7.2 advises against the well-known ports.
const LOWEST: u64 = 1024;

/// Writes where allocations are made. `listened` are the addresses that are listened on, if any is
/// named; `seconds` are the second ones for NAT discovery, which may have an address outside without
/// being relayed from. Gives the pairs that were written.
pub(super) fn relay(
    facts: &Facts<'_>,
    listened: &[IpAddr],
    seconds: &[SocketAddr],
    page: &mut Page,
) -> Vec<External> {
    let mut relays = addresses(facts, "relay-ip", "relay", page);
    let unfit = |ip: &IpAddr| match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => true,
        ip => ip.is_unspecified(),
    };
    if relays.iter().any(unfit) {
        let text = "an unspecified or link-local address is no place for a relay: left out";
        page.note("relay", Act, &facts.all("relay-ip"), text);
        relays.retain(|ip| !unfit(ip));
    }
    let mut from = facts.all("relay-ip");
    let pairs = accepted(facts, seconds, &mut relays, &from, page);
    write(&pairs, listened, &mut relays, &mut from, page);
    if !relays.is_empty() {
        page.key("relay", "addresses", strings(&relays), &from);
    }
    ports(facts, page);
    pairs.into_iter().map(|(pair, _)| pair).collect()
}

/// The pairs that can stand beside each other.
fn accepted<'f, 't>(
    facts: &'f Facts<'t>,
    seconds: &[SocketAddr],
    relays: &mut Vec<IpAddr>,
    from: &[&'f Line<'t>],
    page: &mut Page,
) -> Vec<(External, &'f Line<'t>)> {
    let mut pairs: Vec<(External, &Line<'_>)> = Vec::new();
    for line in facts.all("external-ip") {
        let refused = |pair| refused(pair, &pairs, relays, seconds);
        match pair(line.value).map_err(|why| (Act, why)).and_then(refused) {
            Ok(pair) => pairs.push((pair, line)),
            Err((weight, why)) => page.note("relay", weight, &[line], why),
        }
    }
    only_paired(&mut pairs, page);
    for (pair, line) in pairs.iter().filter(|(pair, _)| pair.private.is_none()) {
        only_one(pair.public, line, relays, from, page);
    }
    pairs
}

/// Writes them. Of several, their inner addresses are those to relay from when nothing else says
/// so: coturn relays from wherever the client came in.
fn write<'f, 't>(
    pairs: &[(External, &'f Line<'t>)],
    listened: &[IpAddr],
    relays: &mut Vec<IpAddr>,
    from: &mut Vec<&'f Line<'t>>,
    page: &mut Page,
) {
    let inner: Vec<IpAddr> = pairs.iter().filter_map(|(pair, _)| pair.private).collect();
    let lines: Vec<&Line<'_>> = pairs.iter().map(|(_, line)| *line).collect();
    if relays.is_empty() && listened.is_empty() && inner.len() > 1 {
        if inner.iter().all(|ip| ip.is_ipv4() == inner[0].is_ipv4()) {
            let text = "relay.addresses are these and no others: add one of the other family if \
                        there is one";
            page.note("relay", Lost, &lines, text);
        }
        *relays = inner;
        from.extend(&lines);
    }
    let written = |(pair, _): &(External, &Line<'_>)| match pair.private {
        Some(private) => format!("{}/{private}", pair.public),
        None => pair.public.to_string(),
    };
    if !pairs.is_empty() {
        page.key("relay", "external", pairs.iter().map(written).collect::<Vec<_>>(), &lines);
    }
}

fn pair(value: &str) -> Result<External, &'static str> {
    let (public, private) = match value.split_once('/') {
        Some((public, private)) => (public, Some(private)),
        None => (value, None),
    };
    let name = "that is not an IP address, and no name is looked up and no $(...) run here: write the \
                address into relay.external, or set relay.stun_server to have it found at start";
    let address = |text: &str| match text.trim().parse::<IpAddr>() {
        Ok(ip) if bindable(ip) && !ip.is_unspecified() => Ok(ip),
        Ok(_) => Err("that is no address of a host: left out"),
        Err(_) => Err(name),
    };
    let (public, private) = (address(public)?, private.map(address).transpose()?);
    match private {
        Some(private) if private.is_ipv4() != public.is_ipv4() => {
            Err("the two addresses are not of one family: left out")
        }
        _ => Ok(External { public, private }),
    }
}

/// The pair, if it can stand beside those before it.
fn refused(
    pair: External,
    before: &[(External, &Line<'_>)],
    relays: &[IpAddr],
    seconds: &[SocketAddr],
) -> Result<External, (Weight, &'static str)> {
    let same = |other: &&External| other.public.is_ipv4() == pair.public.is_ipv4();
    let mut of_family = before.iter().map(|(pair, _)| pair).filter(same);
    let of_relays = relays.is_empty()
        || match pair.private {
            Some(private) => {
                relays.contains(&private) || seconds.iter().any(|second| second.ip() == private)
            }
            None => relays.iter().any(|ip| ip.is_ipv4() == pair.public.is_ipv4()),
        };
    if !of_relays {
        Err((Lost, "it stands for no relay-ip: left out"))
    } else if pair.private.is_none() && of_family.clone().any(|other| other.private.is_none()) {
        Err((Same, "coturn takes the first one of these"))
    } else if of_family.clone().any(|other| other.private == pair.private) {
        Err((Act, "the inner address has two addresses outside: the first one is taken"))
    } else if of_family.any(|other| other.public == pair.public) {
        Err((Act, "the address outside stands for another one already: left out"))
    } else {
        Ok(pair)
    }
}

/// Where each inner address has its own, there is none for all of them.
fn only_paired(pairs: &mut Vec<(External, &Line<'_>)>, page: &mut Page) {
    let paired = |v4: bool| {
        pairs.iter().any(|(pair, _)| pair.private.is_some() && pair.public.is_ipv4() == v4)
    };
    let paired = [paired(true), paired(false)];
    pairs.retain(|(pair, line)| {
        let fine = pair.private.is_some() || !paired[usize::from(pair.public.is_ipv6())];
        if !fine {
            let text = "others are given for single inner addresses: this one for all is left out";
            page.note("relay", Act, &[line], text);
        }
        fine
    });
}

/// One address outside cannot stand for several: where a packet to it goes would not be known.
fn only_one<'f, 't>(
    public: IpAddr,
    line: &'f Line<'t>,
    relays: &mut Vec<IpAddr>,
    from: &[&'f Line<'t>],
    page: &mut Page,
) {
    let same = |ip: &IpAddr| ip.is_ipv4() == public.is_ipv4();
    let Some(first) = relays.iter().copied().find(same) else {
        return;
    };
    if relays.iter().filter(|ip| same(ip)).count() > 1 {
        let text = format!(
            "one address outside cannot stand for several relay addresses: only {first} is kept. \
             Give each its own: \"PUBLIC/PRIVATE\""
        );
        relays.retain(|ip| !same(ip) || *ip == first);
        page.note("relay", Act, &[from, &[line]].concat(), text);
    }
}

fn ports(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all_of(&["min-port", "max-port"]);
    if from.is_empty() {
        return;
    }
    let first = facts.number("min-port", page).unwrap_or(49152);
    let last = facts.number("max-port", page).unwrap_or(65535);
    if !(LOWEST..=65535).contains(&last) || first > last {
        let text = "that is no range of ports from 1024 on: 49152-65535 is taken, the default";
        page.note("relay", Act, &from, text);
        return;
    }
    if first < LOWEST {
        let text = "the ports 0-1023 are left out, as RFC 8656 §7.2 advises";
        page.note("relay", Lost, &from, text);
    }
    page.key("relay", "ports", format!("{}-{last}", first.max(LOWEST)), &from);
}
