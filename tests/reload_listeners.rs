//! Listeners that come and go with SIGHUP, under live calls.

mod common;
#[path = "process/configured.rs"]
mod configured;
#[path = "process/server.rs"]
mod process;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Client, Credential, Peer, Trust, eventually, free_ports, unique_loopback};
use configured::Configured;
use process::address;

const CHANNEL: u16 = 0x4000;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Addresses of a host of one's own, with free ports.
fn addresses<const N: usize>() -> [SocketAddr; N] {
    let ip = unique_loopback();
    let first = free_ports(&[ip], N as u16);
    std::array::from_fn(|nth| SocketAddr::new(ip, first + nth as u16))
}

fn list(addresses: &[SocketAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    texts.join(", ")
}

fn config(listen: &[SocketAddr], more: &str) -> String {
    let listen = list(listen);
    format!(
        "[listen]\naddresses = [{listen}]\n{more}\n[relay]\naddresses = [\"127.0.0.1\"]\n\
         [auth]\nusers.alice = \"wonder\"\n[peers]\nallow = [\"127.0.0.0/8\"]\n"
    )
}

fn as_alice(client: Client) -> Client {
    client.with(Credential::user("alice", "wonder"))
}

/// A client with a call, and its peer.
fn call(client: Client) -> (Client, Peer) {
    let (mut client, peer) = (as_alice(client), Peer::new());
    client.allocate();
    client.bind(CHANNEL, peer.address);
    (client, peer)
}

#[track_caller]
fn goes_on(client: &mut Client, peer: &Peer) {
    client.channel(CHANNEL, b"hello");
    let (payload, relayed) = peer.receive();
    assert_eq!(payload, b"hello");
    peer.send(relayed, b"hi");
    assert_eq!(client.channel_data(), (CHANNEL, b"hi".to_vec()));
}

/// Whether somebody new is answered over UDP within a second. Ask so for a no alone: a busy machine may take longer.
fn answers(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind((LOCAL, 0)).expect("a socket");
    socket.connect(server).expect("a route");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let _ = socket.send(&binding());
    socket.recv(&mut [0; 500]).is_ok()
}

#[track_caller]
fn is_answered(server: SocketAddr) {
    eventually("somebody new is answered", || answers(server).then_some(()));
}

fn binding() -> Vec<u8> {
    let kind = turnwire::stun::Kind::request(turnwire::stun::Method::BINDING);
    common::plain(kind, &common::new_id(), |_| ())
}

#[test]
fn a_listener_that_is_added_serves_beside_the_others() {
    let [first, second] = addresses();
    let mut configured = Configured::listening(&config(&[first], ""));
    let (mut before, peer) = call(Client::udp_to(first));
    configured.accepts(&config(&[first, second], ""));
    let line = configured.server.of("listening")[0].clone();
    assert_eq!(line["udp"], format!("{first},{second}"));
    assert_eq!(configured.server.ready()["udp"].as_array().map(Vec::len), Some(2));
    assert_eq!(address(&configured.server.ready()["tcp"][1]), second);
    for mut client in [Client::udp_to(second), Client::tcp_to(second), Client::udp_to(first)] {
        client = as_alice(client);
        client.allocate();
    }
    goes_on(&mut before, &peer);
}

#[test]
fn a_listener_that_is_taken_away_lets_nobody_in_and_serves_its_calls_to_their_end() {
    let [first, second] = addresses();
    let mut configured = Configured::listening(&config(&[first, second], ""));
    let (mut udp, udp_peer) = call(Client::udp_to(second));
    let (mut tcp, tcp_peer) = call(Client::tcp_to(second));
    let mut idle = as_alice(Client::udp_to(second));
    idle.challenge();
    configured.accepts(&config(&[first], ""));
    assert!(!answers(second));
    is_answered(first);
    assert!(TcpStream::connect(second).is_err());
    goes_on(&mut udp, &udp_peer);
    goes_on(&mut tcp, &tcp_peer);
    assert_eq!(udp.refresh(600).code(), 0);
    assert_eq!(tcp.refresh(600).code(), 0);
    // Nobody else can take the port from the calls.
    assert!(UdpSocket::bind(second).is_err());
    assert_eq!(udp.refresh(0).code(), 0);
    eventually("the port is free", || UdpSocket::bind(second).ok());
    goes_on(&mut tcp, &tcp_peer);
    assert_eq!(tcp.refresh(0).code(), 0);
}

/// The kernel spreads clients over the sockets of an address by how many these are.
#[test]
fn the_calls_at_a_listener_that_ends_stay_at_their_workers() {
    let [first, second] = addresses();
    let mut configured = Configured::of_workers(&config(&[first, second], ""), "4");
    let mut calls: Vec<_> = (0..24).map(|_| call(Client::udp_to(second))).collect();
    configured.accepts(&config(&[first], ""));
    while let Some((mut client, _)) = calls.pop() {
        assert_eq!(client.refresh(0).code(), 0);
        // Some worker has no call any more by now, and looks for one every half second.
        let last = Instant::now()
            + Duration::from_millis(if (2..6).contains(&calls.len()) { 700 } else { 0 });
        loop {
            for (client, peer) in &mut calls {
                goes_on(client, peer);
            }
            if Instant::now() >= last {
                break;
            }
        }
    }
    eventually("the port is free", || UdpSocket::bind(second).ok());
}

#[test]
fn a_listener_may_come_back_while_it_has_calls() {
    let [first, second] = addresses();
    let both = config(&[first, second], "");
    let mut configured = Configured::listening(&both);
    let mut calls: Vec<_> = (0..8).map(|_| call(Client::udp_to(second))).collect();
    let (mut stream, stream_peer) = call(Client::tcp_to(second));
    for _ in 0..3 {
        configured.accepts(&config(&[first], ""));
        configured.accepts(&both);
        for (client, peer) in &mut calls {
            goes_on(client, peer);
        }
        calls.push(call(Client::udp_to(second)));
    }
    goes_on(&mut stream, &stream_peer);
    call(Client::tcp_to(second));
}

#[test]
fn an_address_that_somebody_else_has_changes_nothing_and_leaves_nothing_behind() {
    let [first, second, taken] = addresses();
    let _other = UdpSocket::bind(taken).expect("a free port");
    let mut configured = Configured::listening(&config(&[first], ""));
    let (mut before, peer) = call(Client::udp_to(first));
    let wrong = config(&[second, taken], "").replace("alice", "carol");
    let message = configured.refuses(&wrong);
    assert!(message.contains(&format!("cannot listen on {taken} (UDP)")), "{message}");
    is_answered(first);
    goes_on(&mut before, &peer);
    let free = (UdpSocket::bind(second), TcpListener::bind(second));
    assert!(free.0.is_ok() && free.1.is_ok(), "{free:?}");
    assert_eq!(configured.server.ready()["udp"].as_array().map(Vec::len), Some(1));
}

#[test]
fn listeners_for_tls_and_dtls_come_with_their_certificate_and_go() {
    let trust = Trust::new();
    let [first, sealed] = addresses();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| trust.directory.join(name));
    let tls = format!("[tls]\ncertificates = [{chain:?}]\nkeys = [{key:?}]\n");
    // It has never heard of the certificate's directory: a sandbox would keep it out.
    let tls = format!("[process]\nsandbox = false\n{tls}");
    let plain = format!("{}[process]\nsandbox = false\n", config(&[first], ""));
    let with = format!(
        "{}{tls}",
        config(&[first], &format!("tls = [\"{sealed}\"]\ndtls = [\"{sealed}\"]"))
    );
    let mut configured = Configured::listening(&plain);
    let (mut before, before_peer) = call(Client::udp_to(first));
    configured.accepts(&with);
    let (mut secure, secure_peer) = call(Client::tls_to(sealed, &trust));
    let (mut same, same_peer) = call(Client::tls_to(first, &trust));
    assert_eq!(address(&configured.server.ready()["tls"][0]), sealed);
    configured.accepts(&plain);
    assert!(TcpStream::connect(sealed).is_err());
    goes_on(&mut secure, &secure_peer);
    goes_on(&mut same, &same_peer);
    goes_on(&mut before, &before_peer);
    // And once more, with other tickets and the same certificate.
    configured.accepts(&with);
    call(Client::tls_to(sealed, &trust));
    configured.accepts(&format!("{with}min_version = \"1.3\"\n"));
    call(Client::tls_to(sealed, &trust));
    goes_on(&mut secure, &secure_peer);
}

