//! Which peers may be relayed to.
//!
//! In coturn an allowed range wins over each denied one, but not over what it never relays to; what
//! is in neither is allowed, private addresses too. Here the most specific prefix decides, and what
//! is not globally reachable is denied unless allowed.

use std::collections::HashSet;

use super::facts::Facts;
use super::grammar::Line;
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};
use super::ranges::{Range, range};
use crate::turn::Prefix;

/// More rules than this would be felt by each CreatePermission.
const MOST: usize = 2000;

/// What coturn never relays to, and IPv6 addresses that are IPv4 ones in disguise: both judge them
/// by the address inside.
const NEVER: [&str; 11] = [
    "0.0.0.0-0.255.255.255",
    "169.254.0.0-169.254.255.255",
    "fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fec0::-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "::",
    "::2-::ffff:ffff",
    "::ffff:0:0-::ffff:ffff:ffff",
    "::ffff:0:0:0-::ffff:0:ffff:ffff",
    "64:ff9b::-64:ff9b::ffff:ffff",
    "2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

const LOOPBACK: [&str; 2] = ["127.0.0.0-127.255.255.255", "::1"];

const MULTICAST: [&str; 2] =
    ["224.0.0.0-239.255.255.255", "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];

pub(super) fn peers(facts: &Facts<'_>, page: &mut Page) {
    let loopback = facts.on("allow-loopback-peers");
    let never = never(loopback);
    let allowed = facts.all("allowed-peer-ip");
    let denied = facts.all("denied-peer-ip");
    let mut allow = prefixes(&allowed, &never, page);
    let deny = effective(&denied, &allow, page);
    let mut from = allowed;
    if loopback {
        let text = "everything that listens on this host's loopback addresses can be reached by \
                    whoever has credentials. Take them out of peers.allow unless a test needs them";
        page.note("peers", Act, &facts.all("allow-loopback-peers"), text);
        // What is denied stays so: this option alone only takes a built-in rule away.
        let denied: Vec<Range> = denied.iter().filter_map(|line| range(line.value)).collect();
        let opened = LOOPBACK.iter().filter_map(|text| range(text));
        let opened = opened.flat_map(|opened| opened.without(&denied)).flat_map(Range::prefixes);
        let opened: Vec<Prefix> = opened.filter(|prefix| !allow.contains(prefix)).collect();
        allow.extend(opened);
        from.extend(facts.all("allow-loopback-peers"));
    } else if facts.switch("allow-loopback-peers").is_some() {
        let text = "they are denied unless allowed: nothing to write";
        page.note("peers", Same, &facts.all("allow-loopback-peers"), text);
    }
    if !facts.all("no-multicast-peers").is_empty() {
        let text = "multicast addresses are denied in any case";
        page.note("peers", Same, &facts.all("no-multicast-peers"), text);
    }
    write("allow", allow, &from, page);
    write("deny", deny, &denied, page);
    let text = "coturn relays to private addresses (10.0.0.0/8, 192.168.0.0/16 ...) unless they are \
                denied. Here they are denied unless they are allowed: if media servers or other \
                peers stand in your own network, write their prefix into peers.allow.";
    page.note("peers", Lost, &[], text);
}

/// The rules of a further realm. They come behind the server's, and cannot open what those deny.
pub(super) fn realm(own: &Facts<'_>, server: &Facts<'_>, page: &mut Page) {
    let never = never(server.on("allow-loopback-peers"));
    let (allowed, denied) = (own.all("allowed-peer-ip"), own.all("denied-peer-ip"));
    let allow = prefixes(&allowed, &never, page);
    // What is wrong with those has been said.
    let mut open = prefixes(&server.all("allowed-peer-ip"), &never, &mut Page::default());
    open.extend(&allow);
    let deny = effective(&denied, &open, page);
    let closed = server.all("denied-peer-ip");
    let closed: Vec<Range> = closed.iter().filter_map(|line| range(line.value)).collect();
    let is_shut =
        |line: &&Line<'_>| range(line.value).is_some_and(|range| range.without(&closed) != [range]);
    let shut: Vec<&Line<'_>> = allowed.iter().copied().filter(is_shut).collect();
    if !shut.is_empty() {
        let text = "in coturn this wins over what its file denies. Here no realm can open what peers.deny closes: \
                    deny it in the other realms instead, and take it out of [peers]";
        page.note("peers", Act, &shut, text);
    }
    write("allow", allow, &allowed, page);
    write("deny", deny, &denied, page);
}

/// What coturn relays to in no case.
fn never(loopback: bool) -> Vec<Range> {
    let mut never: Vec<Range> = NEVER.iter().filter_map(|text| range(text)).collect();
    never.extend(MULTICAST.iter().filter_map(|text| range(text)));
    if !loopback {
        never.extend(LOOPBACK.iter().filter_map(|text| range(text)));
    }
    never
}

/// What the lines deny that is not allowed as a whole.
fn effective(denied: &[&Line<'_>], allow: &[Prefix], page: &mut Page) -> Vec<Prefix> {
    let won = |prefix: &Prefix| allow.iter().any(|wider| holds(wider, prefix));
    let deny = prefixes(denied, &[], page);
    let (lost, deny): (Vec<Prefix>, Vec<Prefix>) = deny.into_iter().partition(won);
    if !lost.is_empty() {
        let text = format!(
            "in coturn an allowed range wins, so {} denied there without effect: left out",
            if lost.len() == 1 {
                format!("{} is", lost[0])
            } else {
                format!("{} are", list(&lost))
            }
        );
        page.note("peers", Lost, denied, text);
    }
    deny
}

fn write(key: &str, prefixes: Vec<Prefix>, from: &[&Line<'_>], page: &mut Page) {
    if prefixes.len() > MOST {
        let text = format!("that makes {} prefixes, more than are taken along", prefixes.len());
        page.note("peers", Act, from, text);
    } else if !prefixes.is_empty() {
        let texts: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        page.key("peers", key, texts, from);
    }
}

/// The prefixes of the lines without `never`, each once and in order.
fn prefixes(lines: &[&Line<'_>], never: &[Range], page: &mut Page) -> Vec<Prefix> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for line in lines {
        let Some(range) = range(line.value) else {
            page.note("peers", Act, &[line], bad(line));
            continue;
        };
        let left = range.without(never);
        if left != [range] {
            let text = "loopback, link-local, unique-local (fc00::/7), multicast and unspecified \
                        addresses and IPv4 in IPv6 form are left out, which coturn never relays to \
                        or judges by another rule: write them into peers.allow if you need them";
            page.note("peers", Lost, &[line], text);
        }
        let prefixes = left.into_iter().flat_map(Range::prefixes);
        found.extend(prefixes.filter(|prefix| known.insert(*prefix)));
    }
    found
}

fn bad(line: &Line<'_>) -> &'static str {
    if line.value.parse::<Prefix>().is_ok() {
        "coturn knows no prefixes and refuses to start with this: write it into peers.allow or \
         peers.deny as it stands"
    } else {
        "that is neither an address nor a range FIRST-LAST: coturn refuses to start with it"
    }
}

/// Whether the second prefix lies in the first.
fn holds(wider: &Prefix, prefix: &Prefix) -> bool {
    wider.length() <= prefix.length() && wider.contains(prefix.network())
}

fn list(prefixes: &[Prefix]) -> String {
    prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
