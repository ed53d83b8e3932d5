//! What a simulated client does, and how it takes the answers.

use std::net::SocketAddr;
use std::time::Duration;

use super::shadow::Intent;
use crate::core::{Random, Response, Style, TestClient, channel_data, send_indication};
use turnwire::auth::{RestDigest, Secret, mint_password};
use turnwire::stun::{Method, Writer, attribute};
use turnwire::time::{Mono, Now};
use turnwire::turn::Transport;

/// The secret of ephemeral credentials.
pub(crate) const SECRET: &str = "north";
/// As many static users there are.
pub(crate) const USERS: u64 = 100;

const STYLES: [Style; 4] = [Style::MD5, Style::MD5, Style::SHA256, Style::truncated(24)];
const CHANNELS: u64 = 4;

/// The name and password of a static user.
pub(crate) fn user(number: u64) -> (String, String) {
    (format!("user{number}"), format!("password{number}"))
}

/// A request that has no answer yet.
struct Pending {
    id: [u8; 12],
    packet: Vec<u8>,
    intent: Intent,
    tries: u32,
}

/// A client with its habits.
pub(crate) struct SimClient {
    number: u64,
    pub(crate) wire: TestClient,
    /// When its ephemeral credential expires.
    pub(crate) expires: Option<u64>,
    /// The relayed address that it has, as far as it knows.
    relayed: Option<SocketAddr>,
    /// When it will have to refresh.
    refresh_at: Now,
    pending: Option<Pending>,
    /// How long it may do nothing, in seconds.
    pace: u64,
    /// It was told that there is no room, and asks again then.
    patient_until: Mono,
    generation: u64,
}

/// What a client does next.
pub(crate) enum Deed {
    Nothing,
    Transmit(Vec<u8>, Intent),
    /// Its TCP connection breaks.
    Disconnect,
}

impl SimClient {
    pub(crate) fn new(number: u64, now: Now, random: &mut Random) -> Self {
        let mut client = Self {
            number,
            wire: TestClient::new("198.18.0.1:1", "", ""),
            expires: None,
            relayed: None,
            refresh_at: now,
            pending: None,
            pace: random.between(100, 1500),
            patient_until: now.mono,
            generation: 0,
        };
        client.start_anew(now, random);
        client
    }

    /// From a new port, with a new credential, knowing nothing.
    fn start_anew(&mut self, now: Now, random: &mut Random) {
        self.generation += 1;
        let transport = if self.number.is_multiple_of(5) { Transport::Tcp } else { Transport::Udp };
        // Eight clients share an address.
        let host = self.number / 8;
        let port = 1024 + (self.number % 8) * 4096 + self.generation % 4096;
        let address = if self.number.is_multiple_of(7) {
            format!("[2600:1:2:{host:x}::1]:{port}")
        } else {
            format!("66.1.{}.{}:{port}", host / 256, host % 256)
        };
        let (name, password);
        if self.number.is_multiple_of(3) {
            let until = now.unix + random.between(300, 7200);
            name = format!("{until}:guest{}", self.number % 50);
            password = mint_password(RestDigest::Sha1, &Secret::new(SECRET), &name);
            self.expires = Some(until);
        } else {
            (name, password) = user(self.number % USERS);
        }
        self.wire =
            TestClient::over(transport, &address, &name, &password).with(random.pick(&STYLES));
        self.wire.client.leg = self.number as u32;
        self.relayed = None;
        self.pending = None;
    }

    pub(crate) fn reliable(&self) -> bool {
        self.wire.client.tuple.transport.is_stream()
    }

    /// How long until it does something again.
    pub(crate) fn pause(&self, now: Now, random: &mut Random) -> Duration {
        match &self.pending {
            // RFC 8489 §6.2.1
            Some(pending) => Duration::from_millis(500 << pending.tries),
            None if now.mono < self.patient_until => self.patient_until.since(now.mono),
            // It is busy for a while, and then it is not.
            None if random.chance(60) => Duration::from_millis(random.between(200, 20_000)),
            None => Duration::from_millis(random.between(200, self.pace * 1000)),
        }
    }

