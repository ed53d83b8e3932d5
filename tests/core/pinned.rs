//! Histories that random ones seldom reach, and that once did not agree.

use std::time::Duration;

use crate::history::{Step, TokenChoice, Who};
use crate::reference::{Ask, Request};
use crate::{CLIENTS, Check};

/// Places in the list of peers.
const IPV4: usize = 0;
const IPV6: usize = 6;

const PLAIN: Ask = Ask {
    transport: Ok(Some(17)),
    lifetime: None,
    even_port: None,
    token: None,
    family: None,
    additional: None,
};
const DUAL: Ask = Ask { additional: Some(2), ..PLAIN };
const PAIR: Ask = Ask { even_port: Some(true), ..PLAIN };

fn request(client: usize, request: Request) -> Step {
    Step::Request(client, Who::Owner, request, TokenChoice::None)
}

fn allocate(client: usize, ask: Ask) -> Step {
    request(client, Request::Allocate(ask))
}

fn refresh(client: usize, lifetime: Option<u32>, family: Option<u8>) -> Step {
    request(client, Request::Refresh { lifetime, family })
}

fn bind(client: usize, number: u16, peer: usize) -> Step {
    request(client, Request::ChannelBind { number: Some(number), peer: Some(peer) })
}

const fn wait(millis: u64) -> Step {
    Step::Wait(Duration::from_millis(millis))
}

fn run(steps: &[Step]) -> Check {
    let mut check = Check::new();
    steps.iter().for_each(|step| check.step(step));
    check
}

#[test]
fn a_deleted_family_takes_its_channels_with_it_and_no_others() {
    // RFC 8656 §8.1
    run(&[
        allocate(0, DUAL),
        bind(0, 0x4000, IPV4),
        bind(0, 0x4001, IPV6),
        refresh(0, Some(0), Some(1)),
        // Free again for the other family, while the other's own is still bound.
        bind(0, 0x4000, IPV6),
        bind(0, 0x4000, IPV6 + 1),
        bind(0, 0x4001, IPV6),
        Step::FromPeer(0, IPV6, 10),
        refresh(0, Some(0), Some(1)),
        refresh(0, Some(0), Some(2)),
    ]);
}

#[test]
fn an_expired_family_takes_its_channels_with_it_and_no_others() {
    run(&[
        allocate(0, DUAL),
        wait(300_000),
        refresh(0, None, Some(2)),
        bind(0, 0x4000, IPV4),
        bind(0, 0x4001, IPV6),
        wait(300_000),
        bind(0, 0x4000, IPV6 + 1),
        Step::ChannelData(0, 0x4000, 10, 0),
        Step::ChannelData(0, 0x4001, 10, 0),
        wait(299_999),
        wait(1),
    ]);
}

#[test]
fn of_two_families_the_one_that_is_left_is_granted() {
    // RFC 8656 §7.2, check 9: six ports, of which two pairs, and so two single ones.
    let mut check = run(&[
        allocate(0, PAIR),
        allocate(1, PAIR),
        allocate(2, PLAIN),
        allocate(3, PLAIN),
        // No IPv4 port is left: 508 for one who wants no other.
        allocate(5, PLAIN),
        allocate(4, DUAL),
        Step::Again(4),
        refresh(4, None, Some(1)),
        bind(4, 0x4000, IPV6),
        refresh(4, Some(0), None),
    ]);
    assert_eq!(check.model.allocations.len(), 4);
    check.step(&wait(4_000_000));
    check.server.assert_empty();
}

#[test]
fn icmp_about_an_address_that_is_over_is_told_to_nobody() {
    // In the second in which it waits to be deleted.
    run(&[
        wait(500),
        allocate(0, PLAIN),
        wait(599_900),
        bind(0, 0x4000, IPV4),
        Step::Icmp(0, IPV4, 3, 3),
        wait(100),
        Step::Icmp(0, IPV4, 3, 3),
        Step::FromPeer(0, IPV4, 1),
        Step::ChannelData(0, 0x4000, 1, 0),
        Step::Send(0, IPV4, 1, true),
        wait(500),
    ]);
}

#[test]
fn a_reservation_is_its_owners_for_half_a_minute() {
    // RFC 8656 §7.2: the token is given to another 5-tuple of the same user.
    let redeem = |client, token| {
        Step::Request(client, Who::Owner, Request::Allocate(PLAIN), TokenChoice::Given(token))
    };
    let mut check = run(&[
        allocate(0, PAIR),
        refresh(0, Some(0), None),
        // Bob's client, then Alice's; then it is used up.
        redeem(1, 0),
        redeem(2, 0),
        redeem(4, 0),
        allocate(0, PAIR),
        wait(29_999),
        Step::Again(0),
        wait(1),
        redeem(4, 0),
    ]);
    assert_eq!(check.model.allocations.len(), 2);
    check.step(&wait(4_000_000));
    check.server.assert_empty();
}

#[test]
fn every_client_has_its_own_allocation_and_no_more_than_that() {
    let mut steps: Vec<_> = (0..CLIENTS.len()).map(|client| allocate(client, PLAIN)).collect();
    steps.extend((0..CLIENTS.len()).map(|client| allocate(client, PLAIN)));
    steps.extend((0..CLIENTS.len()).map(Step::Disconnect));
    run(&steps);
}
