use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn relay(local: u8, advertised: u8) -> RelayAddress {
    let [local, advertised] = [local, advertised].map(|last| IpAddr::from([10, 0, 0, last]));
    RelayAddress { local, advertised }
}

fn settings(relays: &[RelayAddress], first: u16, last: u16) -> Settings {
    let ports = PortRange { first, last };
    Settings { relays: relays.to_vec(), ports, ..Settings::default() }
}

fn pools(relays: &[RelayAddress], first: u16, last: u16) -> Pools {
    let mut pools = Pools::default();
    pools.reconfigure(&settings(relays, first, last));
    pools
}

fn take(pools: &mut Pools) -> Option<(RelayAddress, u16)> {
    pools.take(Family::V4, Wanted::Any, 0)
}

#[test]
fn ports_that_are_taken_stay_so_whatever_becomes_of_the_range() {
    let mut pools = pools(&[relay(1, 1)], 50_000, 50_003);
    let given: Vec<_> = (0..4).map_while(|_| take(&mut pools)).map(|(_, port)| port).collect();
    assert_eq!(given, [50_000, 50_001, 50_002, 50_003]);
    pools.reconfigure(&settings(&[relay(1, 1)], 50_002, 50_005));
    assert_eq!(pools.free(), [(relay(1, 1).local, 2, 4)]);
    assert_eq!(take(&mut pools), Some((relay(1, 1), 50_004)));
    pools.reconfigure(&settings(&[relay(1, 1)], 49_999, 50_005));
    assert_eq!(take(&mut pools), Some((relay(1, 1), 49_999)));
    pools.release(relay(1, 1).local, 50_001);
    assert_eq!(take(&mut pools), Some((relay(1, 1), 50_001)));
}

#[test]
fn an_address_that_goes_is_known_until_its_last_port_is_released() {
    let mut pools = pools(&[relay(1, 101)], 50_000, 50_001);
    let (_, port) = take(&mut pools).unwrap();
    pools.reconfigure(&settings(&[relay(2, 102)], 50_000, 50_001));
    let ports = PortRange { first: 50_000, last: 50_001 };
    assert_eq!(pools.former(), [FormerRelay { relay: relay(1, 101), ports, held: 1 }]);
    assert_eq!(take(&mut pools).map(|(relay, _)| relay), Some(relay(2, 102)));
    // It comes back under another name: what was taken is taken still.
    pools.reconfigure(&settings(&[relay(1, 201)], 50_000, 50_001));
    assert_eq!(take(&mut pools), Some((relay(1, 201), 50_001)));
    assert_eq!(take(&mut pools), None);
    pools.release(relay(1, 101).local, port);
    let left: Vec<_> = pools.former().iter().map(|former| former.relay).collect();
    assert_eq!(left, [relay(2, 102)]);
    assert_eq!(take(&mut pools), Some((relay(1, 201), port)));
}

#[test]
fn what_is_as_it_was_again_is_not_former() {
    let mut pools = pools(&[relay(1, 101)], 50_000, 50_009);
    take(&mut pools);
    pools.reconfigure(&settings(&[relay(1, 102)], 50_000, 50_009));
    assert_eq!(pools.former().len(), 1);
    pools.reconfigure(&settings(&[relay(1, 101)], 40_000, 60_000));
    assert_eq!(pools.former(), []);
    // An address that nobody has anything on leaves nothing.
    pools.reconfigure(&settings(&[relay(2, 2)], 40_000, 60_000));
    pools.release(relay(1, 101).local, 50_000);
    assert_eq!((pools.former(), pools.all.len()), (vec![], 1));
}

#[test]
fn an_address_outside_that_changes_all_the_time_is_remembered_a_few_times() {
    let mut pools = pools(&[relay(1, 0)], 50_000, 50_999);
    for name in 1..100 {
        take(&mut pools).unwrap();
        pools.reconfigure(&settings(&[relay(1, name)], 50_000, 50_999));
    }
    let former = pools.former();
    assert_eq!((former.len(), former[0].relay), (FORMER, relay(1, 83)));
}

#[derive(Clone, Debug)]
enum Step {
    Take(Wanted, u64),
    Release(usize),
    Change { relays: Vec<(u8, u8)>, first: u16, length: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let wanted = prop_oneof![Just(Wanted::Any), Just(Wanted::Even), Just(Wanted::EvenAndNext)];
    prop_oneof![
        4 => (wanted, any::<u64>()).prop_map(|(wanted, random)| Step::Take(wanted, random)),
        2 => any::<usize>().prop_map(Step::Release),
        1 => (prop::collection::btree_map(1_u8..4, 1_u8..4, 0..3), 1000_u16..1100, 1_u16..150).prop_map(
            |(relays, first, length)| {
                let relays: BTreeMap<u8, u8> = relays;
                Step::Change { relays: relays.into_iter().collect(), first, length }
            }
        ),
    ]
}

proptest! {
    /// Whatever changes: no port is given twice, each lies where it should, and what is held is known.
    #[test]
    fn no_port_is_given_twice_over_any_changes(steps in prop::collection::vec(step(), 1..200)) {
        let mut now = settings(&[relay(1, 1)], 1000, 1099);
        let mut pools = Pools::default();
        pools.reconfigure(&now);
        let mut held: Vec<(RelayAddress, u16)> = Vec::new();
        let mut forgets = false;
        for step in steps {
            match step {
                Step::Take(wanted, random) => {
                    let Some((relay, port)) = pools.take(Family::V4, wanted, random) else { continue };
                    let pair = [port, port + 1];
                    for port in &pair[..if wanted == Wanted::EvenAndNext { 2 } else { 1 }] {
                        prop_assert!(now.relays.contains(&relay) && now.ports.contains(*port));
                        let taken = held.iter().any(|(other, it)| other.local == relay.local && it == port);
                        prop_assert!(!taken, "{relay:?} {port}");
                        held.push((relay, *port));
                    }
                    prop_assert!(wanted == Wanted::Any || port % 2 == 0);
                }
                Step::Release(which) if !held.is_empty() => {
                    let (relay, port) = held.swap_remove(which % held.len());
                    pools.release(relay.local, port);
                }
                Step::Release(_) => {}
                Step::Change { relays, first, length } => {
                    let relays: Vec<_> = relays.iter().map(|(a, b)| relay(*a, *b)).collect();
                    now = settings(&relays, first, first + length - 1);
                    pools.reconfigure(&now);
                }
            }
            let free: usize = pools.free().iter().map(|(_, free, _)| free).sum();
            let inside = |(relay, port): &&(RelayAddress, u16)| {
                let known = now.relays.iter().any(|it| it.local == relay.local);
                known && now.ports.contains(*port)
            };
            let taken = held.iter().filter(inside).count();
            prop_assert_eq!(free + taken, now.relays.len() * now.ports.len());
            let known: Vec<_> = now.relays.iter().map(|relay| (*relay, now.ports))
                .chain(pools.former().iter().map(|it| (it.relay, it.ports))).collect();
            forgets |= pools.former().len() == FORMER;
            if !forgets {
                for (relay, port) in &held {
                    let knows = |(it, ports): &(RelayAddress, PortRange)| it == relay && ports.contains(*port);
                    prop_assert!(known.iter().any(knows), "{relay:?} {port}");
                }
            }
        }
    }
}
