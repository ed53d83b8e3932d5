//! Requests: who asks, for what, with which proof.

use turnwire::auth::{Key, Token, TokenAlgorithm, TokenKey};
use turnwire::stun::{Digest, Kind, Method, Writer, attribute};
use turnwire::turn::ConnectionId;

use crate::harness::{Style, TestClient};
use crate::steps::{Ask, Extra, Sender};
use crate::{World, challenge, peer};

/// The last second that a token can be issued in: it has 48 bits for it.
const LATEST: u64 = (1 << 48) - 1;

/// What an authorization server gives to a client.
pub(crate) struct Grant {
    kid: &'static str,
    token: Vec<u8>,
    key: Key,
    /// The last second that it is good for, with the difference of clocks that is allowed.
    pub(crate) until: u64,
    number: u64,
}

impl Grant {
    pub(crate) const SKEW: u64 = 5;

    /// The keys that authorization server and TURN server share.
    pub(crate) fn keys() -> [TokenKey; 2] {
        [("north", TokenAlgorithm::A256Gcm), ("south", TokenAlgorithm::A128Gcm)].map(
            |(kid, algorithm)| {
                let key = b"0123456789abcdef0123456789abcdef";
                TokenKey::new(kid, algorithm, &key[..]).expect("long enough")
            },
        )
    }

    pub(crate) fn new(second: bool, issued: u64, lifetime: u32, number: u64) -> Self {
        let mut mac_key = [7; 20];
        mac_key[..8].copy_from_slice(&number.to_be_bytes());
        let [north, south] = Self::keys();
        let key = if second { south } else { north };
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        let token = Token::seal(&key, crate::SERVER_NAME, nonce, &mac_key, issued, lifetime);
        Self {
            kid: if second { "south" } else { "north" },
            token: token.expect("48 bits of seconds"),
            key: Key::session(&mac_key).expect("20 bytes"),
            until: issued.saturating_add(u64::from(lifetime) + Self::SKEW),
            number,
        }
    }

    /// A request of a client that has the token, or has shown it before.
    fn request(
        &self,
        client: &mut TestClient,
        method: Method,
        with_token: bool,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Vec<u8> {
        let id = client.new_id();
        let mut buffer = vec![0; 4096];
        let mut writer = Writer::new(&mut buffer, Kind::request(method), &id);
        fill(&mut writer);
        if with_token {
            writer.attribute(attribute::ACCESS_TOKEN, &self.token);
        }
        if let (Some(realm), Some(nonce)) = (&client.realm, &client.nonce) {
            writer.attribute(attribute::USERNAME, self.kid.as_bytes());
            writer.attribute(attribute::REALM, realm.as_bytes());
            writer.attribute(attribute::NONCE, nonce);
            writer.integrity(self.key.mac(Digest::Sha1));
        }
        let length = writer.finish().expect("it fits");
        buffer.truncate(length);
        buffer
    }
}

impl World {
    pub(crate) fn request(&mut self, number: usize, sender: &Sender, ask: &Ask, extra: &Extra<'_>) {
        if matches!(sender, Sender::FreshNonce) {
            challenge(&mut self.server, &mut self.clients[number]);
        }
        let mut client = self.clients[number].clone();
        match sender {
            Sender::Owner | Sender::FreshNonce => {}
            Sender::Sha256 => client.style = Style::SHA256,
            Sender::Truncated => client.style = Style::truncated(16),
            Sender::Userhash => client.style = Style::USERHASH,
            Sender::Bob => (client.username, client.password) = ("bob".into(), "builder".into()),
            Sender::WrongPassword => client.password.push('x'),
            Sender::Unsigned => client.nonce = None,
            Sender::Token { second, age, lifetime } => self.grant(*second, *age, *lifetime),
            Sender::SessionKey => {}
            Sender::Stored(which) => {
                let name = if which & 1 == 0 { "carol" } else { "dave" };
                let password = if which & 2 == 0 { "old" } else { "new" };
                (client.username, client.password) = (name.into(), password.into());
            }
        }
        let method = match ask {
            Ask::Binding => Method::BINDING,
            Ask::Allocate { .. } => Method::ALLOCATE,
            Ask::Refresh { .. } => Method::REFRESH,
            Ask::CreatePermission { .. } => Method::CREATE_PERMISSION,
            Ask::ChannelBind { .. } => Method::CHANNEL_BIND,
            Ask::AllocateTcp { .. } => Method::ALLOCATE,
            Ask::Connect { .. } => Method::CONNECT,
            Ask::ConnectionBind { .. } => Method::CONNECTION_BIND,
            Ask::Method(number) => Method((*number).into()),
        };
        let (token, tickets) = (self.token, &self.tickets);
        let connection = match ask {
            Ask::ConnectionBind { which, .. } => {
                self.connection(*which).map_or(0, ConnectionId::get)
            }
            _ => 0,
        };
        let fill = |writer: &mut Writer<'_>| {
            put(writer, ask, &token, connection);
            match extra {
                Extra::Attribute(kind, value) => writer.attribute(*kind, value.0),
                Extra::Ticket(place) => {
                    let ticket = tickets.get(usize::from(place % 8)).map_or(&[][..], |it| it);
                    writer.attribute(attribute::MOBILITY_TICKET, ticket);
                }
                Extra::Nothing | Extra::Damage(..) => {}
            }
        };
        let mut packet = match sender {
            Sender::Token { .. } => self.grant.request(&mut client, method, true, fill),
            Sender::SessionKey => self.grant.request(&mut client, method, false, fill),
            _ => client.build(method, fill),
        };
        if let Extra::Damage(at, bits) = extra {
            let at = usize::from(*at) % packet.len();
            packet[at] ^= bits;
        }
        let until = matches!(sender, Sender::Token { .. }).then_some(self.grant.until);
        self.receive(number, &packet, until);
        self.sent[number] = packet;
    }

