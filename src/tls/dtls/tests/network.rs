use std::collections::BTreeMap;
use std::time::Duration;

use super::{Client, Host};
use crate::time::Mono;

/// What a network does to datagrams: probabilities, and the longest delay.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    pub(super) loss: f64,
    pub(super) double: f64,
    pub(super) damage: f64,
    pub(super) delay: Duration,
}

impl Weather {
    pub(super) const FINE: Self =
        Self { loss: 0.0, double: 0.0, damage: 0.0, delay: Duration::from_millis(1) };
}

/// Datagrams on their way between a client and a server.
pub(super) struct Network {
    weather: Weather,
    random: u64,
    now: Mono,
    count: u64,
    /// By arrival; whether it goes to the server.
    travelling: BTreeMap<(Mono, u64), (bool, Vec<u8>)>,
    /// What the server has sent, whatever has become of it.
    pub(super) from_server: Vec<Vec<u8>>,
    pub(super) from_client: Vec<Vec<u8>>,
}

impl Network {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            weather,
            random: seed,
            now: Mono::default(),
            count: 0,
            travelling: BTreeMap::new(),
            from_server: Vec::new(),
            from_client: Vec::new(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now.since(Mono::default())
    }

    /// Lets both sides talk until all is said; true when both then have the association.
    pub(super) fn run(&mut self, client: &mut Client, host: &mut Host, limit: Duration) -> bool {
        self.send(true, client.advance());
        let end = Mono::default() + limit;
        // RFC 6347 §4.2.4.1, as OpenSSL does it by the wall clock.
        let mut repeat = (Mono::default() + Duration::from_secs(1), 1);
        loop {
            let complete = client.complete && host.session.is_some();
            let over = complete || client.error.is_some() || host.failure.is_some();
            let arrival = self.travelling.first_key_value().map(|((at, _), _)| *at);
            let timers = [(!client.complete).then_some(repeat.0), host.deadline()];
            let timers = timers.into_iter().flatten().filter(|_| !over);
            let Some(next) = arrival.into_iter().chain(timers).min().filter(|at| *at <= end) else {
                return complete;
            };
            self.now = next.max(self.now);
            if arrival.is_some_and(|at| at <= self.now) && self.deliver(client, host) {
                repeat = (self.now + Duration::from_secs(1), 1);
            }
            if repeat.0 <= self.now && !over {
                repeat = (self.now + Duration::from_secs(2 * repeat.1), 2 * repeat.1);
                self.send(true, client.repeat());
            }
            let mut output = Vec::new();
            host.tick(self.now, &mut output);
            self.send(false, output);
        }
    }

    /// True when the client has begun another flight.
    fn deliver(&mut self, client: &mut Client, host: &mut Host) -> bool {
        let Some((_, (to_server, datagram))) = self.travelling.pop_first() else {
            return false;
        };
        if to_server {
            let mut output = Vec::new();
            host.receive(self.now, &datagram, &mut output);
            self.send(false, output);
            return false;
        }
        client.receive(&datagram);
        let flight = client.advance();
        let begun = !flight.is_empty();
        self.send(true, flight);
        begun
    }

    fn send(&mut self, to_server: bool, datagrams: Vec<Vec<u8>>) {
        for mut datagram in datagrams {
            let all = if to_server { &mut self.from_client } else { &mut self.from_server };
            all.push(datagram.clone());
            if self.chance(self.weather.loss) {
                continue;
            }
            let copies = 1 + usize::from(self.chance(self.weather.double));
            if self.chance(self.weather.damage) {
                let place = self.next() as usize % datagram.len();
                datagram[place] ^= 1 << (self.next() % 8);
            }
            for _ in 0..copies {
                let most = self.weather.delay.as_micros() as u64;
                let at = self.now + Duration::from_micros(self.next() % most.max(1));
                self.count += 1;
                self.travelling.insert((at, self.count), (to_server, datagram.clone()));
            }
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        (self.next() as f64) < probability * u64::MAX as f64
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
