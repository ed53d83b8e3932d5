use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    version,
};

use super::super::client::Anyone;
use super::super::testing::{Authority, ECDSA, Issued, NOW, RSA};
use super::super::{Identities, Identity, Settings};
use super::*;

#[path = "tests/hostile.rs"]
mod hostile;

const BOTH: [(&SupportedProtocolVersion, Version); 2] =
    [(&version::TLS12, Version::Tls12), (&version::TLS13, Version::Tls13)];

/// Both ends, of which the client trusts the server's certificate.
struct Ends {
    server: Server,
    client: Arc<ClientConfig>,
}

/// A server for `a.test` and a client of one version that the test may change.
fn ends(version: &'static SupportedProtocolVersion, edit: impl FnOnce(&mut ClientConfig)) -> Ends {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    // An authority of the same name with another key would be another failure.
    let root = Authority::root(&NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    let issued = [root.issue(&["a.test"], RSA), root.issue(&["a.test"], ECDSA)];
    let identity =
        |it: &Issued| Identity::from_pem(it.certificate.as_bytes(), it.key.as_bytes()).unwrap();
    let identities = Arc::new(Identities::new(issued.iter().map(identity).collect()).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.pem().as_bytes()).unwrap()).unwrap();
    let mut client = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.time_provider = Arc::new(Then);
    edit(&mut client);
    let server = Server::new(&identities, &Settings::default()).unwrap();
    Ends { server, client: client.into() }
}

/// The time at which the certificates are good.
#[derive(Debug)]
struct Then;

impl TimeProvider for Then {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
    }
}

/// A client and a session, with what is on the way between them.
struct Wire {
    client: ClientConnection,
    session: Session,
    /// Ciphertext that the session has not consumed.
    input: Vec<u8>,
    /// What the session has decrypted.
    heard: Vec<u8>,
    /// What the client has decrypted.
    client_heard: Vec<u8>,
}

impl Wire {
    fn new(ends: &Ends, name: &'static str) -> Self {
        let client = ClientConnection::new(ends.client.clone(), name.try_into().unwrap()).unwrap();
        let session = Session::new(&ends.server).unwrap();
        Self { client, session, input: Vec::new(), heard: Vec::new(), client_heard: Vec::new() }
    }

    /// One way and back, `step` bytes at a time; true as long as something moved.
    fn exchange(&mut self, step: usize) -> Result<bool, Failure> {
        let mut sent = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sent).unwrap();
        }
        let mut output = Vec::new();
        let mut result = Ok(());
        for piece in sent.chunks(step) {
            result = result.and_then(|()| self.feed(piece, &mut output).map(drop));
        }
        let moved = !sent.is_empty() || !output.is_empty();
        self.deliver(&output);
        result.map(|()| moved)
    }

    fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<Received, Failure> {
        self.input.extend_from_slice(bytes);
        let mut plain = vec![0; self.input.len()];
        let received = self.session.receive(&mut self.input, &mut plain, output)?;
        self.input.drain(..received.consumed);
        self.heard.extend_from_slice(&plain[..received.plain]);
        Ok(received)
    }

    fn deliver(&mut self, mut output: &[u8]) {
        while !output.is_empty() {
            self.client.read_tls(&mut output).unwrap();
            // What the client thinks of it, it tells in its alert.
            let _ = self.client.process_new_packets();
            let _ = self.client.reader().read_to_end(&mut self.client_heard);
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.exchange(usize::MAX)? {}
        Ok(())
    }
}

fn connected(ends: &Ends, name: &'static str) -> Wire {
    let mut wire = Wire::new(ends, name);
    wire.settle().unwrap();
    assert!(wire.session.is_open() && !wire.client.is_handshaking());
    wire
}

#[test]
fn both_versions_carry_data_both_ways_and_tell_what_was_agreed() {
    for (version, name) in BOTH {
        let ends = ends(version, |client| client.alpn_protocols = vec![b"stun.turn".to_vec()]);
        let mut wire = connected(&ends, "a.test");
        let session = &wire.session;
        assert_eq!((session.version(), session.protocol()), (Some(name), Some(Protocol::Turn)));
        assert_eq!((session.asked_name(), session.is_resumed()), (Some("a.test"), false));
        let suite = session.connection.negotiated_cipher_suite().and_then(|it| it.suite().as_str());
        assert!(suite.is_some_and(|suite| suite.contains("AES_256_GCM")));
        // More than one record, and not on its border.
        let data: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
        let mut output = Vec::new();
        wire.session.send(&data, &mut output).unwrap();
        assert!(output.len() < data.len() + 4 * RECORD_OVERHEAD);
        wire.deliver(&output);
        assert_eq!(wire.client_heard, data);
        wire.client.writer().write_all(&data).unwrap();
        // Records in pieces, one of them through the middle of a header.
        while wire.exchange(1003).unwrap() {}
        assert_eq!(wire.heard, data);
        assert!(wire.input.is_empty());
    }
}