    /// An authorization server seals another token.
    fn grant(&mut self, second: bool, age: i16, lifetime: u16) {
        let issued = self.server.now.unix.saturating_add_signed(-i64::from(age)).min(LATEST);
        self.grant = Grant::new(second, issued, lifetime.into(), self.grant.number + 1);
    }
}

fn put(writer: &mut Writer<'_>, ask: &Ask, token: &[u8; 8], connection: u32) {
    let family = |writer: &mut Writer<'_>, code: u8| {
        if code % 4 != 0 {
            let value = u32::from(code % 4) << 24;
            writer.number(attribute::REQUESTED_ADDRESS_FAMILY, value);
        }
    };
    match ask {
        Ask::Binding | Ask::Method(_) => {}
        Ask::Allocate { even_port, family: code, additional, token: redeem, long } => {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            family(writer, *code);
            if *additional {
                writer.number(attribute::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
            }
            if let Some(reserve) = even_port {
                writer.attribute(attribute::EVEN_PORT, &[u8::from(*reserve) << 7]);
            }
            if *redeem {
                writer.attribute(attribute::RESERVATION_TOKEN, token);
            }
            if *long {
                writer.number(attribute::LIFETIME, u32::MAX);
            }
        }
        Ask::AllocateTcp { family: code, additional } => {
            writer.number(attribute::REQUESTED_TRANSPORT, 6 << 24);
            family(writer, *code);
            if *additional {
                writer.number(attribute::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
            }
        }
        Ask::Connect { peer: to } => {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(*to));
        }
        Ask::ConnectionBind { other, .. } => {
            writer.number(attribute::CONNECTION_ID, connection ^ u32::from(*other));
        }
        Ask::Refresh { lifetime, family: code } => {
            if let Some(lifetime) = lifetime {
                writer.number(attribute::LIFETIME, (*lifetime).into());
            }
            family(writer, *code);
        }
        Ask::CreatePermission { peers, count } => {
            for number in peers.iter().take(usize::from(count % 5)) {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(*number));
            }
        }
        Ask::ChannelBind { number, peer: to } => {
            writer.number(attribute::CHANNEL_NUMBER, (0x4000 + u32::from(number % 4)) << 16);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(*to));
        }
    }
}