#[cfg(feature = "dtls")]
#[test]
fn dtls_comes_and_goes_too() {
    let trust = Trust::new();
    let [first, sealed] = addresses();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| trust.directory.join(name));
    let tls = format!("[tls]\ncertificates = [{chain:?}]\nkeys = [{key:?}]\n");
    let tls = format!("[process]\nsandbox = false\n{tls}");
    let with = format!("{}{tls}", config(&[first], &format!("dtls = [\"{sealed}\"]")));
    let plain = format!("{}[process]\nsandbox = false\n", config(&[first], ""));
    let mut configured = Configured::listening(&plain);
    configured.accepts(&with);
    let (mut alone, alone_peer) = call(Client::dtls_to(sealed));
    let (mut beside, beside_peer) = call(Client::dtls_to(first));
    let _idle = Client::dtls_to(sealed);
    configured.accepts(&format!("{}{tls}", config(&[first], "dtls_on_udp = false")));
    for (client, peer) in [(&mut alone, &alone_peer), (&mut beside, &beside_peer)] {
        goes_on(client, peer);
        assert_eq!(client.refresh(600).code(), 0);
    }
    assert!(!begins_dtls(first) && !begins_dtls(sealed));
    assert_eq!(alone.refresh(0).code(), 0);
    eventually("the port is free", || UdpSocket::bind(sealed).ok());
    goes_on(&mut beside, &beside_peer);
    // A certificate that is withdrawn is shown to nobody any more.
    configured.accepts(&with);
    eventually("DTLS is begun", || begins_dtls(first).then_some(()));
    let (mut open, open_peer) = call(Client::udp_to(first));
    configured.accepts(&plain);
    assert!(!begins_dtls(first));
    // Nor to those who are known there already.
    let common::Leg::Udp(socket) = &open.leg else { panic!("it is on UDP") };
    assert_eq!(first_answer(socket, &binding()), 1, "a STUN response");
    let sealed = beside.dtls().sealed(&binding());
    assert_eq!(first_answer(beside.dtls().socket(), &sealed), 23, "a record under keys");
    goes_on(&mut open, &open_peer);
    goes_on(&mut beside, &beside_peer);
    configured.accepts(&with);
    eventually("DTLS is begun", || begins_dtls(first).then_some(()));
}

