//! Datagrams of DTLS from strangers: each alone, all of them as one handshake, and each as records for an association
//! that somebody else has. The input is datagrams, each behind its length in two bytes.
#![no_main]

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslStream};
use turnwire::time::Mono;
use turnwire::tls::dtls::{
    Acceptor, ClientHello, Cookies, Handshake, Progress, Records, Session, VERIFY_REQUEST_MAX,
};
use turnwire::tls::{Identities, Identity};

/// The longest datagram of a handshake.
const MTU: usize = 1200;
/// What a client may need to get through a handshake.
const DATAGRAMS: usize = 32;

static ACCEPTOR: LazyLock<Acceptor> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["turn.test".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let identity = Identity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes());
    let identities = Identities::new(vec![identity.expect("an identity")]).expect("one");
    Acceptor::new(&Arc::new(identities)).expect("OpenSSL does DTLS")
});
static COOKIES: LazyLock<Cookies> = LazyLock::new(|| Cookies::new([7; 32]));
static SESSION: LazyLock<Mutex<Box<Session>>> = LazyLock::new(|| Mutex::new(associate()));

fuzz_target!(|bytes: &[u8]| {
    let datagrams = datagrams(bytes);
    for datagram in &datagrams {
        first(datagram);
        records(datagram);
    }
    handshake(&datagrams);
});

fn datagrams(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut datagrams = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk()
        && datagrams.len() < DATAGRAMS
    {
        let (datagram, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        datagrams.push(datagram);
        bytes = rest;
    }
    datagrams
}

/// What nobody knows gets less than it has sent, and no cookie is good but the one it got.
fn first(datagram: &[u8]) {
    let Some(hello) = ClientHello::parse(datagram) else {
        return;
    };
    let [client, server]: [SocketAddr; 2] =
        [([192, 0, 2, 1], 1).into(), ([192, 0, 2, 2], 2).into()];
    let now = Mono::from_secs(1000);
    assert!(!COOKIES.admits(now, client, server, &hello));
    let cookie = COOKIES.mint(now, client, server, &hello);
    let mut brought = hello;
    brought.cookie = &cookie;
    assert!(COOKIES.admits(now, client, server, &brought));
    let mut answer = [0; VERIFY_REQUEST_MAX];
    let length = hello.verify_request(&cookie, &mut answer);
    assert!(length < datagram.len());
    let (_, place) = Records::new().next(&answer[..length]).expect("a record");
    assert_eq!(place, 0..length);
}

/// Records follow each other, and none of them is the association's.
fn records(datagram: &[u8]) {
    let mut session = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
    let mut copy = datagram.to_vec();
    let (mut records, mut end) = (Records::new(), 0);
    while let Some((header, place)) = records.next(&copy) {
        assert!(place.start == end && place.end <= copy.len());
        end = place.end;
        assert!(session.open(header, &mut copy[place]).is_err());
    }
}

/// A client that has proved its address, and then says this.
fn handshake(datagrams: &[&[u8]]) {
    let mut now = Mono::from_secs(1000);
    let Some((hello, others)) = datagrams.split_first() else {
        return;
    };
    let Ok(mut handshake) = Handshake::new(&ACCEPTOR, now, hello) else {
        return;
    };
    let mut progress = handshake.advance(now);
    for datagram in others {
        assert!(handshake.transmit().all(|sent| sent.len() <= MTU));
        match progress {
            Ok(Progress::Waiting) => {}
            Ok(Progress::Complete(_)) => panic!("nobody has made a key"),
            Err(_) => return,
        }
        now = now + Duration::from_millis(400);
        if handshake.deadline() <= now {
            handshake.repeat(now);
        }
        handshake.push(now, datagram);
        progress = handshake.advance(now);
    }
    assert!(handshake.transmit().all(|sent| sent.len() <= MTU));
}

/// What the client has written, and what it is to read.
#[derive(Default)]
struct Pipe {
    written: Vec<Vec<u8>>,
    unread: Vec<Vec<u8>>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let datagram = self.unread.remove(0);
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok(datagram.len())
    }
}

impl Write for Pipe {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.written.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An association with a client that does all right.
fn associate() -> Box<Session> {
    let context = SslContextBuilder::new(SslMethod::dtls_client()).expect("a context").build();
    let mut ssl = Ssl::new(&context).expect("a session");
    ssl.set_connect_state();
    let mut client = SslStream::new(ssl, Pipe::default()).expect("a stream");
    let mut speak = |heard: Vec<Vec<u8>>| {
        client.get_mut().unread = heard;
        let _ = client.do_handshake();
        std::mem::take(&mut client.get_mut().written)
    };
    let now = Mono::from_secs(1000);
    let hello = speak(Vec::new()).remove(0);
    let mut answer = [0; VERIFY_REQUEST_MAX];
    let parsed = ClientHello::parse(&hello).expect("a hello");
    let length = parsed.verify_request(&[1; 16], &mut answer);
    let hello = speak(vec![answer[..length].to_vec()]).remove(0);
    let mut handshake = Handshake::new(&ACCEPTOR, now, &hello).expect("a hello with a cookie");
    loop {
        let progress = handshake.advance(now).expect("a handshake");
        if let Progress::Complete(session) = progress {
            return session;
        }
        let flight = handshake.transmit().map(<[u8]>::to_vec).collect();
        let answer = speak(flight);
        assert!(!answer.is_empty(), "the client is content");
        answer.iter().for_each(|datagram| handshake.push(now, datagram));
    }
}
