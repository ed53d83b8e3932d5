//! Where clients come in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::Value;

use super::facts::Facts;
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};
use super::tls::Secured;
use crate::config::keys::WORKERS;

const PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;

/// Where is listened.
pub(super) struct Listeners {
    /// The addresses that coturn's file names.
    pub(super) ips: Vec<IpAddr>,
    /// The port for UDP and TCP.
    pub(super) port: u16,
    /// For UDP and TCP.
    pub(super) plain: Vec<SocketAddr>,
    /// For TLS alone.
    pub(super) tls: Vec<SocketAddr>,
}

pub(super) fn listen(facts: &Facts<'_>, secured: Secured, page: &mut Page) -> Listeners {
    let ips = addresses(facts, "listening-ip", "listen", page);
    let port = port(facts, "listening-port", PORT, page);
    let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let bound = if ips.is_empty() { everywhere.to_vec() } else { ips.clone() };
    let mut listeners: Vec<SocketAddr> = bound.iter().map(|ip| (*ip, port).into()).collect();
    auxiliary(facts, &mut listeners, page);
    let from = facts.all_of(&["listening-ip", "listening-port", "aux-server"]);
    if !from.is_empty() {
        page.key("listen", "addresses", strings(&listeners), &from);
    }
    let tls = tls(facts, secured, &bound, &listeners, page);
    proxy(facts, page);
    threads(facts, page);
    Listeners { ips, port, plain: listeners, tls }
}

/// The addresses of an option that can be bound, each once.
pub(super) fn addresses(
    facts: &Facts<'_>,
    name: &str,
    section: &'static str,
    page: &mut Page,
) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in facts.all(name) {
        match line.value.parse::<IpAddr>() {
            Ok(ip) if found.contains(&ip) => page.note(section, Same, &[line], "it is there twice"),
            Ok(ip) if bindable(ip) => found.push(ip),
            Ok(_) => page.note(section, Act, &[line], "that is no address of a host: left out"),
            Err(_) => {
                let text = "that is not an IP address: write the address that it stands for";
                page.note(section, Act, &[line], text);
            }
        }
    }
    found
}

/// Whether a socket can have this address.
pub(super) fn bindable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_none() && !ip.is_multicast(),
    }
}

/// The port of an option.
pub(super) fn port(facts: &Facts<'_>, name: &str, default: u16, page: &mut Page) -> u16 {
    let Some(number) = facts.number(name, page) else {
        return default;
    };
    match u16::try_from(number) {
        Ok(port) if port != 0 => port,
        _ => {
            let text = format!("that is no port: {default} is taken, the default");
            page.note("", Act, &facts.all(name), text);
            default
        }
    }
}

/// `ADDRESS:PORT`, `[ADDRESS]:PORT`, or an address alone.
pub(super) fn place(text: &str, default: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let bare = || Some(SocketAddr::new(bare.parse().ok()?, default));
    text.parse().ok().or_else(bare).filter(|place: &SocketAddr| place.port() != 0)
}

pub(super) fn strings(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn auxiliary(facts: &Facts<'_>, listeners: &mut Vec<SocketAddr>, page: &mut Page) {
    for line in facts.all("aux-server") {
        match place(line.value, PORT).filter(|place| bindable(place.ip())) {
            None => page.note("listen", Act, &[line], "that is not an address with a port"),
            Some(place) if listeners.iter().any(|other| clash(place, *other)) => {
                page.note("listen", Same, &[line], "it is listened on there already");
            }
            Some(place) => listeners.push(place),
        }
    }
}

/// Whether two addresses cannot both be listened on.
pub(super) fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (any || one.ip() == other.ip())
}

/// The port of TLS and DTLS. coturn takes plain STUN there as well; nobody asks for it there.
fn tls(
    facts: &Facts<'_>,
    secured: Secured,
    bound: &[IpAddr],
    listeners: &[SocketAddr],
    page: &mut Page,
) -> Vec<SocketAddr> {
    let from = facts.all("tls-listening-port");
    if !secured.tls && !secured.dtls {
        if !from.is_empty() {
            page.note("listen", Lost, &from, "without a certificate there is no TLS to listen for");
        }
        return Vec::new();
    }
    let port = port(facts, "tls-listening-port", TLS_PORT, page);
    let mut places: Vec<SocketAddr> = Vec::new();
    for ip in bound {
        let place = SocketAddr::new(*ip, port);
        if !listeners.iter().chain(&places).any(|other| clash(place, *other)) {
            places.push(place);
        }
    }
    if places.is_empty() {
        let text = "TLS is told from STUN by its first bytes, on listen.addresses";
        page.note("listen", Same, &from, text);
        return places;
    }
    if secured.dtls {
        page.key("listen", "dtls", strings(&places), &from);
    }
    if !secured.tls {
        return Vec::new();
    }
    page.key("listen", "tls", strings(&places), &from);
    places
}

fn proxy(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all("tcp-proxy-port");
    if !from.is_empty() {
        let text = "coturn believes whoever connects there. Write the proxy's address into \
                    listen.proxies, and let it connect to a port of listen.addresses";
        page.note("listen", Act, &from, text);
    }
}

fn threads(facts: &Facts<'_>, page: &mut Page) {
    for name in ["relay-threads", "cpus"] {
        let from = facts.all(name);
        if from.is_empty() {
            continue;
        }
        if name == "cpus" && facts.value("relay-threads").is_some() {
            page.note("listen", Same, &from, "relay-threads counts");
        } else if let Some(number) = facts.number(name, page) {
            // Without threads of their own coturn relays on its main one.
            let number = number.clamp(1, *WORKERS.end());
            page.key("listen", "workers", number as i64, &from);
        }
    }
    let from = facts.all("sock-buf-size");
    if let Some(size) = facts.number("sock-buf-size", page) {
        let size = size.min(1 << 30) as i64;
        page.key("listen", "buffer", Value::Integer(size), &from);
    }
}