/// Whether a new client of DTLS is served.
#[cfg(feature = "dtls")]
fn begins_dtls(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind((LOCAL, 0)).expect("a socket");
    socket.connect(server).expect("a route");
    let mut new = common::Dtls::new(socket);
    new.socket().set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    new.step()
}

/// What comes first of all when a client begins with DTLS and then sends a datagram: the first byte.
#[cfg(feature = "dtls")]
fn first_answer(socket: &UdpSocket, datagram: &[u8]) -> u8 {
    socket.send(&client_hello()).expect("the client can send");
    socket.send(datagram).expect("the client can send");
    let mut answer = [0; 1500];
    socket.recv(&mut answer).expect("an answer");
    answer[0]
}

/// What a client of DTLS begins with.
#[cfg(feature = "dtls")]
fn client_hello() -> Vec<u8> {
    let [client, server] = [(); 2].map(|()| UdpSocket::bind((LOCAL, 0)).expect("a socket"));
    client.connect(server.local_addr().expect("an address")).expect("a route");
    client.set_nonblocking(true).expect("an option");
    assert!(!common::Dtls::new(client).step());
    common::receive(&server)
}

#[test]
fn the_second_address_of_nat_discovery_comes_and_goes() {
    let ips = [unique_loopback(), unique_loopback()];
    let port = free_ports(&ips, 2);
    let [first, second] = [SocketAddr::new(ips[0], port), SocketAddr::new(ips[1], port + 1)];
    let plain = config(&[first], "");
    let mut configured = Configured::listening(&plain);
    let (mut before, peer) = call(Client::udp_to(first));
    let corners = [SocketAddr::new(ips[0], port + 1), SocketAddr::new(ips[1], port), second];
    for _ in 0..2 {
        configured.accepts(&config(&[first], &format!("nat_alternates = [\"{second}\"]")));
        corners.into_iter().for_each(is_answered);
        goes_on(&mut before, &peer);
        configured.accepts(&plain);
        assert!(!corners.iter().any(|corner| answers(*corner)));
        is_answered(first);
    }
    goes_on(&mut before, &peer);
}

