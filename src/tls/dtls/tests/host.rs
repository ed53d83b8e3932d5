use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use openssl::rsa::Rsa;
use openssl::x509::X509;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::client::{Client, Offer};
use crate::time::Mono;
use crate::tls::dtls::*;
use crate::tls::{Failure, Identities, Identity};

/// A root, an intermediate, and what a leaf's key is like.
pub(super) struct Authority {
    root: Vec<u8>,
    chain: [String; 2],
    key: String,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn ecdsa() -> Self {
        Self::new(KeyPair::generate().unwrap())
    }

    pub(super) fn rsa() -> Self {
        // It takes a while to find the primes.
        static KEY: OnceLock<String> = OnceLock::new();
        let pem = KEY.get_or_init(|| {
            let key = openssl::pkey::PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
            String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
        });
        Self::new(KeyPair::from_pem(pem).unwrap())
    }

    fn new(key: KeyPair) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let issuer = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, format!("{name} {number}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let root =
            CertifiedIssuer::self_signed(issuer("root"), KeyPair::generate().unwrap()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(issuer("intermediate"), KeyPair::generate().unwrap(), &root)
                .unwrap();
        let mut authority = Self {
            root: root.der().to_vec(),
            chain: [String::new(), intermediate.pem()],
            key: key.serialize_pem(),
            intermediate,
        };
        authority.sign(&key, "one.example");
        authority
    }

    fn sign(&mut self, key: &KeyPair, name: &str) {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        self.chain[0] = params.signed_by(key, &self.intermediate).unwrap().pem();
    }

    pub(super) fn named(mut self, name: &str) -> Self {
        let key = KeyPair::from_pem(&self.key).unwrap();
        self.sign(&key, name);
        self
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::from_pem(self.chain.concat().as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// A client that trusts this root.
    pub(super) fn offer(&self) -> Offer {
        Offer::new(X509::from_der(&self.root).unwrap())
    }
}

/// What a worker does, for one client.
pub(super) struct Host {
    pub(super) identities: Arc<Identities>,
    acceptor: Acceptor,
    cookies: Cookies,
    pub(super) client: SocketAddr,
    pub(super) handshake: Option<Handshake>,
    pub(super) session: Option<Box<Session>>,
    /// Handshakes begun.
    pub(super) begun: u32,
    pub(super) failure: Option<Failure>,
    pub(super) closed: Option<Alert>,
    pub(super) data: Vec<Vec<u8>>,
}

impl Host {
    pub(super) fn new(authority: &Authority) -> Self {
        Self::with(vec![authority.identity()])
    }

    pub(super) fn with(identities: Vec<Identity>) -> Self {
        let identities = Arc::new(Identities::new(identities).unwrap());
        Self {
            acceptor: Acceptor::new(&identities).unwrap(),
            identities,
            cookies: Cookies::new([1; 32]),
            client: "198.51.100.7:1000".parse().unwrap(),
            handshake: None,
            session: None,
            begun: 0,
            failure: None,
            closed: None,
            data: Vec::new(),
        }
    }

    /// As if the client had never been there.
    pub(super) fn forget(&mut self) {
        (self.handshake, self.session) = (None, None);
    }

    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("an association")
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.handshake.as_ref().map(Handshake::deadline)
    }

    pub(super) fn tick(&mut self, now: Mono, out: &mut Vec<Vec<u8>>) {
        if self.deadline().is_some_and(|deadline| deadline <= now)
            && let Some(handshake) = &mut self.handshake
        {
            handshake.repeat(now);
            out.extend(handshake.transmit().map(<[u8]>::to_vec));
        }
    }

    pub(super) fn receive(&mut self, now: Mono, datagram: &[u8], out: &mut Vec<Vec<u8>>) {
        match ClientHello::parse(datagram) {
            Some(hello) => self.hello(now, datagram, &hello, out),
            None => match &mut self.handshake {
                Some(handshake) => handshake.push(now, datagram),
                None => return self.records(datagram, out),
            },
        }
        let Some(handshake) = &mut self.handshake else {
            return;
        };
        let progress = handshake.advance(now);
        out.extend(handshake.transmit().map(<[u8]>::to_vec));
        match progress {
            Ok(Progress::Waiting) => return,
            Ok(Progress::Complete(session)) => self.session = Some(session),
            Err(failure) => self.failure = Some(failure),
        }
        self.handshake = None;
    }

    fn hello(
        &mut self,
        now: Mono,
        datagram: &[u8],
        hello: &ClientHello<'_>,
        out: &mut Vec<Vec<u8>>,
    ) {
        let server = "203.0.113.1:5349".parse().unwrap();
        if !self.cookies.admits(now, self.client, server, hello) {
            let mut answer = [0; VERIFY_REQUEST_MAX];
            let cookie = self.cookies.mint(now, self.client, server, hello);
            let length = hello.verify_request(&cookie, &mut answer);
            out.push(answer[..length].to_vec());
        } else if let Some(handshake) = &mut self.handshake
            && handshake.began_with(hello.random)
        {
            handshake.push(now, datagram);
        } else if !self.session.as_ref().is_some_and(|it| it.began_with(hello.random))
            && self.failure.is_none()
            && let Ok(handshake) = Handshake::new(&self.acceptor, now, datagram)
        {
            self.begun += 1;
            self.handshake = Some(handshake);
        }
    }

    fn records(&mut self, datagram: &[u8], out: &mut Vec<Vec<u8>>) {
        let Some(session) = &mut self.session else {
            return;
        };
        let mut datagram = datagram.to_vec();
        let mut records = Records::new();
        while let Some((header, place)) = records.next(&datagram) {
            if header.is_plain() {
                continue;
            }
            let record = &mut datagram[place];
            match session.open(header, record) {
                Ok(Content::Data(place)) => self.data.push(record[place].to_vec()),
                Ok(Content::Repeated) => {
                    let mut flight = [0; LAST_FLIGHT_MAX];
                    let length = session.last_flight(&mut flight);
                    out.push(flight[..length].to_vec());
                }
                Ok(Content::Closed(alert)) => self.closed = Some(alert),
                Ok(Content::Renegotiation | Content::Nothing) | Err(_) => {}
            }
        }
    }

    /// What the client has said since it was asked last.
    pub(super) fn take(&mut self, client: &mut Client) -> Vec<Vec<u8>> {
        for datagram in client.take_output() {
            self.records(&datagram, &mut Vec::new());
        }
        std::mem::take(&mut self.data)
    }

    /// Says something to the client.
    pub(super) fn say(&mut self, client: &mut Client, words: &[u8]) {
        let session = self.session();
        let mut record = vec![0; session.record_len(words.len()).unwrap()];
        let prefix = session.prefix();
        record[prefix..prefix + words.len()].copy_from_slice(words);
        assert!(session.seal(&mut record));
        client.receive(&record);
    }

    pub(super) fn alert(&mut self, client: &mut Client, alert: Alert) {
        let mut record = [0; ALERT_MAX];
        let length = self.session().alert(alert, &mut record);
        client.receive(&record[..length]);
    }
}
