//! Users whom only a store may know: their requests wait for the answer, bounded, and only of those who have proved
//! their addresses.

mod core;
#[path = "stores_core/names.rs"]
mod names;
#[path = "stores_core/strangers.rs"]
mod strangers;

use std::sync::Arc;
use std::time::Duration;

use core::{
    REALM, Response, Setup, Style, TestClient, TestServer, auth_settings, send_indication,
    turn_settings,
};
use turnwire::auth::{
    self, Answer, Authority, Directory, Keys, OnRevocation, Realms, Retention, Secret, UserName,
};
use turnwire::stun::{Method, Writer, attribute};
use turnwire::turn::{Cause, Client, Dropped, EndReason, Settings, Transport, Verdict};

const STALE_NONCE: u16 = 438;
const SERVER_ERROR: u16 = 500;

/// A server whose only local user is bob, with what the stores have said.
struct House {
    server: TestServer,
    directory: Arc<Directory>,
    turn: Settings,
    auth: auth::Settings,
}

impl House {
    fn new(retention: Retention) -> Self {
        Self::with(retention, OnRevocation::Keep)
    }

    fn with(retention: Retention, on_revocation: OnRevocation) -> Self {
        let directory = Arc::new(Directory::new(retention));
        let realm: Arc<str> = REALM.into();
        directory.learn_secrets(&realm, vec![(1, Some(Vec::new()))]);
        let mut auth = auth::Settings {
            on_revocation,
            directory: Some(Arc::clone(&directory)),
            ..auth_settings()
        };
        auth.users.retain(|user| user.name == "bob");
        let turn = turn_settings(49152, 65535);
        let setup = Setup { turn: turn.clone(), auth: auth.clone(), ..Setup::default() };
        Self { server: setup.server(), directory, turn, auth }
    }

    /// The stores answer about a user.
    fn answer(&mut self, user: &Arc<UserName>, answer: Answer) -> bool {
        let lost = self.directory.learn(self.server.now.mono, user, answer);
        self.server.server.provide_key(user);
        lost
    }

    /// Takes up what has waited; each request is answered once.
    fn responses(&mut self) -> Vec<(Client, Response)> {
        let all = self.server.resume();
        all.into_iter().map(|(resumed, response)| (resumed.client, response.unwrap())).collect()
    }

    fn waiting(&self) -> usize {
        self.server.server.parked()
    }

    fn refused(&self, cause: Cause) -> u64 {
        self.server.stats.refused[cause.index()].get()
    }

    fn dropped(&self) -> u64 {
        self.server.stats.dropped[Dropped::StoreWait as usize].get()
    }

    /// Stops knowing what a change of the settings leaves out.
    fn reload(&mut self) {
        let authority =
            Arc::new(Realms::single(Authority::new(self.auth.clone(), [7; 16]).unwrap()));
        let (sockets, stats) = (&mut self.server.sockets, &self.server.stats);
        let turn = Arc::new(self.turn.clone());
        self.server.server.reconfigure(self.server.now, &turn, &authority, sockets, stats);
    }

    fn look_again(&mut self, user: &UserName) {
        let (now, sockets) = (self.server.now, &mut self.server.sockets);
        self.server.server.look_again(now, Some(user), sockets, &self.server.stats);
    }
}

fn with_password(user: &UserName, password: &str) -> Answer {
    let keys = Keys::stored_password(&user.realm, &user.name, password).unwrap();
    Answer::User(Arc::new(keys), None)
}

/// coturn's `hmackey`.
fn with_md5(user: &UserName, password: &str) -> Answer {
    use md5::Digest as _;
    let text = format!("{}:{}:{password}", user.name, user.realm);
    let key: [u8; 16] = md5::Md5::digest(text).into();
    Answer::User(Arc::new(Keys::stored(&user.realm, &user.name, Some(&key), None)), None)
}

fn transport(writer: &mut Writer<'_>) {
    writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
}

/// A client that has been challenged, so that it can prove its address.
fn challenged(house: &mut House, address: &str, name: &str, password: &str) -> TestClient {
    over(house, Transport::Udp, address, name, password)
}

fn over(
    house: &mut House,
    transport_of: Transport,
    address: &str,
    name: &str,
    password: &str,
) -> TestClient {
    let mut client = TestClient::over(transport_of, address, name, password);
    let packet = client.build(Method::ALLOCATE, transport);
    let response = house.server.ask(&client.client, &packet);
    assert_eq!(response.code(), 401);
    client.learn(&response);
    client
}

/// Sends an Allocate that has to wait; its bytes.
fn park(house: &mut House, client: &mut TestClient) -> Vec<u8> {
    let packet = client.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.receive(&client.client, &packet), Verdict::Park);
    packet
}

