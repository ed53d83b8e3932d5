//! Calls of users who live in a database: they come in, and whatever becomes of the database, those who are on the
//! phone hear nothing of it.

use std::time::{Duration, Instant};

use turnwire::auth::RestDigest;
use turnwire::store::Kind;
use turnwire::stun::{Method, Writer, attribute};

use super::Place;
use super::common::{Answer, Client, Credential, Peer, Server, Setup, eventually, new_id};

const CHANNEL: u16 = 0x4001;

/// What a relayed packet may take on a busy machine, less than a question of a store may.
const SOON: Duration = Duration::from_secs(3);

/// A server in front of coturn's database, in which erin's password is `wonder` and frank's `builder`.
fn server(kind: Kind, place: &Place) -> Server {
    for (name, password) in [("erin", "wonder"), ("frank", "builder")] {
        place.turnadmin(&["-a", "-u", name, "-r", "example.org", "-p", password]);
    }
    let settings = place.settings(kind);
    let at = match (&settings.path, &settings.url) {
        (Some(path), _) => format!("path = {path:?}"),
        (_, Some(url)) => format!("url = {:?}", url.expose()),
        _ => panic!("it is nowhere"),
    };
    let word = Kind::ALL.iter().find(|(_, other)| *other == kind).unwrap().0;
    let stores = format!(
        "[stores]\nkeep = \"1s\"\nkeep_unknown = \"1s\"\nrefresh_secrets = \"1s\"\n[stores.ask]\n\
         coturn = {{ kind = \"{word}\", {at}, timeout_milliseconds = 5000 }}"
    );
    Setup::with_local_peers().config(&stores).start()
}

fn erin(server: &Server) -> Client {
    Client::udp(server).with(Credential::user("erin", "wonder"))
}

fn frank(server: &Server) -> Client {
    Client::tcp(server).with(Credential::user("frank", "builder"))
}

fn code(mut client: Client) -> u16 {
    client.try_allocate(|_| ()).code()
}

/// A call of erin's.
struct Call {
    client: Client,
    peer: Peer,
    /// The longest time that a packet took there and back.
    slowest: Duration,
}

impl Call {
    fn begin(server: &Server) -> Self {
        let (mut client, peer) = (erin(server), Peer::new());
        client.allocate();
        client.bind(CHANNEL, peer.address);
        Self { client, peer, slowest: Duration::ZERO }
    }

    /// Packets there and back, each of which comes.
    #[track_caller]
    fn talk(&mut self, packets: u32) {
        for number in 0..packets {
            let began = Instant::now();
            self.client.channel(CHANNEL, &number.to_be_bytes());
            let (payload, relay) = self.peer.receive();
            assert_eq!(payload, number.to_be_bytes());
            self.peer.send(relay, &payload);
            assert_eq!(self.client.channel_data(), (CHANNEL, payload));
            self.slowest = self.slowest.max(began.elapsed());
        }
    }
}

/// coturn's users and secrets let in whom coturn would let in, and nobody else.
pub(crate) fn come_in(kind: Kind) {
    let place = Place::of_coturn(kind);
    let server = server(kind, &place);
    Call::begin(&server).talk(3);
    assert_eq!(code(frank(&server)), 0);
    for wrong in
        [("erin", "builder"), ("Erin", "wonder"), ("nobody", "wonder"), ("' OR 1=1 --", "")]
    {
        let client = Client::udp(&server).with(Credential::user(wrong.0, wrong.1));
        assert_eq!(code(client), 401, "{wrong:?}");
    }
    let ephemeral = |secret| {
        let credential = Credential::ephemeral(RestDigest::Sha1, secret, "4102444800:anna");
        code(Client::udp(&server).with(credential))
    };
    eventually("the secret is known", || (ephemeral("north") == 0).then_some(()));
    assert_eq!(ephemeral("south"), 401);
    place.turnadmin(&["-d", "-u", "frank", "-r", "example.org"]);
    eventually("frank is forgotten", || (code(frank(&server)) == 401).then_some(()));
    place.turnadmin(&["-s", "south", "-r", "example.org"]);
    eventually("another secret is known", || (ephemeral("south") == 0).then_some(()));
}

