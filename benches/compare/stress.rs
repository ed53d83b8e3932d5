//! What becomes of the packets, and how long they take, when a server has more to carry than it can, half of that, or
//! one client that floods.

use serde_json::Value;

use crate::figures::{Sorted, duration, rounds};
use crate::load;
use crate::server::{Kind, Running};
use crate::site::Site;

/// Sent in one piece, so that the load can offer several times what a server carries.
const TRAINS: &str = "--clients 50 --size 160 --train 16 --offload";
/// How far above its best rate a server is loaded.
const OVERLOAD: f64 = 3.0;
/// What is sent without a pause.
const ECHO: &str = "--clients 50";
/// What the clients send that do not flood: 400 packets a second each.
const NEIGHBOURS: &str = "--clients 50 --rate 20000";
/// As much as the load has time for.
const FLOOD: &str = "--offload --flood 10000000";

fn figure(report: &Value, key: &str) -> Option<f64> {
    report["load"].pointer(key)?.as_f64()
}

fn run(server: &Running, words: &str) -> Option<Value> {
    load::run(server, &format!("{words} {}", duration()))
}

/// Packets delivered in a second.
fn delivered(server: &Running, words: &str) -> Option<f64> {
    figure(&run(server, words)?, "/delivered_per_second")
}

/// What is delivered at three times the best rate, as a share of the best rate.
pub(crate) fn overload(site: &Site, name: &str, direction: &str) {
    const KINDS: [Kind; 4] = [Kind::Naive, Kind::Turnwire, Kind::OneByOne, Kind::Coturn];
    struct Row {
        best: f64,
        offered: f64,
        share: f64,
    }
    let rows = rounds(&KINDS, |kind| {
        let server = Running::start(site, kind, "")?;
        let words = |rate: &str| format!("{TRAINS} --direction {direction} --rate {rate}");
        let returned = delivered(&server, &words("max --window 512"))?;
        let full = delivered(&server, &words(&format!("{:.0}", 1.1 * returned)))?;
        let best = returned.max(full);
        let over = run(&server, &words(&format!("{:.0}", OVERLOAD * best)))?;
        let [sent, came] = ["/sent_per_second", "/delivered_per_second"].map(|k| figure(&over, k));
        let best = best.max(came?);
        Some(Row { best, offered: sent? / best, share: came? / best })
    });
    println!(
        "\n{name:26} {:>9} {:>12} {:>12} {:>10} {:>13}",
        "server", "best rate", "offered", "delivered", "spread"
    );
    for (kind, row) in KINDS.iter().zip(&rows) {
        let of =
            |figure: fn(&Row) -> f64| Sorted::of(row.iter().map(|row| row.as_ref().map(figure)));
        let share = of(|row| row.share);
        println!(
            "{:26} {:>9} {:>12.0} {:>12} {:>10} {:>13}",
            "",
            kind.name(),
            of(|row| row.best).median(),
            format!("{:.2} x best", of(|row| row.offered).median()),
            format!("{:.1} %", 100.0 * share.median()),
            share.spread(),
        );
    }
}

/// Round trips at half of what coturn carries, the same for all, and at half of what each carries itself.
pub(crate) fn latency(site: &Site) {
    println!(
        "\n{:26} {:>9} {:>12} {:>10} {:>10} {:>12} {:>7}",
        "half load, echo", "server", "echoes/s", "p50 us", "p99 us", "CPU us each", "lost"
    );
    let best = rounds(&Kind::ALL, |kind| {
        delivered(&Running::start(site, kind, "")?, &format!("{ECHO} --rate max"))
    });
    let [naive, turnwire, coturn] = best.map(|row| Sorted::of(row.into_iter()).median() / 2.0);
    for (name, rates) in [
        ("half of coturn's best", [coturn; 3]),
        ("half of its own best", [naive, turnwire, coturn]),
    ] {
        let rows = rounds(&Kind::ALL, |kind| {
            let rate = rates[Kind::ALL.iter().position(|one| *one == kind)?];
            run(&Running::start(site, kind, "")?, &format!("{ECHO} --rate {rate:.0}"))
        });
        for (kind, row) in Kind::ALL.iter().zip(&rows) {
            let of = |key: &str| {
                Sorted::of(row.iter().map(|report| figure(report.as_ref()?, key))).median()
            };
            println!(
                "{name:26} {:>9} {:>12.0} {:>10.1} {:>10.1} {:>12.3} {:>7.0}",
                kind.name(),
                of("/delivered_per_second"),
                of("/latency_us/p50"),
                of("/latency_us/p99"),
                of("/server_cpu_seconds_per_million"),
                of("/lost"),
            );
        }
    }
}

