use std::collections::VecDeque;

use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContextBuilder, SslMethod, SslStream, SslVerifyMode,
    SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use super::super::ffi;
use super::super::handshake::Pipe;
use super::super::keys::{Key, Secrets};
use super::super::record::{HANDSHAKE, Records};

/// What a client offers, and what it insists on.
#[derive(Clone)]
pub(super) struct Offer {
    root: X509,
    suites: &'static str,
    groups: &'static str,
    protocols: &'static [u8],
    version: SslVersion,
    name: Option<&'static str>,
}

impl Offer {
    pub(super) fn new(root: X509) -> Self {
        Self {
            root,
            suites: "DEFAULT",
            groups: "X25519:P-256",
            protocols: &[],
            version: SslVersion::DTLS1_2,
            name: Some("one.example"),
        }
    }

    pub(super) const fn suites(mut self, suites: &'static str) -> Self {
        self.suites = suites;
        self
    }

    pub(super) const fn groups(mut self, groups: &'static str) -> Self {
        self.groups = groups;
        self
    }

    pub(super) const fn protocols(mut self, protocols: &'static [u8]) -> Self {
        self.protocols = protocols;
        self
    }

    /// At most DTLS 1.0, which takes a lower level of security.
    pub(super) const fn version_1_0(mut self) -> Self {
        self.version = SslVersion::DTLS1;
        self.suites("ALL:@SECLEVEL=0")
    }

    pub(super) const fn name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    pub(super) const fn nameless(mut self) -> Self {
        self.name = None;
        self
    }

    fn session(&self) -> Ssl {
        let mut context = SslContextBuilder::new(SslMethod::dtls_client()).unwrap();
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(self.root.clone()).unwrap();
        context.set_verify_cert_store(store.build()).unwrap();
        context.set_verify(SslVerifyMode::PEER);
        context.set_cipher_list(self.suites).unwrap();
        context.set_groups_list(self.groups).unwrap();
        context.set_max_proto_version(Some(self.version)).unwrap();
        if !self.protocols.is_empty() {
            context.set_alpn_protos(self.protocols).unwrap();
        }
        let mut ssl = Ssl::new(&context.build()).unwrap();
        if let Some(name) = self.name {
            ssl.set_hostname(name).unwrap();
            ssl.param_mut().set_host(name).unwrap();
        }
        ssl.set_connect_state();
        ffi::stop_timer(&mut ssl);
        ssl
    }
}

/// OpenSSL's client, with a clock of ours.
pub(super) struct Client {
    stream: SslStream<Pipe>,
    pub(super) complete: bool,
    pub(super) error: Option<String>,
    flight: Vec<Vec<u8>>,
    /// The number of the next record in the clear.
    plain: u64,
    /// The number of the next Finished that is repeated: beyond those of the first data, and not
    /// so far beyond that these are taken for old.
    repeated: u64,
}

impl Client {
    pub(super) fn new(offer: &Offer) -> Self {
        let pipe = Pipe { input: VecDeque::new(), output: Vec::new() };
        let stream = SslStream::new(offer.session(), pipe).unwrap();
        Self { stream, complete: false, error: None, flight: Vec::new(), plain: 0, repeated: 64 }
    }

    pub(super) fn suite(&self) -> &'static str {
        self.stream.ssl().current_cipher().unwrap().name()
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        let protocol = self.stream.ssl().selected_alpn_protocol()?;
        std::str::from_utf8(protocol).ok()
    }

    /// Certificates in the server's verified chain, the root among them.
    pub(super) fn depth(&self) -> usize {
        self.stream.ssl().verified_chain().map_or(0, |chain| chain.len())
    }

    pub(super) fn receive(&mut self, datagram: &[u8]) {
        self.stream.get_mut().input.push_back(datagram.to_vec());
    }

    /// Goes on with the handshake, and returns what it sends.
    pub(super) fn advance(&mut self) -> Vec<Vec<u8>> {
        if self.complete || self.error.is_some() {
            // Repetitions of the server's are read away.
            self.read();
            return Vec::new();
        }
        match self.stream.do_handshake() {
            Ok(()) => self.complete = true,
            Err(error) if error.code() == ErrorCode::WANT_READ => {}
            Err(error) => self.error = Some(error.to_string()),
        }
        let output = self.take_output();
        if !output.is_empty() {
            self.flight = output;
            self.number();
            return self.flight.clone();
        }
        Vec::new()
    }

    /// The last flight in new records.
    pub(super) fn repeat(&mut self) -> Vec<Vec<u8>> {
        self.number();
        let Some(key) = self.key() else {
            return self.flight.clone();
        };
        let mut flight = self.flight.clone();
        for datagram in &mut flight {
            let mut records = Records::new();
            while let Some((header, place)) = records.next(datagram) {
                if !header.is_plain() {
                    key.open(header, &mut datagram[place.clone()]).unwrap();
                    key.seal(HANDSHAKE, self.repeated, &mut datagram[place]).unwrap();
                    self.repeated += 1;
                }
            }
        }
        flight
    }

    fn number(&mut self) {
        for datagram in &mut self.flight {
            let mut records = Records::new();
            while let Some((header, place)) = records.next(datagram) {
                if header.is_plain() {
                    datagram[place][5..11].copy_from_slice(&self.plain.to_be_bytes()[2..]);
                    self.plain += 1;
                }
            }
        }
    }

    /// What it encrypts with, as soon as that is known.
    fn key(&self) -> Option<Key> {
        let ssl = self.stream.ssl();
        let (mut client_random, mut server_random) = ([0; 32], [0; 32]);
        let mut master = [0; 48];
        ssl.client_random(&mut client_random);
        ssl.server_random(&mut server_random);
        if ssl.session()?.master_key(&mut master) != 48 {
            return None;
        }
        let secrets = Secrets {
            suite: ssl.current_cipher()?.protocol_id(),
            master: &master,
            client_random: &client_random,
            server_random: &server_random,
        };
        secrets.keys().map(|[client, _]| client)
    }

    pub(super) fn write(&mut self, words: &[u8]) {
        assert_eq!(self.stream.ssl_write(words).unwrap(), words.len());
    }

    pub(super) fn take_output(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.stream.get_mut().output)
    }

    /// The next data.
    pub(super) fn read(&mut self) -> Option<Vec<u8>> {
        let mut words = vec![0; 20_000];
        let length = self.stream.ssl_read(&mut words).ok()?;
        words.truncate(length);
        Some(words)
    }

    pub(super) fn close(&mut self) {
        self.stream.shutdown().unwrap();
    }

    pub(super) fn is_closed(&mut self) -> bool {
        self.read();
        self.stream.get_shutdown().contains(ShutdownState::RECEIVED)
    }
}