/// The kernel gives a socket for one address everything that comes to it, whatever else is open.
#[test]
fn a_listener_beneath_one_for_every_address_goes_on() {
    let (ip, any) = (unique_loopback(), Ipv4Addr::UNSPECIFIED.into());
    let port = free_ports(&[ip, any], 2);
    let [first, other] = [port, port + 1].map(|port| SocketAddr::new(ip, port));
    let every = SocketAddr::new(any, port);
    let mut configured = Configured::listening(&config(&[first], ""));
    let (mut before, peer) = call(Client::udp_to(first));
    configured.accepts(&config(&[every], ""));
    goes_on(&mut before, &peer);
    let mut new = [call(Client::udp_to(first)), call(Client::tcp_to(first))];
    // It is beneath that one still, and when it is configured again.
    for listen in [&[every, other][..], &[every, first], &[every]] {
        configured.accepts(&config(listen, ""));
        is_answered(first);
        is_answered(SocketAddr::new(LOCAL, first.port()));
    }
    // It leaves with the last one that covers it, and comes back with the next.
    configured.accepts(&config(&[other], ""));
    assert!(!answers(first));
    configured.accepts(&config(&[every], ""));
    is_answered(first);
    call(Client::tcp_to(first));
    for (client, peer) in new.iter_mut().chain([&mut (before, peer)]) {
        goes_on(client, peer);
    }
}

#[test]
fn a_second_address_of_nat_discovery_beneath_one_for_every_address_goes_on() {
    let ips = [unique_loopback(), unique_loopback()];
    let port = free_ports(&[ips[0], ips[1], Ipv4Addr::UNSPECIFIED.into()], 2);
    let every = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let [first, second] = [SocketAddr::new(ips[0], port), SocketAddr::new(ips[1], port + 1)];
    let with = config(&[first, every], &format!("nat_alternates = [\"{second}\"]"));
    let mut configured = Configured::listening(&with);
    let corner = SocketAddr::new(ips[1], port);
    let (mut before, peer) = call(Client::udp_to(corner));
    configured.accepts(&config(&[every], ""));
    [corner, first].into_iter().for_each(is_answered);
    goes_on(&mut before, &peer);
}

/// New sockets at an address would take the clients of live calls from the old ones.
#[cfg(feature = "dtls")]
#[test]
fn a_udp_address_under_calls_does_not_become_one_for_dtls_nor_back() {
    let trust = Trust::new();
    let [first, moved, sealed] = addresses();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| trust.directory.join(name));
    let tls = format!("[tls]\ncertificates = [{chain:?}]\nkeys = [{key:?}]\n");
    let listen = |plain: &[SocketAddr], dtls: &[SocketAddr]| {
        let dtls = format!("dtls = [{}]", list(dtls));
        format!("{}[process]\nsandbox = false\n{tls}", config(plain, &dtls))
    };
    let mut configured = Configured::of_workers(&listen(&[first, moved], &[sealed]), "4");
    let mut calls: Vec<_> = (0..8).map(|_| call(Client::udp_to(moved))).collect();
    calls.extend((0..8).map(|_| call(Client::dtls_to(sealed))));
    let mut refuses = |plain: &[SocketAddr], dtls: &[SocketAddr], told: &str| {
        let message = configured.refuses(&listen(plain, dtls));
        assert!(message.contains(told), "{message}");
        for (client, peer) in &mut calls {
            goes_on(client, peer);
        }
    };
    let told =
        format!("cannot listen on {moved} (DTLS): this server serves calls at {moved} as UDP");
    refuses(&[first], &[sealed, moved], &told);
    let told =
        format!("cannot listen on {sealed} (UDP): this server serves calls at {sealed} as DTLS");
    refuses(&[first, moved, sealed], &[], &told);
    // It is the same while it ends.
    configured.accepts(&listen(&[first], &[sealed]));
    let message = configured.refuses(&listen(&[first], &[sealed, moved]));
    assert!(message.contains("use another port, or restart"), "{message}");
    // Nobody is served there any more.
    for (client, _) in &mut calls[..8] {
        assert_eq!(client.refresh(0).code(), 0);
    }
    eventually("the port is free", || UdpSocket::bind(moved).ok());
    configured.accepts(&listen(&[first], &[sealed, moved]));
    call(Client::dtls_to(moved));
}

