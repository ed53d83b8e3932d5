//! Hours of thousands of clients in seconds, from one seed. What is checked stands in
//! `core/simulation/`. Another seed: `SIMULATION_SEED=7 cargo test --test simulation`.

mod core;
#[path = "core/simulation/mod.rs"]
mod simulation;

use std::time::{Duration, Instant};

use crate::core::TestClient;
use crate::simulation::{Plan, World};
use turnwire::auth::OnExpiry;

fn seed() -> u64 {
    let given = std::env::var("SIMULATION_SEED").ok();
    given.map_or(1, |text| text.parse().expect("SIMULATION_SEED is a number"))
}

fn run(plan: Plan) -> World {
    println!("SIMULATION_SEED={} with {} clients", plan.seed, plan.clients);
    let begun = Instant::now();
    let mut world = World::new(plan);
    world.run();
    world.assert_over();
    println!("{:?} in {:?}", plan.duration, begun.elapsed());
    println!("{:#?}", world.tally);
    println!("ports taken by others: {}", world.taken_by_others());
    world
}

#[test]
fn two_thousand_clients_of_two_workers_for_two_hours() {
    let per_user = 14;
    let world = run(Plan {
        seed: seed(),
        clients: 2000,
        servers: 2,
        duration: Duration::from_secs(2 * 3600),
        ports: 1500,
        per_user,
        on_expiry: OnExpiry::Keep,
    });
    // It has gone through everything that it is about.
    let tally = &world.tally;
    for code in [0, 400, 401, 437, 438, 486, 508] {
        assert!(tally.codes.contains_key(&code), "no {code}");
    }
    for reason in ["deleted", "expired", "disconnected"] {
        assert!(tally.ended.contains_key(reason), "none {reason}");
    }
    assert!(!tally.ended.contains_key("credential_expired"));
    assert!(world.taken_by_others() > 0 && tally.clock_steps > 0);
    assert!(tally.to_peer > 0 && tally.to_client > 0 && tally.refused_data > 0);

    // The quotas are whole again.
    let mut server = world.into_server();
    for turn in 0..=per_user {
        let address = format!("66.2.{turn}.1:1");
        let mut client = TestClient::new(&address, "user1", "password1");
        let code = client.allocate(&mut server).code();
        assert_eq!(code, if turn < per_user { 0 } else { 486 });
    }
}

#[test]
fn credentials_that_end_their_allocations() {
    let world = run(Plan {
        seed: seed() ^ 0xE4D,
        clients: 200,
        servers: 1,
        duration: Duration::from_secs(2 * 3600),
        ports: 400,
        per_user: 0,
        on_expiry: OnExpiry::End,
    });
    assert!(world.tally.ended.contains_key("credential_expired"));
}