fn only(users: Vec<Arc<UserName>>) -> Arc<UserName> {
    let [user] = <[_; 1]>::try_from(users).unwrap();
    user
}

#[test]
fn a_request_waits_for_the_answer_and_is_then_answered_as_if_it_had_come_just_now() {
    for style in [Style::MD5, Style::SHA256] {
        let mut house = House::new(Retention::default());
        let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder").with(style);
        park(&mut house, &mut alice);
        let user = only(house.server.lookups());
        assert_eq!((&*user.realm, &*user.name), (REALM, "alice"));
        assert!(house.responses().is_empty(), "nobody has answered yet");
        house.answer(&user, with_password(&user, "wonder"));
        let (client, response) = house.responses().remove(0);
        assert_eq!(client, alice.client);
        assert!(response.success() && response.signed(&alice.key()).is_some());
        assert_eq!((house.waiting(), house.server.server.allocations()), (0, 1));
        // From now on the user is known, and the allocation's key is its own.
        let peer = "1.1.1.1:9".parse().unwrap();
        assert!(alice.permit(&mut house.server, &[peer]).success());
        let sent = send_indication(peer, b"data");
        assert!(matches!(house.server.receive(&alice.client, &sent), Verdict::ToPeer(_)));
        let mut second = challenged(&mut house, "192.0.2.1:4001", "alice", "wonder").with(style);
        assert!(second.allocate(&mut house.server).success());
        assert!(house.server.lookups().is_empty());
        let stats = &house.server.stats;
        assert_eq!((stats.parked.get(), stats.unparked.get()), (1, 1));
    }
}

#[test]
fn configured_users_never_wait() {
    let mut house = House::new(Retention::default());
    let mut bob = TestClient::new("192.0.2.1:4000", "bob", "builder");
    assert!(bob.allocate(&mut house.server).success());
    let mut liar = TestClient::new("192.0.2.1:4001", "bob", "wrong");
    assert_eq!(liar.allocate(&mut house.server).code(), 401);
    assert!(house.server.lookups().is_empty());
}

#[test]
fn many_requests_of_one_user_are_one_question() {
    let mut house = House::new(Retention::default());
    let mut clients: Vec<_> = (0..10)
        .map(|n| challenged(&mut house, &format!("192.0.2.1:{}", 4000 + n), "alice", "wonder"))
        .collect();
    let packets: Vec<_> = clients.iter_mut().map(|client| park(&mut house, client)).collect();
    let user = only(house.server.lookups());
    // What is said again while it waits waits no second time.
    for (client, packet) in clients.iter().zip(&packets) {
        assert_eq!(house.server.receive(&client.client, packet), Verdict::Park);
    }
    assert_eq!(house.waiting(), 10);
    let mut other = challenged(&mut house, "192.0.2.1:5000", "carol", "w");
    park(&mut house, &mut other);
    let carol = only(house.server.lookups());
    house.answer(&user, with_password(&user, "wonder"));
    let responses = house.responses();
    assert_eq!(responses.len(), 10);
    assert!(responses.iter().all(|(_, response)| response.success()));
    assert_eq!(house.waiting(), 1, "carol's answer has not come");
    house.answer(&carol, Answer::NoUser);
    assert_eq!(house.responses()[0].1.code(), 401);
    // A late repetition finds the allocation.
    assert!(house.server.ask(&clients[0].client, &packets[0]).success());
}

/// The letter with the answer may be lost where a worker is busy enough.
#[test]
fn a_question_without_an_answer_is_asked_again_by_who_comes_later() {
    let mut house = House::new(Retention::default());
    let come = |house: &mut House, port: u16| {
        let mut client = challenged(house, &format!("192.0.2.1:{port}"), "alice", "wonder");
        park(house, &mut client);
        house.server.lookups().len()
    };
    assert_eq!(come(&mut house, 4000), 1);
    assert_eq!(come(&mut house, 4001), 0);
    house.server.advance(Duration::from_secs(12));
    assert_eq!(come(&mut house, 4002), 1, "no store takes that long");
    assert_eq!(come(&mut house, 4003), 0);
    house.server.advance(Duration::from_secs(12));
    assert_eq!(come(&mut house, 4004), 1);
    let user = UserName { realm: REALM.into(), name: "alice".into() };
    house.answer(&Arc::new(user.clone()), with_password(&user, "wonder"));
    assert!(house.responses().len() >= 3);
    assert_eq!(house.waiting(), 0);
}