    pub(crate) fn act(&mut self, now: Now, peers: &[SocketAddr], random: &mut Random) -> Deed {
        if let Some(pending) = &mut self.pending {
            pending.tries += 1;
            if pending.tries < 5 && !self.wire.client.tuple.transport.is_stream() {
                return Deed::Transmit(pending.packet.clone(), pending.intent.clone());
            }
            self.pending = None;
            return Deed::Nothing;
        }
        if now.mono < self.patient_until {
            return Deed::Nothing;
        }
        if self.relayed.is_none() {
            return self.allocate(random);
        }
        if now.mono >= self.refresh_at.mono && random.chance(90) {
            return self.refresh(random.pick(&[600, 601, 1200, 3600, 5000]));
        }
        // Mostly it talks to one peer, on one channel.
        let favourite = self.number as usize % 3;
        let place =
            if random.chance(75) { favourite } else { random.below(peers.len() as u64) as usize };
        let peer = peers[place];
        let wild = random.chance(15);
        let number = 0x4000 + if wild { random.below(CHANNELS) as u16 } else { place as u16 };
        match random.below(100) {
            0..25 => self.data(random, peer),
            25..50 => {
                let length = random.below(60) as usize;
                Deed::Transmit(channel_data(number, &vec![1; length]), Intent::Data(number, length))
            }
            50..60 => {
                let peers = vec![peer; 1 + random.below(2) as usize];
                self.request(Method::CREATE_PERMISSION, Intent::Permit(peers))
            }
            60..75 => self.request(Method::CHANNEL_BIND, Intent::Bind(number, peer)),
            78..82 => self.refresh(600),
            82..85 => self.refresh(0),
            85 => {
                // It is gone without a word, and comes back as another.
                self.start_anew(now, random);
                Deed::Nothing
            }
            86 if self.reliable() => Deed::Disconnect,
            _ => Deed::Nothing,
        }
    }

    fn data(&self, random: &mut Random, peer: SocketAddr) -> Deed {
        let length = random.below(60) as usize;
        Deed::Transmit(send_indication(peer, &vec![1; length]), Intent::Send(peer, length))
    }

    fn allocate(&mut self, random: &mut Random) -> Deed {
        let (pair, dual) = (random.chance(8), random.chance(10));
        let lifetime = random.chance(50).then(|| random.pick(&[1, 700, 1800, 9999]));
        self.ask(Method::ALLOCATE, Intent::Allocate, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
            if pair {
                writer.attribute(attribute::EVEN_PORT, &[0x80]);
            } else if dual {
                writer.number(attribute::ADDITIONAL_ADDRESS_FAMILY, 2 << 24);
            }
            if let Some(lifetime) = lifetime {
                writer.number(attribute::LIFETIME, lifetime);
            }
        })
    }

    fn refresh(&mut self, lifetime: u32) -> Deed {
        self.request(Method::REFRESH, Intent::Refresh(lifetime))
    }

    fn request(&mut self, method: Method, intent: Intent) -> Deed {
        let what = intent.clone();
        self.ask(method, intent, |writer| match &what {
            Intent::Refresh(lifetime) => writer.number(attribute::LIFETIME, *lifetime),
            Intent::Permit(peers) => {
                for peer in peers {
                    writer.xor_address(attribute::XOR_PEER_ADDRESS, *peer);
                }
            }
            Intent::Bind(number, peer) => {
                writer.number(attribute::CHANNEL_NUMBER, u32::from(*number) << 16);
                writer.xor_address(attribute::XOR_PEER_ADDRESS, *peer);
            }
            Intent::Allocate | Intent::Send(..) | Intent::Data(..) => {}
        })
    }

    fn ask(&mut self, method: Method, intent: Intent, fill: impl Fn(&mut Writer<'_>)) -> Deed {
        let id = self.wire.new_id();
        let packet = self.wire.build_with(&id, method, fill);
        let (id, intent) = (*id.bytes(), intent);
        self.pending =
            Some(Pending { id, packet: packet.clone(), intent: intent.clone(), tries: 0 });
        Deed::Transmit(packet, intent)
    }

    /// Takes a response; those that it does not wait for are ignored.
    pub(crate) fn take(&mut self, now: Now, response: &Response, random: &mut Random) {
        let waits = self.pending.take_if(|p| p.id == *response.id().bytes());
        let Some(pending) = waits else { return };
        match (response.code(), &pending.intent) {
            (0, Intent::Allocate | Intent::Refresh(1..)) => {
                let key = self.wire.key();
                assert!(response.signed(&key).is_some());
                if let Some(address) = response.relayed().first() {
                    self.relayed = Some(*address);
                }
                let half = u64::from(response.lifetime().expect("LIFETIME")) / 2;
                self.refresh_at = Now { mono: now.mono + Duration::from_secs(half), ..now };
            }
            (0, Intent::Refresh(0)) => self.relayed = None,
            (401, _) if self.wire.nonce.is_none() => self.wire.learn(response),
            (438, _) => self.wire.learn(response),
            // The allocation is gone, or was never known of; or the credential is over.
            (401 | 437, _) => self.start_anew(now, random),
            (486 | 508, _) => {
                self.patient_until = now.mono + Duration::from_secs(random.between(60, 1200));
            }
            _ => {}
        }
    }

    pub(crate) fn disconnect(&mut self, now: Now, random: &mut Random) {
        self.start_anew(now, random);
    }

    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        self.relayed
    }
}
