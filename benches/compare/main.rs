//! What a server pays for its work: a naive forwarder, Turnwire and coturn side by side, in turn, in one run.
//!
//! `cargo bench --bench compare` runs `turnwire load` against each and prints, for each load, how much was done in a
//! second and the server's CPU microseconds for each packet, request or cycle (medians of the rounds), with the ratio
//! to coturn's of the same round and its spread, and the resident memory per idle allocation; then what is delivered
//! in overload, how long packets take at half load, and what a flood costs its neighbours. Everything stays on
//! 127.0.0.1; each server is pinned to core 0, the load to core 1.
//!
//! A packet counts when it arrives whole and at its place. An echo is two relayed packets. A run from which the host
//! has taken CPU away (steal) is repeated.
//!
//! An argument picks what is measured by a part of its name. `cards` measures bursts over network cards with
//! segmentation offload instead, in networks of their own (as root; see `veth.rs`); what the kernel's receiving
//! threads use is then a part of the cost. Settings are taken from the environment:
//!
//! | ROUNDS, MILLISECONDS | 3 rounds of 2000 ms each |
//! | ALLOCATIONS, CONNECTIONS | 10000 idle allocations over UDP, 9500 over TLS (two descriptors each) |
//! | COTURN | coturn's program, where it is not `turnserver` (Debian's package `coturn`) |
//! | COTURN_FLAGS, TURNWIRE_FLAGS | flags for every start of the server |

mod certificate;
mod cost;
mod figures;
mod load;
mod naive;
mod process;
mod server;
mod site;
mod stress;
mod veth;

use std::process::ExitCode;

use site::Site;

fn main() -> ExitCode {
    // Cargo passes flags of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [flag, listen, relay] = &words[..]
        && flag == "--naive"
    {
        let (listen, relay) = (listen.parse().expect("IP:PORT"), relay.parse().expect("an IP"));
        let Err(problem) = naive::serve(listen, relay);
        eprintln!("naive: {problem}");
        return ExitCode::FAILURE;
    }
    if let Some((flag, rest)) = words.split_first()
        && flag == "--inside"
    {
        return over_cards(&veth::inside(rest).expect("a network"));
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    println!("coturn is {}", server::coturn_version());
    let picked = words.first();
    if picked.is_some_and(|word| word == "cards") {
        if let Err(problem) = veth::run_inside() {
            eprintln!("cards: {problem}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    on_loopback(&Site::loopback(), |name| picked.is_none_or(|part| name.contains(part)));
    ExitCode::SUCCESS
}

fn on_loopback(site: &Site, wanted: impl Fn(&str) -> bool) {
    cost::headline("echo, or as it says");
    for scenario in cost::SCENARIOS.iter().filter(|one| wanted(one.name)) {
        cost::compare(site, scenario);
    }
    if wanted("idle memory") {
        cost::memory(site);
    }
    if wanted("idle TLS") {
        cost::tls_memory(site);
    }
    if wanted("handshakes") {
        stress::handshakes(site);
    }
    for (name, direction) in [("overload, to the peer", "up"), ("overload, to the clients", "down")]
    {
        if wanted(name) {
            stress::overload(site, name, direction);
        }
    }
    if wanted("half load") {
        stress::latency(site);
    }
    for (name, direction) in [("flood, of a peer", "down"), ("flood, of a client", "up")] {
        if wanted(name) {
            stress::fairness(site, name, direction);
        }
    }
}

fn over_cards(site: &Site) -> ExitCode {
    cost::headline("trains of 10, 50 x 1200 B");
    cost::CARDS.iter().for_each(|scenario| cost::compare(site, scenario));
    ExitCode::SUCCESS
}
