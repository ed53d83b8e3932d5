//! What a server pays for its work: a naive forwarder, Turnwire and coturn side by side, in turn, in one run.
//!
//! `cargo bench --bench compare` runs `turnwire load` against each and prints, for each load, how much was done in a
//! second and the server's CPU microseconds for each packet, request or cycle (medians of the rounds), with the ratio
//! to coturn's of the same round and its spread, and the resident memory per idle allocation; then what is delivered
//! in overload, how long packets take at half load, and what a flood costs its neighbours. Everything stays on
//! 127.0.0.1; each server is pinned to core 0, the load to core 1.
//!
//! A packet counts when it arrives whole and at its place. An echo is two relayed packets.
//!
//! An argument picks what is measured by a part of its name. Settings are taken from the environment:
//!
//! | ROUNDS, MILLISECONDS, ALLOCATIONS | 3 rounds of 2000 ms each; 10000 idle allocations |
//! | COTURN | coturn's program, where it is not `turnserver` (Debian's package `coturn`) |
//! | COTURN_FLAGS, TURNWIRE_FLAGS | flags for every start of the server |

mod figures;
mod load;
mod naive;
mod server;
mod stress;

use std::process::Command;

use figures::Sorted;
use load::Outcome;
use server::{Kind, Running, coturn};

/// One load.
struct Scenario {
    name: &'static str,
    /// For `turnwire load`.
    flags: &'static str,
    /// For coturn, where it does better with them than by default.
    coturn: &'static str,
}

const fn scenario(name: &'static str, flags: &'static str) -> Scenario {
    Scenario { name, flags, coturn: "" }
}

const SCENARIOS: [Scenario; 11] = [
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
    scenario("50,000/s", "--clients 50 --rate 50000"),
    scenario("50,000/s up, trains", "--clients 50 --rate 50000 --direction up --train 10"),
    scenario(
        "50,000/s up, offloaded",
        "--clients 50 --rate 50000 --direction up --train 10 --offload",
    ),
    scenario("Binding requests", "--mode binding --rate max"),
    scenario("allocation cycles", "--mode churn --rate max"),
];

fn main() {
    // Cargo passes flags of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [flag, address] = &words[..]
        && flag == "--naive"
    {
        let address = address.parse().expect("an address");
        return naive::serve(address).expect("the naive forwarder");
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    println!("coturn is {}", coturn_version());
    println!(
        "{:26} {:>9} {:>12} {:>12} {:>7} {:>13}  lost bad",
        "echo, or as it says", "server", "per second", "CPU us each", "ratio", "spread"
    );
    let picked = words.first();
    let wanted = |name: &str| picked.is_none_or(|part| name.contains(part));
    SCENARIOS.iter().filter(|one| wanted(one.name)).for_each(compare);
    if wanted("idle memory") {
        Kind::ALL.into_iter().for_each(memory);
    }
    for (name, direction) in [("overload, to the peer", "up"), ("overload, to the clients", "down")]
    {
        if wanted(name) {
            stress::overload(name, direction);
        }
    }
    if wanted("half load") {
        stress::latency();
    }
    for (name, direction) in [("flood, of a peer", "down"), ("flood, of a client", "up")] {
        if wanted(name) {
            stress::fairness(name, direction);
        }
    }
}

/// Does something with each server in each round, A B C, then C B A, and so on: what drifts hits all alike.
fn rounds<T>(mut each: impl FnMut(Kind) -> Option<T>) -> [Vec<Option<T>>; 3] {
    let mut rows = [const { Vec::new() }; 3];
    for round in 0..number("ROUNDS", 3) {
        let order = if round % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] };
        for place in order {
            rows[place].push(each(Kind::ALL[place]));
        }
    }
    rows
}

/// What a server pays for one load.
fn compare(scenario: &Scenario) {
    let flags = format!("{} --duration {}ms", scenario.flags, milliseconds());
    let rows = rounds(|kind| {
        if kind == Kind::Naive && flags.contains("tcp") {
            return None;
        }
        let server = Running::start(kind, scenario.coturn)?;
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
fn memory(kind: Kind) {
    let count = number("ALLOCATIONS", 10_000);
    let words = format!("--clients {count} --rate 1 --direction up --duration 100ms");
    let report = Running::start(kind, "").and_then(|server| load::run(&server, &words));
    let Some(report) = report else {
        return println!("{:9} memory not measured", kind.name());
    };
    println!(
        "{:9} {} idle allocations in {:.2} s, {} bytes resident each",
        kind.name(),
        report["set_up"]["succeeded"],
        report["set_up"]["seconds"].as_f64().unwrap_or(f64::NAN),
        report["server_memory"]["bytes_per_allocation"],
    );
}

fn coturn_version() -> String {
    let output = Command::new(coturn()).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let version = text.lines().rfind(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    version.map_or_else(|| "not there, or does not tell its version".to_owned(), str::to_owned)
}

/// How long each load lasts.
fn milliseconds() -> usize {
    number("MILLISECONDS", 2000)
}

/// A setting from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