#[test]
fn whatever_a_turn_client_names_is_good_and_ours_is_taken_before_others() {
    let agreed = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let ends = ends(&version::TLS13, |client| client.alpn_protocols = names);
        connected(&ends, "a.test").session.protocol()
    };
    for protocol in Protocol::ALL {
        assert_eq!(agreed(&[protocol.name()]), Some(protocol));
    }
    assert_eq!(agreed(&["h2", "http/1.1", "stun.turn"]), Some(Protocol::Turn));
    assert_eq!(agreed(&[]), None);
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    for (version, _) in BOTH {
        let mut wire = Wire::new(&ends(version, |_| ()), "a.test");
        while wire.exchange(1).unwrap() {}
        assert!(wire.session.is_open());
        assert_eq!(wire.session.protocol(), None);
    }
}

#[test]
fn close_notify_is_heard_and_said() {
    for (version, _) in BOTH {
        let mut wire = connected(&ends(version, |_| ()), "a.test");
        wire.client.writer().write_all(b"last words").unwrap();
        wire.client.send_close_notify();
        let mut sent = Vec::new();
        while wire.client.wants_write() {
            wire.client.write_tls(&mut sent).unwrap();
        }
        let mut output = Vec::new();
        let received = wire.feed(&sent, &mut output).unwrap();
        assert!(received.closed && !received.opened);
        assert_eq!(wire.heard, b"last words");
        wire.session.send(b"mine", &mut output).unwrap();
        wire.session.close(&mut output);
        wire.deliver(&output);
        assert_eq!(wire.client_heard, b"mine");
        // The end, and not the beginning of a truncation: a read gives 0 instead of an error.
        assert_eq!(wire.client.reader().read(&mut [0]).unwrap(), 0);
        assert_eq!(wire.session.send(b"more", &mut output).unwrap_err().cause, Cause::Over);
    }
}

/// RFC 8446 §6.1: each side closes for itself.
#[test]
fn what_comes_behind_our_close_notify_is_still_heard() {
    for (version, _) in BOTH {
        let mut wire = connected(&ends(version, |_| ()), "a.test");
        let mut output = Vec::new();
        wire.session.close(&mut output);
        let length = output.len();
        wire.session.close(&mut output);
        assert_eq!(output.len(), length, "it is said once");
        wire.deliver(&output);
        wire.client.writer().write_all(b"going on").unwrap();
        wire.client.send_close_notify();
        let mut sent = Vec::new();
        while wire.client.wants_write() {
            wire.client.write_tls(&mut sent).unwrap();
        }
        let received = wire.feed(&sent, &mut Vec::new()).unwrap();
        assert!(received.closed);
        assert_eq!(wire.heard, b"going on");
    }
}

#[test]
fn a_client_comes_back_with_a_ticket() {
    for (version, _) in BOTH {
        let ends = ends(version, |_| ());
        connected(&ends, "a.test");
        let again = connected(&ends, "a.test");
        assert!(again.session.is_resumed());
        assert_eq!(again.session.asked_name(), Some("a.test"));
    }
}

#[test]
fn a_client_s_alert_is_told_in_words() {
    for (version, _) in BOTH {
        let ends = ends(version, |_| ());
        // It wants another name than the certificate has.
        let failure = Wire::new(&ends, "b.test").settle().unwrap_err();
        assert_eq!(failure.cause, Cause::BadCertificate);
        let text = failure.to_string();
        assert!(text.contains("bad_certificate") && text.contains("name"), "{text}");
        let strangers = self::ends(version, |_| ());
        let mut wire = Wire::new(&ends, "a.test");
        wire.client =
            ClientConnection::new(strangers.client, "a.test".try_into().unwrap()).unwrap();
        let failure = wire.settle().unwrap_err();
        assert_eq!(failure.cause, Cause::UnknownCa);
        assert!(failure.to_string().contains("fullchain"));
        assert_eq!(wire.session.send(b"x", &mut Vec::new()).unwrap_err().cause, Cause::Over);
    }
}

#[test]
fn what_is_not_shared_is_named_and_the_client_is_told() {
    let refused = |ends: &Ends| {
        let mut wire = Wire::new(ends, "a.test");
        let failure = wire.settle().unwrap_err();
        let told = wire.client.process_new_packets().unwrap_err();
        assert!(matches!(told, rustls::Error::AlertReceived(_)), "{told}");
        failure.cause
    };
    let other = ends(&version::TLS13, |client| client.alpn_protocols = vec![b"h2".to_vec()]);
    assert_eq!(refused(&other), Cause::NoSharedProtocol);
    let mut old = ends(&version::TLS12, |_| ());
    let identities = Arc::clone(&old.server.config.cert_resolver);
    let mut config =
        rustls::ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(identities);
    config.alpn_protocols = Vec::new();
    old.server.config = config.into();
    assert_eq!(refused(&old), Cause::NoSharedVersion);
}