/// What the neighbours of one client that floods lose.
pub(crate) fn fairness(site: &Site, name: &str, direction: &str) {
    let delivered =
        |report: &Value| Some(100.0 * figure(report, "/delivered")? / figure(report, "/sent")?);
    let rows = rounds(&Kind::ALL, |kind| {
        let server = Running::start(site, kind, "")?;
        let alone = run(&server, &format!("{NEIGHBOURS} --direction {direction}"))?;
        let beside = run(&server, &format!("{NEIGHBOURS} --direction {direction} {FLOOD}"))?;
        Some((delivered(&alone)?, delivered(&beside)?, beside))
    });
    println!(
        "\n{name:26} {:>9} {:>12} {:>12} {:>10} {:>10} {:>21}",
        "server", "alone", "beside it", "p50 us", "p99 us", "of the flood, per s"
    );
    for (kind, row) in Kind::ALL.iter().zip(&rows) {
        let of = |key: &str| {
            let values = row.iter().map(|row| figure(&row.as_ref()?.2, key));
            Sorted::of(values).median()
        };
        let [alone, beside] = [0, 1].map(|place| {
            let shares = row.iter().map(|row| row.as_ref().map(|row| [row.0, row.1][place]));
            format!("{:.2} %", Sorted::of(shares).median())
        });
        println!(
            "{:26} {:>9} {alone:>12} {beside:>12} {:>10.1} {:>10.1} {:>9.0} of {:>8.0}",
            "",
            kind.name(),
            of("/latency_us/p50"),
            of("/latency_us/p99"),
            of("/flood/delivered_per_second"),
            of("/flood/sent_per_second"),
        );
    }
}

/// What 500 TLS handshakes a second cost the packets of others, on one worker.
pub(crate) fn handshakes(site: &Site) {
    const KINDS: [Kind; 2] = [Kind::Turnwire, Kind::Coturn];
    let rows = rounds(&KINDS, |kind| {
        let server = Running::start(site, kind, "-m 1 --tls")?;
        let alone = run(&server, NEIGHBOURS)?;
        Some((alone, run(&server, &format!("{NEIGHBOURS} --handshakes 500"))?))
    });
    println!(
        "\n{:26} {:>9} {:>10} {:>10} {:>12} {:>8} {:>7}",
        "20,000 echoes/s of UDP", "server", "p50 us", "p99 us", "handshakes/s", "failed", "lost"
    );
    for (kind, row) in KINDS.iter().zip(&rows) {
        for (name, beside) in [("alone", false), ("beside 500 handshakes/s", true)] {
            let of = |key: &str| {
                let report =
                    |row: &(Value, Value)| figure(if beside { &row.1 } else { &row.0 }, key);
                Sorted::of(row.iter().map(|row| report(row.as_ref()?))).median()
            };
            println!(
                "{name:26} {:>9} {:>10.1} {:>10.1} {:>12.0} {:>8.0} {:>7.0}",
                kind.name(),
                of("/latency_us/p50"),
                of("/latency_us/p99"),
                of("/handshakes/per_second"),
                of("/handshakes/failed"),
                of("/lost"),
            );
        }
    }
}
