//! A small TURN client that makes packets and reads answers.

use std::net::SocketAddr;

use super::{LISTENER, LISTENER_V6, Random, Response, TestServer};
use turnwire::auth::{Algorithm, Key, prepare, userhash};
use turnwire::stun::{
    ChannelNumber, Digest, Kind, Method, TransactionId, Writer, attribute, write_channel_header,
};
use turnwire::turn::{Client, FiveTuple, Transport};

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// PASSWORD-ALGORITHM, with the server's list beside it; `None` sends neither.
    pub(crate) algorithm: Option<Algorithm>,
    /// MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256.
    pub(crate) digest: Digest,
    /// The length that the integrity is cut to.
    pub(crate) keep: usize,
    /// USERHASH instead of USERNAME.
    pub(crate) userhash: bool,
    pub(crate) fingerprint: bool,
}

impl Style {
    /// RFC 5389: MD5 and HMAC-SHA1.
    pub(crate) const MD5: Self = Self {
        algorithm: None,
        digest: Digest::Sha1,
        keep: 20,
        userhash: false,
        fingerprint: false,
    };
    /// RFC 8489 with SHA-256 throughout.
    pub(crate) const SHA256: Self = Self {
        algorithm: Some(Algorithm::Sha256),
        digest: Digest::Sha256,
        keep: 32,
        userhash: false,
        fingerprint: true,
    };
    /// The same without showing the name.
    pub(crate) const USERHASH: Self = Self { userhash: true, ..Self::SHA256 };

    pub(crate) const fn truncated(keep: usize) -> Self {
        Self { keep, ..Self::SHA256 }
    }
}

/// A client with what it has learnt from the server.
#[derive(Clone)]
pub(crate) struct TestClient {
    pub(crate) client: Client,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) style: Style,
    pub(crate) realm: Option<String>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) algorithms: Option<Vec<u8>>,
    random: Random,
    /// Deriving is the dear part: the key of this algorithm, name, realm and password.
    derived: Option<(Algorithm, [String; 3], Key)>,
}

impl TestClient {
    /// A client on UDP.
    pub(crate) fn new(address: &str, username: &str, password: &str) -> Self {
        Self::over(Transport::Udp, address, username, password)
    }

    pub(crate) fn over(
        transport: Transport,
        address: &str,
        username: &str,
        password: &str,
    ) -> Self {
        let client: SocketAddr = address.parse().expect("an address");
        let server = if client.is_ipv4() { LISTENER } else { LISTENER_V6 };
        let tuple = FiveTuple { transport, client, server };
        Self {
            client: Client { tuple, leg: 1 },
            username: username.to_owned(),
            password: password.to_owned(),
            style: Style::MD5,
            realm: None,
            nonce: None,
            algorithms: None,
            random: Random::new(u64::from(client.port()) + 1),
            derived: None,
        }
    }

    /// The same user from another port: a new 5-tuple that knows nothing yet.
    pub(crate) fn sibling(&self, address: &str) -> Self {
        let transport = self.client.tuple.transport;
        Self { style: self.style, ..Self::over(transport, address, &self.username, &self.password) }
    }

