//! How much of everything, and how TURN is spoken.

use super::facts::{Facts, OFF};
use super::grammar::number;
use super::page::Page;
use super::page::Weight::{Lost, Same};

/// The lifetime of an allocation whose client asks for none (RFC 8656 §3.2), here and there.
const DEFAULT_LIFETIME: u64 = 600;
const DAY: u64 = 86400;

pub(super) fn limits(facts: &Facts<'_>, page: &mut Page) {
    quotas(facts, page);
    capacity(facts, page);
    lifetimes(facts, page);
    strangers(facts, page);
    switches(facts, page);
}

pub(super) fn quotas(facts: &Facts<'_>, page: &mut Page) {
    let counts = [
        ("total-quota", "allocations", u64::from(u32::MAX)),
        ("user-quota", "allocations_per_user", u64::from(u32::MAX)),
        ("max-bps", "bytes_per_second", i64::MAX as u64),
    ];
    for (name, key, most) in counts {
        if let Some(number) = facts.number(name, page) {
            page.key("limits", key, number.min(most) as i64, &facts.all(name));
        }
    }
}

/// coturn sets aside of its capacity what max-bps says, and nothing where that is 0 or missing.
fn capacity(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all("bps-capacity");
    let Some(number) = facts.number("bps-capacity", page) else { return };
    if number > 0 && !bounds_each(facts) {
        let text = "it limits nobody in coturn without max-bps: limits.all_bytes_per_second bounds what all have together";
        page.note("limits", Same, &from, text);
        return;
    }
    page.key("limits", "all_bytes_per_second", number.min(i64::MAX as u64) as i64, &from);
    if number > 0 {
        let text = "coturn sets max-bps of it aside for each allocation and refuses those for which nothing is left; \
                    here those share it that use it, in each realm by itself";
        page.note("limits", Same, &from, text);
    }
}

/// The same for a further realm, where its own max-bps makes a difference.
pub(super) fn capacity_of_realm(own: &Facts<'_>, facts: &Facts<'_>, page: &mut Page) {
    let capacity = facts.value("bps-capacity").map_or(0, |value| number(value).0);
    let from = own.all("max-bps");
    if capacity == 0 || from.is_empty() || bounds_each(own) == bounds_each(facts) {
        return;
    }
    let bound = if bounds_each(own) { capacity.min(i64::MAX as u64) as i64 } else { 0 };
    page.key("limits", "all_bytes_per_second", bound, &from);
}

/// Whether an allocation is bounded.
fn bounds_each(facts: &Facts<'_>) -> bool {
    facts.value("max-bps").is_some_and(|value| number(value).0 > 0)
}

fn lifetimes(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all("max-allocate-lifetime");
    if !from.is_empty() {
        let seconds = match facts.value("max-allocate-lifetime") {
            Some("") | None => 3600,
            Some(_) => facts.number("max-allocate-lifetime", page).unwrap_or(3600),
        };
        let kept = seconds.clamp(1, DAY);
        if kept != seconds {
            page.note("turn", Lost, &from, "it can be 1 second to a day");
        }
        if kept < DEFAULT_LIFETIME {
            page.key("turn", "default_lifetime", kept as i64, &from);
        }
        page.key("turn", "max_lifetime", kept as i64, &from);
    }
    if let Some(seconds) = facts.number("max-allocate-timeout", page) {
        let from = facts.all("max-allocate-timeout");
        let kept = seconds.clamp(1, DAY) as i64;
        page.key("limits.streams", "idle", kept, &from);
        page.key("limits.dtls", "idle", kept, &from);
    }
}

/// coturn limits its answers to strangers only when asked to.
fn strangers(facts: &Facts<'_>, page: &mut Page) {
    let switch = facts.all("unauthorized-ratelimit");
    let rate = facts.all("unauthorized-ratelimit-rps");
    let number = facts.number("unauthorized-ratelimit-rps", page);
    match number.filter(|_| facts.on("unauthorized-ratelimit")) {
        Some(number) if number > 0 => {
            let number = number.min(u64::from(u32::MAX)) as i64;
            page.key("limits", "unauthenticated_per_second", number, &[switch, rate].concat());
        }
        _ => {
            let from = [switch, rate].concat();
            if !from.is_empty() {
                let text = "answers to strangers are always limited: \
                            limits.unauthenticated_per_second, 500 for one address when not set";
                page.note("limits", Same, &from, text);
            }
        }
    }
}

fn switches(facts: &Facts<'_>, page: &mut Page) {
    let set = |name, key, value: bool, page: &mut Page| {
        let from = facts.all(name);
        match facts.switch(name) {
            Some(true) => page.key("turn", key, value, &from),
            Some(false) => {
                page.note("turn", Same, &from, OFF);
            }
            None => {}
        }
    };
    set("no-tcp-relay", "tcp_allocations", false, page);
    set("mobility", "mobility", true, page);
    set("rfc5766-channel-numbers", "rfc5766_channels", true, page);
    let software = facts.all_of(&["software-attribute", "no-software-attribute"]);
    if software.is_empty() {
        return;
    }
    if facts.on("no-software-attribute") || facts.switch("software-attribute") == Some(false) {
        page.key("turn", "software", "", &software);
    } else {
        let text = "authenticated clients are told the software's name, without its version";
        page.note("turn", Same, &software, text);
    }
}