#[test]
fn what_is_not_tls_is_said_to_be_none() {
    let ends = ends(&version::TLS13, |_| ());
    // An HTTP request, a STUN message.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl"] {
        let mut wire = Wire::new(&ends, "a.test");
        let mut output = Vec::new();
        let failure = wire.feed(bytes, &mut output).unwrap_err();
        assert_eq!(failure.cause, Cause::NotTls, "{failure}");
    }
}

#[test]
fn what_never_gets_complete_ends() {
    let mut wire = Wire::new(&ends(&version::TLS13, |_| ()), "a.test");
    let mut output = Vec::new();
    // Pieces of a ClientHello that says it has 60000 bytes.
    let mut hello = vec![0x16, 3, 1, 0x0f, 0xa4, 1, 0, 0xea, 0x60];
    hello.resize(5 + 4004, 0);
    let mut next = vec![0x16, 3, 1, 0x0f, 0xa0];
    next.resize(5 + 4000, 0);
    let mut result = wire.feed(&hello, &mut output);
    let mut fed = hello.len();
    while result.is_ok() {
        result = wire.feed(&next, &mut output);
        fed += next.len();
    }
    assert_eq!(result.unwrap_err().cause, Cause::Malformed);
    assert!(fed <= INPUT_MAX + next.len());
}

#[test]
fn leaving_means_something_only_after_the_certificate_was_seen() {
    let ends = ends(&version::TLS13, |_| ());
    let mut wire = Wire::new(&ends, "a.test");
    assert!(wire.session.abandoned().is_none());
    wire.exchange(usize::MAX).unwrap();
    assert_eq!(wire.session.abandoned().unwrap().cause, Cause::LeftSilently);
    assert!(connected(&ends, "a.test").session.abandoned().is_none());
}

#[test]
fn a_damaged_record_ends_the_session_with_an_alert() {
    let mut wire = connected(&ends(&version::TLS13, |_| ()), "a.test");
    wire.client.writer().write_all(b"hello").unwrap();
    let mut sent = Vec::new();
    wire.client.write_tls(&mut sent).unwrap();
    *sent.last_mut().unwrap() ^= 1;
    let mut output = Vec::new();
    let failure = wire.feed(&sent, &mut output).unwrap_err();
    assert_eq!(failure.cause, Cause::Malformed);
    wire.deliver(&output);
    let told = wire.client.process_new_packets().unwrap_err();
    assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
}

#[test]
fn a_change_of_keys_by_the_client_is_answered() {
    let mut wire = connected(&ends(&version::TLS13, |_| ()), "a.test");
    for round in 0..3 {
        wire.client.refresh_traffic_keys().unwrap();
        wire.client.writer().write_all(b"after").unwrap();
        wire.settle().unwrap();
        let mut output = Vec::new();
        wire.session.send(&[round], &mut output).unwrap();
        wire.deliver(&output);
        assert_eq!(wire.client_heard.last(), Some(&round));
    }
    assert_eq!(wire.heard, b"after".repeat(3));
}

#[test]
fn the_cheap_key_signs_for_those_who_accept_it_and_the_other_one_for_the_rest() {
    for (version, _) in BOTH {
        let ends = ends(version, |_| ());
        let key = |config: Arc<ClientConfig>| {
            let mut wire = Wire::new(&ends, "a.test");
            wire.client = ClientConnection::new(config, "a.test".try_into().unwrap()).unwrap();
            wire.settle().unwrap();
            let leaf = &wire.client.peer_certificates().unwrap()[0];
            let (_, leaf) = x509_parser::parse_x509_certificate(leaf).unwrap();
            leaf.public_key().parsed().unwrap().key_size()
        };
        assert_eq!(key(Arc::clone(&ends.client)), 256);
        // A client that knows RSA alone.
        let mut provider = aws_lc_rs::default_provider();
        let WebPkiSupportedAlgorithms { mapping, .. } = provider.signature_verification_algorithms;
        let is_rsa = |scheme: &SignatureScheme| format!("{scheme:?}").starts_with("RSA");
        let rsa: Vec<_> = mapping.iter().filter(|(scheme, _)| is_rsa(scheme)).copied().collect();
        provider.signature_verification_algorithms.mapping = rsa.leak();
        let provider = Arc::new(provider);
        // The issuer's signature it could not check.
        let verifier = Anyone { provider: Arc::clone(&provider), look: () };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        assert_eq!(key(config.into()), 2048);
    }
}