    pub(crate) fn with(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The key that it signs with.
    pub(crate) fn key(&mut self) -> Key {
        let algorithm = self.style.algorithm.unwrap_or(Algorithm::Md5);
        let name = prepare(&self.username).map_or_else(String::new, |name| name.into_owned());
        let password = prepare(&self.password).map_or_else(String::new, |text| text.into_owned());
        let texts = [name, self.realm.clone().unwrap_or_default(), password];
        if let Some((known, of, key)) = &self.derived
            && *known == algorithm
            && *of == texts
        {
            return key.clone();
        }
        let key = Key::derive(algorithm, &texts[0], &texts[1], &texts[2]);
        self.derived = Some((algorithm, texts, key.clone()));
        key
    }

    pub(crate) fn new_id(&mut self) -> TransactionId {
        TransactionId::new(self.random.array())
    }

    /// A request as its owner would send it: signed once a challenge has been received.
    pub(crate) fn build(&mut self, method: Method, fill: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
        let id = self.new_id();
        self.build_with(&id, method, fill)
    }

    pub(crate) fn build_with(
        &mut self,
        id: &TransactionId,
        method: Method,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Vec<u8> {
        let key = self.key();
        let mut buffer = vec![0; 4096];
        let mut writer = Writer::new(&mut buffer, Kind::request(method), id);
        fill(&mut writer);
        self.sign(&mut writer, &key);
        if self.style.fingerprint {
            writer.fingerprint();
        }
        let length = writer.finish().expect("it fits");
        buffer.truncate(length);
        buffer
    }

    /// Appends the attributes of RFC 8489 §9.2.3.2 and the integrity.
    pub(crate) fn sign(&self, writer: &mut Writer<'_>, key: &Key) {
        let (Some(realm), Some(nonce)) = (&self.realm, &self.nonce) else {
            return;
        };
        let name = prepare(&self.username).unwrap_or_default();
        if self.style.userhash {
            writer.attribute(attribute::USERHASH, &userhash(&name, realm));
        } else {
            writer.attribute(attribute::USERNAME, name.as_bytes());
        }
        writer.attribute(attribute::REALM, realm.as_bytes());
        writer.attribute(attribute::NONCE, nonce);
        if let (Some(algorithm), Some(list)) = (self.style.algorithm, &self.algorithms) {
            let value = u32::from(algorithm.code()) << 16;
            writer.number(attribute::PASSWORD_ALGORITHM, value);
            writer.attribute(attribute::PASSWORD_ALGORITHMS, list);
        }
        writer.integrity_truncated(key.mac(self.style.digest), self.style.keep);
    }

    /// Takes what a 401 or 438 says.
    pub(crate) fn learn(&mut self, response: &Response) {
        if let Some(realm) = response.get(attribute::REALM) {
            self.realm = Some(String::from_utf8(realm.to_vec()).expect("UTF-8"));
        }
        if let Some(nonce) = response.get(attribute::NONCE) {
            self.nonce = Some(nonce.to_vec());
            self.algorithms = response.get(attribute::PASSWORD_ALGORITHMS).map(<[u8]>::to_vec);
        }
    }

    /// Asks, and asks again when challenged. A success must be signed with the client's key.
    pub(crate) fn request(
        &mut self,
        server: &mut TestServer,
        method: Method,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Response {
        let knew = self.nonce.is_some();
        let packet = self.build(method, &fill);
        let mut response = server.ask(&self.client, &packet);
        let challenged = response.code() == 438 || (response.code() == 401 && !knew);
        if challenged {
            self.learn(&response);
            let packet = self.build(method, &fill);
            response = server.ask(&self.client, &packet);
        }
        if response.success() {
            let key = self.key();
            assert!(response.signed(&key).is_some(), "an unsigned success response");
        }
        response
    }

    pub(crate) fn allocate(&mut self, server: &mut TestServer) -> Response {
        self.request(server, Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        })
    }

    /// An allocation that relays TCP (RFC 6062).
    pub(crate) fn allocate_tcp(&mut self, server: &mut TestServer) -> Response {
        self.request(server, Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 6 << 24);
        })
    }

    pub(crate) fn refresh(&mut self, server: &mut TestServer, lifetime: u32) -> Response {
        self.request(server, Method::REFRESH, |writer| {
            writer.number(attribute::LIFETIME, lifetime);
        })
    }

    pub(crate) fn permit(&mut self, server: &mut TestServer, peers: &[SocketAddr]) -> Response {
        self.request(server, Method::CREATE_PERMISSION, |writer| {
            for peer in peers {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, *peer);
            }
        })
    }

    pub(crate) fn bind(
        &mut self,
        server: &mut TestServer,
        number: u16,
        peer: SocketAddr,
    ) -> Response {
        self.request(server, Method::CHANNEL_BIND, |writer| {
            writer.number(attribute::CHANNEL_NUMBER, u32::from(number) << 16);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        })
    }
}

/// A Send indication.
pub(crate) fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; data.len() + 80];
    let id = TransactionId::new([9; 12]);
    let mut writer = Writer::new(&mut buffer, Kind::indication(Method::SEND), &id);
    writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
    writer.attribute(attribute::DATA, data);
    let length = writer.finish().expect("it fits");
    buffer.truncate(length);
    buffer
}

/// A ChannelData message as it is on UDP: without padding.
pub(crate) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let mut header = [0; 4];
    let number = ChannelNumber::new(number).expect("a channel number");
    write_channel_header(&mut header, number, data.len() as u16);
    [&header, data].concat()
}
