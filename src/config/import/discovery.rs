//! A second address and port, for NAT discovery (RFC 5780 §6).

use std::net::SocketAddr;

use super::facts::Facts;
use super::listen::{Listeners, strings};
use super::page::Page;
use super::page::Weight::{Lost, Same};
use crate::config::External;

/// The second address of each family, with coturn's second port; none when it is not asked for.
pub(super) fn seconds(
    facts: &Facts<'_>,
    listeners: &Listeners,
    page: &mut Page,
) -> Vec<SocketAddr> {
    let number = facts.number("alt-listening-port", page).unwrap_or(0);
    if !facts.on("rfc5780") {
        return Vec::new();
    }
    let default = listeners.port.checked_add(1).unwrap_or(listeners.port - 1);
    let port = u16::try_from(number).ok().filter(|port| *port != 0).unwrap_or(default);
    let second = |v4: bool| listeners.ips.iter().filter(move |ip| ip.is_ipv4() == v4).nth(1);
    let both = [second(true), second(false)].into_iter().flatten();
    both.filter(|ip| !ip.is_unspecified() && port != listeners.port)
        .map(|ip| (*ip, port).into())
        .collect()
}

/// Writes those of them of which it is known what they are outside.
pub(super) fn discovery(
    facts: &Facts<'_>,
    seconds: &[SocketAddr],
    outside: &[External],
    page: &mut Page,
) {
    let from = facts.all_of(&["rfc5780", "alt-listening-port"]);
    if !facts.on("rfc5780") {
        if !from.is_empty() {
            page.note("listen", Same, &from, "it is of no use without rfc5780");
        }
        return;
    }
    let known = |second: &&SocketAddr| {
        let general =
            |it: &External| it.private.is_none() && it.public.is_ipv4() == second.is_ipv4();
        outside.iter().any(|it| it.private == Some(second.ip())) || !outside.iter().any(general)
    };
    let known: Vec<&SocketAddr> = seconds.iter().filter(known).collect();
    if known.is_empty() {
        let text = "NAT discovery needs a second address of this host and another port, and \
                    behind a NAT the address outside of both: see listen.nat_alternates";
        page.note("listen", Lost, &from, text);
    } else {
        page.key("listen", "nat_alternates", strings(&known), &from);
    }
}