#[test]
fn a_store_that_cannot_say_is_no_reason_to_call_somebody_unknown() {
    let retention = Retention { keep: Duration::from_secs(60), ..Retention::default() };
    let mut house = House::new(retention);
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    house.answer(&user, Answer::Unavailable);
    let response = house.responses().remove(0).1;
    assert_eq!(response.code(), SERVER_ERROR);
    assert_eq!(house.refused(Cause::Auth(auth::DenialKind::StoreDown)), 1);
    assert!(response.reason().contains("alice"), "{}", response.reason());
    // Its repetitions ask again, one each half a second.
    let packet = alice.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.ask(&alice.client, &packet).code(), SERVER_ERROR);
    house.server.advance(Duration::from_millis(500));
    assert_eq!(house.server.receive(&alice.client, &packet), Verdict::Park);
    let user = only(house.server.lookups());
    house.answer(&user, with_password(&user, "wonder"));
    assert!(house.responses().remove(0).1.success());
    // Whoever is known goes on while it is away.
    house.server.advance(Duration::from_secs(61));
    let mut second = challenged(&mut house, "192.0.2.1:4001", "alice", "wonder");
    park(&mut house, &mut second);
    let user = only(house.server.lookups());
    house.answer(&user, Answer::Unavailable);
    assert!(house.responses().remove(0).1.success());
    let mut third = challenged(&mut house, "192.0.2.1:4002", "alice", "wonder");
    assert!(third.allocate(&mut house.server).success());
    house.server.advance(Duration::from_secs(3600));
    let mut late = challenged(&mut house, "192.0.2.1:4003", "alice", "wonder");
    park(&mut house, &mut late);
    let user = only(house.server.lookups());
    house.answer(&user, Answer::Unavailable);
    assert_eq!(house.responses().remove(0).1.code(), SERVER_ERROR);
}

#[test]
fn nobody_who_takes_the_question_is_an_answer_as_well() {
    let mut house = House::new(Retention::default());
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    house.server.server.provide_key(&user);
    assert_eq!(house.responses().remove(0).1.code(), SERVER_ERROR);
    assert_eq!(house.waiting(), 0);
}

#[test]
fn a_password_that_does_not_fit_is_asked_for_again_for_it_may_be_new() {
    let mut house = House::new(Retention::default());
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "old");
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    house.answer(&user, with_password(&user, "old"));
    house.responses();
    let mut second = challenged(&mut house, "192.0.2.1:4001", "alice", "new");
    let packet = second.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.ask(&second.client, &packet).code(), 401, "it was heard just now");
    house.server.advance(Duration::from_secs(10));
    let packet = second.build(Method::ALLOCATE, transport);
    assert_eq!(house.server.receive(&second.client, &packet), Verdict::Park);
    let user = only(house.server.lookups());
    house.answer(&user, with_password(&user, "new"));
    assert!(house.responses().remove(0).1.success());
    // One who guesses has a store asked each ten seconds, and is told no by what is known if it is away.
    let mut liar = challenged(&mut house, "192.0.2.1:4002", "alice", "guess");
    house.server.advance(Duration::from_secs(10));
    park(&mut house, &mut liar);
    let user = only(house.server.lookups());
    house.answer(&user, Answer::Unavailable);
    assert_eq!(house.responses().remove(0).1.code(), 401);
}

#[test]
fn a_connection_that_is_gone_takes_its_request_along() {
    for transport_of in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let mut house = House::new(Retention::default());
        let mut alice = over(&mut house, transport_of, "192.0.2.1:4000", "alice", "wonder");
        park(&mut house, &mut alice);
        let user = only(house.server.lookups());
        let (now, sockets) = (house.server.now, &mut house.server.sockets);
        let server = &mut house.server.server;
        server.disconnected(now, &alice.client, sockets, &house.server.stats);
        assert_eq!(house.waiting(), 0);
        // Another connection gets the 5-tuple, and has asked nothing.
        house.answer(&user, with_password(&user, "wonder"));
        assert!(house.responses().is_empty());
        let mut next = over(&mut house, transport_of, "192.0.2.1:4000", "alice", "wonder");
        assert!(next.allocate(&mut house.server).success());
        let stats = &house.server.stats;
        assert_eq!(stats.parked.get(), stats.unparked.get());
    }
}

#[test]
fn a_5_tuple_that_is_anothers_meanwhile_is_not_taken_from_it() {
    let mut house = House::new(Retention::default());
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    let mut bob = TestClient::new("192.0.2.1:4000", "bob", "builder");
    assert!(bob.allocate(&mut house.server).success());
    house.answer(&user, with_password(&user, "wonder"));
    assert_eq!(house.responses().remove(0).1.code(), 437);
    assert!(bob.refresh(&mut house.server, 600).success());
}

