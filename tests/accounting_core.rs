//! Records of what allocations relay: they come in time, none is left out, and they add up to what the session and the
//! counters say.

mod core;

use core::{LISTENER, Setup, TestClient, TestServer, channel_data, turn_settings};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use turnwire::auth::{Authority, Realms};
use turnwire::turn::{Progress, RelayId, SessionId, Settings, Traffic, Verdict};

const PEER: &str = "93.184.216.34:9";
const INTERVAL: Duration = Duration::from_secs(60);

fn settings(interval: Option<Duration>) -> Settings {
    Settings { usage_interval: interval, ..turn_settings(49152, 65535) }
}

fn begin(interval: Option<Duration>) -> (TestServer, TestClient) {
    let mut server = Setup { turn: settings(interval), ..Setup::default() }.server();
    let mut client = TestClient::new("192.0.2.1:1000", "alice", "wonder");
    assert_eq!(client.allocate(&mut server).code(), 0);
    assert_eq!(client.bind(&mut server, 0x4000, PEER.parse().unwrap()).code(), 0);
    (server, client)
}

fn to_peer(server: &mut TestServer, client: &TestClient, length: usize) {
    let packet = channel_data(0x4000, &vec![7; length]);
    assert!(matches!(server.receive(&client.client, &packet), Verdict::ToPeer(_)));
}

fn to_client(server: &mut TestServer, length: usize) {
    let relay = RelayId::from_index(*server.sockets.open.keys().next().unwrap());
    let peer = PEER.parse().unwrap();
    server.server.from_peer(server.now, relay, peer, length, &server.stats).unwrap();
}

#[test]
fn an_allocation_is_told_of_at_its_birth_in_each_interval_and_at_its_end() {
    let (mut server, mut client) = begin(Some(INTERVAL));
    let birth = server.records();
    let [began] = &birth[..] else { panic!("{birth:?}") };
    assert_eq!((&*began.username, &*began.realm), ("alice", core::REALM));
    assert_eq!((began.client.server, began.lifetime), (LISTENER, 600));
    assert_eq!((began.usage.sequence, began.traffic), (0, Traffic::default()));
    assert!(began.relayed[0].is_some());
    to_peer(&mut server, &client, 100);
    server.advance(INTERVAL - Duration::from_secs(1));
    assert!(server.records().is_empty());
    server.advance(Duration::from_secs(1));
    let told = server.records();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].id, told[0].usage.sequence), (began.id, 1));
    assert_eq!(told[0].usage.traffic.to_peer_bytes, 100);
    assert_eq!(told[0].usage.span, INTERVAL);
    // Nothing was relayed: it is told all the same, and the next one adds to it.
    server.advance(INTERVAL);
    assert_eq!(server.records()[0].usage.traffic, Traffic::default());
    to_peer(&mut server, &client, 11);
    assert_eq!(client.refresh(&mut server, 0).code(), 0);
    let ended = server.ended().remove(0);
    assert_eq!((ended.id, ended.usage.sequence), (began.id, 3));
    assert_eq!((ended.usage.traffic.to_peer_bytes, ended.traffic.to_peer_bytes), (11, 111));
    server.advance(2 * INTERVAL);
    assert!(server.records().is_empty());
}

#[test]
fn what_is_not_told_in_time_is_in_the_next_record() {
    let (mut server, client) = begin(Some(INTERVAL));
    server.records();
    to_peer(&mut server, &client, 5);
    // Nobody asks for three intervals: the queue is full, say.
    server.now.mono = server.now.mono + 3 * INTERVAL;
    to_peer(&mut server, &client, 6);
    server.advance(Duration::ZERO);
    let told = server.records();
    assert_eq!((told.len(), told[0].usage.sequence), (1, 1));
    assert_eq!((told[0].usage.traffic.to_peer_bytes, told[0].usage.span), (11, 3 * INTERVAL));
}

#[test]
fn another_interval_is_for_allocations_that_live_already() {
    let (mut server, client) = begin(None);
    server.records();
    server.advance(4 * INTERVAL);
    assert!(server.records().is_empty() && server.server.next_report().is_none());
    to_peer(&mut server, &client, 9);
    let authority =
        Arc::new(Realms::single(Authority::new(core::auth_settings(), [7; 16]).unwrap()));
    for (interval, records) in [(Some(INTERVAL), 1), (None, 0)] {
        let settings = Arc::new(settings(interval));
        let now = server.now;
        server.server.reconfigure(now, &settings, &authority, &mut server.sockets, &server.stats);
        server.advance(INTERVAL + Duration::from_secs(1));
        let told = server.records();
        assert_eq!(told.len(), records);
        assert!(told.iter().all(|told| told.usage.traffic.to_peer_bytes == 9));
    }
}

#[derive(Clone, Debug)]
enum Step {
    ToPeer(usize),
    ToClient(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_usize..1500).prop_map(Step::ToPeer),
        (0_usize..1500).prop_map(Step::ToClient),
        (0_u64..90).prop_map(Step::Wait),
    ]
}

proptest! {
    /// However traffic and time go: the parts add up to the whole, and the numbers have no gap.
    #[test]
    fn parts_add_up_to_the_whole(steps in prop::collection::vec(step(), 1..60)) {
        let (mut server, mut client) = begin(Some(INTERVAL));
        for step in steps {
            match step {
                Step::ToPeer(length) => to_peer(&mut server, &client, length),
                Step::ToClient(length) => to_client(&mut server, length),
                Step::Wait(seconds) => {
                    server.advance(Duration::from_secs(seconds));
                    // It lives on, and so does its channel.
                    client.refresh(&mut server, 600);
                    client.bind(&mut server, 0x4000, PEER.parse().unwrap());
                }
            }
        }
        client.refresh(&mut server, 0);
        let ended = server.ended().remove(0);
        let mut parts: HashMap<SessionId, Vec<Progress>> = HashMap::new();
        for record in server.records() {
            parts.entry(record.id).or_default().push(record);
        }
        let parts = parts.remove(&ended.id).unwrap();
        let mut sum = Traffic::default();
        for (place, part) in parts.iter().map(|part| part.usage).chain([ended.usage]).enumerate() {
            prop_assert_eq!(part.sequence as usize, place);
            sum.to_peer_packets += part.traffic.to_peer_packets;
            sum.to_peer_bytes += part.traffic.to_peer_bytes;
            sum.to_client_packets += part.traffic.to_client_packets;
            sum.to_client_bytes += part.traffic.to_client_bytes;
        }
        prop_assert_eq!(sum, ended.traffic);
        prop_assert_eq!(sum.to_peer_bytes, server.stats.to_peer_bytes.get());
        prop_assert_eq!(sum.to_client_packets, server.stats.to_client_packets.get());
    }
}
