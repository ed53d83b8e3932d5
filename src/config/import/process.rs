//! The process around it: metrics, the log, whom to become.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::facts::Facts;
use super::listen::{Listeners, clash, port};
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};

const METRICS_PORT: u16 = 9641;

/// Levels of coturn's log, and ours.
const LEVELS: [(&str, &str); 5] = [
    ("debug", "debug"),
    ("info", "info"),
    ("notice", "info"),
    ("warning", "warn"),
    ("error", "error"),
];

pub(super) fn process(facts: &Facts<'_>, listeners: &Listeners, page: &mut Page) {
    metrics(facts, listeners, page);
    log(facts, page);
    user(facts, page);
}

fn metrics(facts: &Facts<'_>, listeners: &Listeners, page: &mut Page) {
    let from = facts.all_of(&["prometheus", "prometheus-port", "prometheus-address"]);
    if !facts.on("prometheus") {
        if !from.is_empty() {
            page.note("admin", Same, &from, "it is of no use without prometheus");
        }
        return;
    }
    let port = port(facts, "prometheus-port", METRICS_PORT, page);
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ip = match facts.value("prometheus-address").map(str::parse::<IpAddr>) {
        Some(Ok(ip)) => ip,
        Some(Err(_)) => {
            let text = "that is not an IP address: metrics are served on this host alone";
            page.note("admin", Act, &facts.all("prometheus-address"), text);
            localhost
        }
        None => {
            let text = "coturn serves metrics to everybody, without a password: here they are on \
                        127.0.0.1. Write another address into admin.listen if yours are fetched \
                        from elsewhere";
            page.note("admin", Act, &from, text);
            localhost
        }
    };
    let place = SocketAddr::new(ip, port);
    if listeners.plain.iter().chain(&listeners.tls).any(|listener| clash(place, *listener)) {
        let text = "there is a listener of TURN on this port: metrics are left out";
        page.note("admin", Act, &from, text);
        return;
    }
    page.key("admin", "listen", place.to_string(), &from);
    let text = "the metrics have other names: they begin with turnwire_";
    page.note("admin", Lost, &facts.all("prometheus"), text);
}

fn log(facts: &Facts<'_>, page: &mut Page) {
    let verbose = facts.all_of(&["verbose", "Verbose"]);
    let level = facts.all("log-min-level");
    let named = facts.value("log-min-level").map(str::to_ascii_lowercase);
    let named = named.and_then(|name| LEVELS.iter().find(|(theirs, _)| *theirs == name));
    if facts.on("Verbose") {
        page.key("log", "level", "debug", &verbose);
        if !level.is_empty() {
            page.note("log", Same, &level, "Verbose counts");
        }
        return;
    }
    if !verbose.is_empty() {
        let text = "the log has a line for each ended session anyhow; log.level = \"debug\" has \
                    one for each request";
        page.note("log", Same, &verbose, text);
    }
    match named {
        // coturn's default, at which it says about as much as we do at "info".
        Some(("debug", _)) => {
            page.note("log", Same, &level, "the default level says about as much");
        }
        Some((_, ours)) => page.key("log", "level", *ours, &level),
        None if !level.is_empty() => page.note("log", Act, &level, "that is no level"),
        None => {}
    }
}

fn user(facts: &Facts<'_>, page: &mut Page) {
    let (users, groups) = (facts.all("proc-user"), facts.all("proc-group"));
    match facts.value("proc-user") {
        Some(user) => {
            page.key("process", "user", user, &users);
            if let Some(group) = facts.value("proc-group") {
                page.key("process", "group", group, &groups);
            }
        }
        None if !groups.is_empty() => {
            page.note("process", Lost, &groups, "a group alone changes nothing without a user");
        }
        None => {}
    }
}