/// Clients would come to sockets that nobody serves.
#[test]
fn nothing_is_bound_while_others_are_asked() {
    let silent = UdpSocket::bind((LOCAL, 0)).expect("a socket");
    let ips = [unique_loopback(), unique_loopback()];
    let port = free_ports(&ips, 2);
    let [first, second] = [SocketAddr::new(ips[0], port), SocketAddr::new(ips[1], port + 1)];
    let mut configured = Configured::listening(&config(&[first], ""));
    let stun = silent.local_addr().expect("an address");
    // Only how the second address is seen outside is not known without a question.
    let relay = format!(
        "[relay]\nexternal = [\"203.0.113.1/{0}\"]\nstun_server = \"{stun}\"\naddresses = [\"{0}\"]",
        ips[0]
    );
    let after = config(&[first], &format!("nat_alternates = [\"{second}\"]"));
    let after = after.replace("[relay]\naddresses = [\"127.0.0.1\"]", &relay);
    fs::write(&configured.file, after).expect("a file");
    configured.server.signal("HUP");
    silent.set_read_timeout(Some(common::PATIENCE)).expect("a timeout");
    let (_, asked) = silent.recv_from(&mut [0; 100]).expect("a question");
    assert_eq!(asked.ip(), ips[1]);
    let free = (UdpSocket::bind(second), TcpListener::bind(second));
    assert!(free.0.is_ok() && free.1.is_ok(), "{free:?}");
    drop(free);
    let line = configured.server.line_of(&["reloaded", "reload_failed"]);
    assert_eq!(line["event"], "reloaded", "{line}");
    is_answered(second);
}

#[test]
fn what_else_is_missing_is_found_before_anything_is_bound() {
    let [first, second] = addresses();
    let mut configured =
        Configured::listening(&format!("{}[process]\nsandbox = false\n", config(&[first], "")));
    let with = format!("{}[process]\nsandbox = false\n", config(&[first, second], ""));
    let wrong = [
        "[tls]\ncertificates = [\"/nowhere/chain.pem\"]\nkeys = [\"/nowhere/key.pem\"]\n",
        "[stores.ask]\nteam = { kind = \"file\", path = \"/nowhere/users\" }\n",
    ];
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let come = std::thread::spawn(move || {
        let mut taken = 0;
        while !stop.load(Ordering::Relaxed) {
            taken += usize::from(TcpStream::connect(second).is_ok());
            std::thread::sleep(Duration::from_millis(20));
        }
        taken
    });
    let wrong = wrong.iter().cycle().take(20);
    let told: Vec<_> = wrong.map(|it| configured.reload(&format!("{with}{it}"))).collect();
    done.store(true, Ordering::Relaxed);
    for line in told {
        let message = line["message"].as_str().expect("a message");
        assert!(message.contains("/nowhere/") && line["event"] == "reload_failed", "{message}");
    }
    assert_eq!(come.join().expect("no panic"), 0);
    configured.accepts(&with);
}

/// The kernel would give it all that comes to its address, also what belongs to calls at the other one.
#[test]
fn no_listener_is_opened_beneath_one_with_calls() {
    let (ip, any) = (unique_loopback(), Ipv4Addr::UNSPECIFIED.into());
    let [every, one] = {
        let port = free_ports(&[ip, any], 1);
        [any, ip].map(|ip| SocketAddr::new(ip, port))
    };
    let mut configured = Configured::of_workers(&config(&[every], ""), "4");
    let mut calls: Vec<_> = (0..8).map(|_| call(Client::udp_to(one))).collect();
    let message = configured.refuses(&config(&[every, one], ""));
    let told = format!("cannot listen on {one} (UDP): this server serves calls at {every} still");
    assert!(message.contains(&told), "{message}");
    for (client, peer) in &mut calls {
        goes_on(client, peer);
        assert_eq!(client.refresh(0).code(), 0);
    }
    configured.accepts(&config(&[every, one], ""));
    call(Client::udp_to(one));
    call(Client::udp_to(SocketAddr::new(LOCAL, one.port())));
}
