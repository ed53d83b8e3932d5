//! Other servers that clients are sent to.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::facts::Facts;
use super::grammar::Line;
use super::listen::{Listeners, place, strings};
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};

/// coturn chooses among the lines in turn: one that is there twice is chosen twice as often.
struct Other<'f, 't> {
    plain: SocketAddr,
    tls: Option<SocketAddr>,
    weight: i64,
    from: Vec<&'f Line<'t>>,
}

pub(super) fn redirect(facts: &Facts<'_>, listeners: &Listeners, page: &mut Page) {
    for (name, transport) in [("tcp-alternate-server", "TCP"), ("udp-alternate-server", "UDP")] {
        let from = facts.all(name);
        if !from.is_empty() {
            let text = format!(
                "clients of {transport} alone cannot be sent on: write the server into \
                 [redirect.servers] if those of the other transport may go there too"
            );
            page.note("redirect", Lost, &from, text);
        }
    }
    let mut others = plain(facts, page);
    secure(facts, &mut others, page);
    let from = facts.all_of(&["alternate-server", "tls-alternate-server"]);
    if others.is_empty() {
        return;
    }
    let own =
        |place: SocketAddr| listeners.plain.contains(&place) || listeners.tls.contains(&place);
    if others.iter().any(|other| own(other.plain) || other.tls.is_some_and(own)) {
        let text = "one of them is this server itself: coturn then sends nobody on";
        page.note("redirect", Same, &from, text);
        return;
    }
    page.key("redirect", "when", "always", &from);
    for (other, number) in others.iter().zip(1..) {
        let mut entry = Table::new();
        entry.insert("addresses".to_owned(), Value::from(strings(&[other.plain])));
        if let Some(tls) = other.tls {
            entry.insert("tls_addresses".to_owned(), Value::from(strings(&[tls])));
        }
        if other.weight != 1 {
            entry.insert("weight".to_owned(), Value::Integer(other.weight.min(1000)));
        }
        page.key("redirect.servers", &format!("alternate-{number}"), entry, &other.from);
    }
    let text = "a client is sent on when it has shown good credentials, and only to a server that \
                answers. It must take the same credentials.";
    page.note("redirect", Lost, &from, text);
}

fn plain<'f, 't>(facts: &'f Facts<'t>, page: &mut Page) -> Vec<Other<'f, 't>> {
    let mut others: Vec<Other<'_, '_>> = Vec::new();
    for line in facts.all("alternate-server") {
        let Some(plain) = usable(line, 3478, page) else { continue };
        match others.iter_mut().find(|other| other.plain == plain) {
            Some(other) => {
                other.weight += 1;
                other.from.push(line);
            }
            None => others.push(Other { plain, tls: None, weight: 1, from: vec![line] }),
        }
    }
    others
}

/// A server for TLS belongs to the one that has the same address for UDP and TCP.
fn secure<'f, 't>(facts: &'f Facts<'t>, others: &mut [Other<'f, 't>], page: &mut Page) {
    for line in facts.all("tls-alternate-server") {
        let Some(tls) = usable(line, 5349, page) else { continue };
        let plain = others.iter().any(|other| other.plain == tls);
        let of_host = others.iter_mut().find(|other| {
            other.plain.ip() == tls.ip() && other.tls.is_none_or(|known| known == tls)
        });
        match of_host {
            _ if plain => page.note("redirect", Act, &[line], "it is the one for UDP and TCP too"),
            Some(other) => {
                other.tls = Some(tls);
                other.from.push(line);
            }
            None => {
                let text = "a server is asked for life over UDP and TCP, so it needs an address \
                            for these: write it into [redirect.servers]";
                page.note("redirect", Lost, &[line], text);
            }
        }
    }
}

fn usable(line: &Line<'_>, default: u16, page: &mut Page) -> Option<SocketAddr> {
    let place = place(line.value, default);
    let usable = place.filter(|place| !place.ip().is_unspecified() && !place.ip().is_multicast());
    if usable.is_none() {
        page.note("redirect", Act, &[line], "that is not the address of another server");
    }
    usable
}
