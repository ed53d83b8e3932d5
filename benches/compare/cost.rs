//! What a server pays for each packet, request, cycle and idle allocation.

use crate::figures::{Sorted, duration, number, rounds};
use crate::load::{self, Outcome};
use crate::server::{Kind, Running};
use crate::site::Site;

/// One load.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// For `turnwire load`.
    flags: &'static str,
    /// For coturn, where it does better with them than by default.
    coturn: &'static str,
}

const fn scenario(name: &'static str, flags: &'static str) -> Scenario {
    Scenario { name, flags, coturn: "" }
}

/// On loopback.
pub(crate) const SCENARIOS: [Scenario; 13] = [
    // Debian's coturn loses packets of one flow when more are on their way: its socket buffers hold 56.
    scenario("channels 1 x 1200 B", "--clients 1 --rate max --window 32"),
    scenario("channels 50 x 1200 B", "--clients 50 --rate max"),
    scenario("channels 1000 x 1200 B", "--clients 1000 --rate max"),
    scenario("channels 50 x 160 B", "--clients 50 --rate max --size 160"),
    Scenario {
        name: "indications 50 x 1200 B",
        flags: "--clients 50 --rate max --mode send",
        coturn: "-m 1",
    },
    Scenario {
        name: "channels 50 x 1200 B, TCP",
        flags: "--clients 50 --rate max --transport tcp",
        coturn: "-m 1",
    },
    Scenario {
        name: "channels 50 x 1200 B, TLS",
        flags: "--clients 50 --rate max --insecure",
        coturn: "-m 1 --tls",
    },
    Scenario {
        name: "10,000/s, TLS",
        flags: "--clients 50 --rate 10000 --insecure",
        coturn: "-m 1 --tls",
    },
    scenario("50,000/s", "--clients 50 --rate 50000"),
    scenario("50,000/s up, trains", "--clients 50 --rate 50000 --direction up --train 10"),
    scenario(
        "50,000/s up, offloaded",
        "--clients 50 --rate 50000 --direction up --train 10 --offload",
    ),
    scenario("Binding requests", "--mode binding --rate max"),
    scenario("allocation cycles", "--mode churn --rate max"),
];

/// Over network cards; offloaded is what is sent in one piece, and stays so on its way.
pub(crate) const CARDS: [Scenario; 8] = [
    scenario("cards, smooth, at most", "--clients 50 --rate max"),
    scenario("cards, smooth, 50,000/s", "--clients 50 --rate 50000"),
    scenario("cards, up, trains", "--clients 50 --rate 50000 --direction up --train 10"),
    scenario("cards, down, trains", "--clients 50 --rate 50000 --direction down --train 10"),
    scenario(
        "cards, up, offloaded",
        "--clients 50 --rate 50000 --direction up --train 10 --offload",
    ),
    scenario(
        "cards, down, offloaded",
        "--clients 50 --rate 50000 --direction down --train 10 --offload",
    ),
    scenario(
        "cards, up, off., at most",
        "--clients 50 --rate max --window 500 --direction up --train 10 --offload",
    ),
    scenario(
        "cards, down, off., at most",
        "--clients 50 --rate max --window 500 --direction down --train 10 --offload",
    ),
];

/// Above the rows of [`compare`].
pub(crate) fn headline(what: &str) {
    println!(
        "{what:26} {:>9} {:>12} {:>12} {:>7} {:>13}  lost bad",
        "server", "per second", "CPU us each", "ratio", "spread"
    );
}

/// What each server pays for one load.
pub(crate) fn compare(site: &Site, scenario: &Scenario) {
    let flags = format!("{} {}", scenario.flags, duration());
    let rows = rounds(&Kind::ALL, |kind| {
        if kind == Kind::Naive && (flags.contains("tcp") || flags.contains("insecure")) {
            return None;
        }
        let server = Running::start(site, kind, scenario.coturn)?;
        load::outcome(&load::run(&server, &flags)?)
    });
    let [.., base] = &rows;
    for (kind, row) in Kind::ALL.iter().zip(&rows) {
        let name = kind.name();
        if row.iter().all(Option::is_none) {
            println!("{:26} {name:>9} not measured", scenario.name);
            continue;
        }
        let of = |figure: fn(&Outcome) -> f64| {
            Sorted::of(row.iter().map(|outcome| outcome.as_ref().map(figure)))
        };
        let ratios =
            Sorted::of(row.iter().zip(base).map(|(outcome, base)| {
                Some(outcome.as_ref()?.cpu_micros / base.as_ref()?.cpu_micros)
            }));
        println!(
            "{:26} {name:>9} {:>12.0} {:>12.3} {:>7.2} {:>13}  {} {}",
            scenario.name,
            of(|outcome| outcome.per_second).median(),
            of(|outcome| outcome.cpu_micros).median(),
            ratios.median(),
            ratios.spread(),
            row.iter().flatten().map(|outcome| outcome.lost).sum::<u64>(),
            row.iter().flatten().map(|outcome| outcome.bad).sum::<u64>(),
        );
    }
}

/// Resident memory per idle allocation with one permission and one channel.
pub(crate) fn memory(site: &Site) {
    let count = number("ALLOCATIONS", 10_000);
    let words = format!("--clients {count} --rate 1 --direction up --duration 100ms");
    for kind in Kind::ALL {
        let server = Running::start(site, kind, "");
        let Some(report) = server.and_then(|server| load::run(&server, &words)) else {
            println!("{:9} memory not measured", kind.name());
            continue;
        };
        println!(
            "{:9} {} idle allocations in {:.2} s, {} bytes resident each",
            kind.name(),
            report["set_up"]["succeeded"],
            report["set_up"]["seconds"].as_f64().unwrap_or(f64::NAN),
            report["server_memory"]["bytes_per_allocation"],
        );
    }
}

/// Resident memory per idle connection in TLS with an allocation. Each needs two descriptors of the server.
pub(crate) fn tls_memory(site: &Site) {
    let count = number("CONNECTIONS", 9500);
    let words = format!("--insecure --clients {count} --rate 1 --direction up --duration 100ms");
    for (kind, more) in [(Kind::Turnwire, ""), (Kind::Coturn, "-m 1 --tls")] {
        let server = Running::start(site, kind, more);
        let Some(report) = server.and_then(|server| load::run_once(&server, &words)) else {
            println!("{:9} idle TLS not measured", kind.name());
            continue;
        };
        println!(
            "{:9} {} idle TLS connections with an allocation in {:.2} s, {} bytes resident each",
            kind.name(),
            report["set_up"]["succeeded"],
            report["set_up"]["seconds"].as_f64().unwrap_or(f64::NAN),
            report["server_memory"]["bytes_per_allocation"],
        );
    }
}