#[test]
fn an_answer_that_comes_after_a_change_of_the_settings_is_judged_by_them() {
    let mut house = House::new(Retention::default());
    let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    park(&mut house, &mut alice);
    let mut carol = challenged(&mut house, "192.0.2.1:4001", "carol", "c");
    park(&mut house, &mut carol);
    let [first, second] = <[_; 2]>::try_from(house.server.lookups()).unwrap();
    // Without stores nobody is there; alice has come into the settings.
    house.auth.directory = None;
    let alice_now = auth::User { name: "alice".to_owned(), password: Secret::new("wonder") };
    house.auth.users.push(alice_now);
    house.reload();
    house.answer(&first, Answer::Unavailable);
    house.answer(&second, Answer::Unavailable);
    let codes: Vec<_> = house.responses().iter().map(|(_, response)| response.code()).collect();
    assert_eq!(codes, [0, 401]);
}

#[test]
fn a_user_whom_the_store_has_deleted_loses_what_the_operator_says() {
    for (policy, lives, refreshes) in [
        (OnRevocation::Keep, true, true),
        (OnRevocation::Refuse, true, false),
        (OnRevocation::End, false, false),
    ] {
        let mut house = House::with(Retention::default(), policy);
        let mut alice = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
        park(&mut house, &mut alice);
        let user = only(house.server.lookups());
        house.answer(&user, with_password(&user, "wonder"));
        assert!(house.responses().remove(0).1.success());
        let mut bob = TestClient::new("192.0.2.1:4001", "bob", "builder");
        assert!(bob.allocate(&mut house.server).success());
        assert!(house.answer(&user, Answer::NoUser), "a credential is none any more");
        house.look_again(&user);
        assert_eq!(house.server.server.allocations(), 1 + usize::from(lives));
        if lives {
            assert_eq!(alice.refresh(&mut house.server, 600).success(), refreshes);
            // It stays so when the answer is forgotten and the settings change.
            let later = house.server.now.mono + Duration::from_secs(300);
            house.directory.pass(later, 100);
            house.reload();
            house.answer(&user, Answer::NoUser);
            assert_eq!(alice.refresh(&mut house.server, 600).success(), refreshes);
        } else {
            assert_eq!(house.server.ended()[0].reason, EndReason::CredentialRevoked);
        }
        assert!(bob.refresh(&mut house.server, 600).success());
    }
}

#[test]
fn a_user_with_an_md5_key_only_comes_in_with_md5_whatever_is_chosen_first() {
    let mut house = House::new(Retention::default());
    let client = challenged(&mut house, "192.0.2.1:4000", "alice", "wonder");
    let mut alice = client.with(Style::SHA256);
    park(&mut house, &mut alice);
    let user = only(house.server.lookups());
    house.answer(&user, with_md5(&user, "wonder"));
    let response = house.responses().remove(0).1;
    assert_eq!(response.code(), STALE_NONCE, "which every client asks again after");
    assert!(!response.has(attribute::PASSWORD_ALGORITHMS));
    assert_eq!(house.refused(Cause::Auth(auth::DenialKind::OnlyMd5)), 1);
    alice.learn(&response);
    let mut alice = alice.with(Style::MD5);
    assert!(alice.allocate(&mut house.server).success());
    assert!(alice.refresh(&mut house.server, 600).success());
    // A nonce that offers less serves nobody else: RFC 8489 §9.2.1, bidding down.
    let mut bob = TestClient::new("192.0.2.1:4000", "bob", "builder");
    bob.learn(&response);
    let packet = bob.build(Method::ALLOCATE, transport);
    let refused = house.server.ask(&bob.client, &packet);
    assert_eq!(refused.code(), STALE_NONCE);
    assert!(refused.has(attribute::PASSWORD_ALGORITHMS));
}

#[test]
fn what_another_worker_has_sent_on_waits_here_and_is_answered_by_way_of_it() {
    let mut house = House::new(Retention::default());
    house.turn.mobility = true;
    house.reload();
    let mut bob = TestClient::new("192.0.2.1:4000", "bob", "builder");
    let made = bob.request(&mut house.server, Method::ALLOCATE, |writer| {
        transport(writer);
        writer.attribute(attribute::MOBILITY_TICKET, b"");
    });
    let ticket = made.get(attribute::MOBILITY_TICKET).unwrap().to_vec();
    // Whoever has the ticket has the request come to the worker that holds the allocation.
    let mut alice = challenged(&mut house, "192.0.2.2:4000", "alice", "wonder");
    let packet = alice.build(Method::REFRESH, |writer| {
        writer.attribute(attribute::MOBILITY_TICKET, &ticket);
    });
    assert_eq!(house.server.receive_from(Some(3), &alice.client, &packet), Verdict::Park);
    let user = only(house.server.lookups());
    house.answer(&user, with_password(&user, "wonder"));
    let (resumed, response) = house.server.resume().remove(0);
    assert_eq!((resumed.origin, resumed.client), (Some(3), alice.client));
    assert_eq!(response.unwrap().code(), 441, "it is bob's");
    assert!(bob.refresh(&mut house.server, 600).success());
}