/// `turnwire users` and a server that is told nothing of it: both keep to the state directory.
#[cfg(feature = "sqlite")]
#[test]
fn whoever_is_added_to_the_servers_own_database_comes_in_with_md5_and_with_sha256() {
    let scratch = super::Scratch::new();
    let state = scratch.path("state");
    let say = |line: &str, input: &str| {
        let desk = super::users::Desk::at(state.clone());
        desk.done(line, input)
    };
    say("add erin --realm example.org", "wonder");
    let state = state.to_str().unwrap();
    let server = Setup::with_local_peers()
        .config("[stores]\nkeep = \"1s\"\nkeep_unknown = \"1s\"")
        .flag("--state-directory", state)
        .start();
    Call::begin(&server).talk(1);
    let strong = Credential::user("erin", "wonder").sha256();
    assert_eq!(code(Client::udp(&server).with(strong)), 0);
    say("add frank --realm example.org", "builder");
    assert_eq!(code(frank(&server)), 0);
    say("remove frank --realm example.org", "");
    eventually("frank is forgotten", || (code(frank(&server)) == 401).then_some(()));
}

/// The same with a server that is told, and whose answers are good for minutes.
#[cfg(feature = "sqlite")]
#[test]
fn a_server_that_is_told_knows_at_once_who_has_come_and_gone() {
    let scratch = super::Scratch::new();
    let state = scratch.path("state");
    let desk = super::users::Desk::at(state.clone());
    desk.done("add erin --realm example.org", "wonder");
    let server = Setup::with_local_peers()
        .config("[stores]\nkeep_unknown = \"1h\"\nrefresh_secrets = \"1h\"")
        .config("[auth]\non_revocation = \"end\"")
        .flag("--state-directory", state.to_str().unwrap())
        .start();
    std::os::unix::fs::symlink(server.admin_socket(), state.join("admin.sock")).unwrap();
    let mut call = Call::begin(&server);
    assert_eq!(code(frank(&server)), 401, "and for an hour");
    desk.done("add frank --realm example.org", "builder");
    eventually("frank is known", || (code(frank(&server)) == 0).then_some(()));
    let minted = || {
        let credential = Credential::ephemeral(RestDigest::Sha1, "south", "4102444800:anna");
        code(Client::udp(&server).with(credential))
    };
    assert_eq!(minted(), 401);
    desk.done("secret add --realm example.org", "south");
    eventually("the secret is known", || (minted() == 0).then_some(()));
    call.talk(1);
    desk.done("remove erin --realm example.org", "");
    eventually("the call has ended", || (call.client.refresh(600).code() != 0).then_some(()));
    assert_eq!(code(erin(&server)), 401);
}

/// The database dies in the midst of a call, and comes back.
pub(crate) fn die_and_come_back(kind: Kind) {
    let mut place = Place::of_coturn(kind);
    let server = server(kind, &place);
    let mut call = Call::begin(&server);
    call.talk(20);
    place.kill();
    call.talk(200);
    assert_eq!(code(frank(&server)), 500, "nobody comes in because a store is down");
    assert_eq!(call.client.refresh(600).code(), 0, "who is known stays");
    assert_eq!(code(erin(&server)), 0, "and comes in again");
    call.talk(20);
    place.resume();
    eventually("frank comes in", || (code(frank(&server)) == 0).then_some(()));
    call.talk(20);
}

/// The database answers nothing for a while: those who wait for it wait, and nobody else.
pub(crate) fn take_their_time(kind: Kind) {
    let place = Place::of_coturn(kind);
    let server = server(kind, &place);
    let mut call = Call::begin(&server);
    call.talk(20);
    let mut waiting: Vec<_> = (0..30)
        .map(|number| {
            let credential = Credential::user(&format!("stranger-{number}"), "x");
            let mut client = Client::udp(&server).with(credential);
            client.challenge();
            client
        })
        .collect();
    {
        let _locked = place.locked();
        for client in &mut waiting {
            let transport = |writer: &mut Writer<'_>| {
                writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            };
            let request = client.signed(Method::ALLOCATE, &new_id(), transport);
            client.write(&request);
        }
        eventually("somebody waits", || (server.metric("requests_waiting") > 0).then_some(()));
        call.slowest = Duration::ZERO;
        call.talk(500);
        assert!(call.slowest < SOON, "a packet took {:?}", call.slowest);
        for client in &mut waiting {
            assert_eq!(Answer(client.read()).code(), 500);
        }
        call.talk(20);
    }
    eventually("frank comes in", || (code(frank(&server)) == 0).then_some(()));
}
