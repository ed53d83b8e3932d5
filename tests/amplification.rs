//! What a stranger who forges an address can have sent to it: for each request that needs no credentials, the
//! bytes that come back. The table in docs/security.md has these figures, and they are measured here.

mod common;

use std::net::{SocketAddr, UdpSocket};

use common::{PATIENCE, Server, Setup, channel_message, new_id, plain};
use turnwire::stun::{Kind, Message, Method, TransactionId, Writer, attribute};

/// More than this many bytes for each byte nobody may have sent to somebody else.
const MOST: f64 = 6.0;

/// A row: what is sent, to which server, and whether discovery is served there.
struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    discovery: bool,
}

fn row(name: &'static str, bytes: Vec<u8>) -> Row {
    Row { name, bytes, discovery: false }
}

fn discovery(name: &'static str, fill: impl Fn(&mut Writer<'_>)) -> Row {
    let bytes = plain(Kind::request(Method::BINDING), &new_id(), fill);
    Row { name, bytes, discovery: true }
}

fn request(method: Method, fill: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
    plain(Kind::request(method), &new_id(), fill)
}

fn rows() -> Vec<Row> {
    let classic = TransactionId::classic(0x1234_5678, [9; 12]);
    let udp =
        |writer: &mut Writer<'_>| writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let mut noise = request(Method::BINDING, |_| ());
    noise[4] ^= 1;
    noise[0] = 0x7f;
    vec![
        row("Binding", request(Method::BINDING, |_| ())),
        row("Binding with FINGERPRINT", request(Method::BINDING, |it| it.fingerprint())),
        row("Binding of RFC 3489", plain(Kind::request(Method::BINDING), &classic, |_| ())),
        row(
            "Binding with an unknown attribute (420)",
            request(Method::BINDING, |it| it.attribute(0x7ff0, &[])),
        ),
        row("Allocate (401, the challenge)", request(Method::ALLOCATE, udp)),
        row("Allocate without anything in it (401)", request(Method::ALLOCATE, |_| ())),
        row("Refresh without anything in it (401)", request(Method::REFRESH, |_| ())),
        row("CreatePermission, the same", request(Method::CREATE_PERMISSION, |_| ())),
        row("ChannelBind, the same", request(Method::CHANNEL_BIND, |_| ())),
        row("Connect, the same", request(Method::CONNECT, |_| ())),
        row("ConnectionBind, the same", request(Method::CONNECTION_BIND, |_| ())),
        row(
            "Allocate with a forged nonce (438)",
            request(Method::ALLOCATE, |it| {
                it.attribute(attribute::USERNAME, b"alice");
                it.attribute(attribute::REALM, b"example.org");
                it.attribute(attribute::NONCE, b"forged");
                it.attribute(attribute::MESSAGE_INTEGRITY, &[0; 20]);
            }),
        ),
        row("a method that nobody knows", request(Method(0x0ff), |_| ())),
        row("Send indication", plain(Kind::indication(Method::SEND), &new_id(), |_| ())),
        row("a response", plain(Kind::success(Method::BINDING), &new_id(), |_| ())),
        row("ChannelData", channel_message(0x4000, &[7; 100])),
        row("anything else", noise),
        discovery("Binding, where NAT discovery is served", |_| ()),
        discovery("the same, answered from elsewhere (CHANGE-REQUEST)", |it| {
            it.attribute(attribute::CHANGE_REQUEST, &[0, 0, 0, 6]);
        }),
        discovery("the same with 100 bytes of PADDING", |it| {
            it.attribute(attribute::PADDING, &[0; 100]);
        }),
    ]
}

/// Sends it from an address of its own and counts what comes back before the answer to a Binding request behind it.
fn bytes_back(server: SocketAddr, bytes: &[u8]) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let fence = new_id();
    socket.send_to(bytes, server).unwrap();
    socket.send_to(&plain(Kind::request(Method::BINDING), &fence, |_| ()), server).unwrap();
    let (mut buffer, mut sum) = ([0; 4096], 0);
    loop {
        let length = socket.recv(&mut buffer).expect("an answer to the Binding request");
        let message = Message::parse(&buffer[..length]).expect("a message");
        if message.transaction_id() == fence {
            return sum;
        }
        sum += length;
    }
}

/// The length of the one answer, which may come from another address, and so behind that to a later request.
fn only_answer(server: SocketAddr, bytes: &[u8]) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(bytes, server).unwrap();
    socket.recv(&mut [0; 4096]).expect("an answer")
}

fn start(discovery: bool) -> Server {
    let setup = Setup::new().listen("127.0.0.1:0");
    let setup = if discovery { setup.flag("--nat-alternate", "127.0.0.2:0") } else { setup };
    setup.start()
}

/// `| what | bytes in | bytes out | ratio |`
fn line(name: &str, sent: usize, came: usize) -> String {
    format!("| {name} | {sent} | {came} | {:.1} |\n", came as f64 / sent as f64)
}

#[test]
fn what_comes_back_to_a_forged_address_is_what_the_documentation_says() {
    let (bare, discovering) = (start(false), start(true));
    let mut table = String::new();
    for row in rows() {
        let server = if row.discovery { &discovering } else { &bare };
        let came = match row.discovery {
            true => only_answer(server.address(), &row.bytes),
            false => bytes_back(server.address(), &row.bytes),
        };
        table.push_str(&line(row.name, row.bytes.len(), came));
        let ratio = came as f64 / row.bytes.len() as f64;
        assert!(ratio <= MOST, "{}: {ratio:.1} bytes for each byte", row.name);
    }
    #[cfg(feature = "dtls")]
    {
        let (sent, came) = hello();
        table.push_str(&line("DTLS ClientHello (HelloVerifyRequest)", sent, came));
        assert!(came <= sent, "{came} bytes for a hello of {sent}");
    }
    let page = include_str!("../docs/security.md");
    assert!(page.contains(&table), "docs/security.md should have:\n{table}");
}

/// The first flight of OpenSSL's client, and what the server sends before the address is proved.
#[cfg(feature = "dtls")]
fn hello() -> (usize, usize) {
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(trap.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    assert!(!common::Dtls::new(socket).step(), "there is no server yet");
    let mut hello = [0; 2048];
    let length = trap.recv(&mut hello).expect("a hello");
    let server = Setup::new().certificate(&common::Trust::new()).start();
    (length, only_answer(server.address(), &hello[..length]))
}
