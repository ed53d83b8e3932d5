//! The ports of the clients, one after the other.

use std::fs;

/// Linux's own choice where it does not say.
const USUAL: (u16, u16) = (32_768, 60_999);

/// Walks through the ports that this host gives to clients, so that each stays unused for as long as possible: servers
/// remember the address of an allocation for a while after its end (coturn: about two seconds), and refuse a new one.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    last: u16,
    next: u16,
}

impl Ports {
    /// Begins somewhere: at another place than the last run, most likely.
    pub(super) fn new(random: u32) -> Self {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let range = text.ok().and_then(|text| {
            let mut ends = text.split_whitespace().map(str::parse::<u16>);
            Some((ends.next()?.ok()?, ends.next()?.ok()?))
        });
        Self::between(range.filter(|(first, last)| first <= last).unwrap_or(USUAL), random)
    }

    fn between((first, last): (u16, u16), random: u32) -> Self {
        let count = u32::from(last - first) + 1;
        Self { first, last, next: first + (random % count) as u16 }
    }

    /// How many there are.
    pub(super) const fn count(&self) -> u32 {
        (self.last - self.first) as u32 + 1
    }

    /// The next port, which somebody may have.
    pub(super) const fn take(&mut self) -> u16 {
        let port = self.next;
        self.next = if port == self.last { self.first } else { port + 1 };
        port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_its_turn_before_one_comes_again() {
        for random in [0, 3, u32::MAX] {
            let mut ports = Ports::between((65_531, 65_535), random);
            let mut round: Vec<u16> = (0..5).map(|_| ports.take()).collect();
            assert_eq!(round[0], ports.take());
            round.sort_unstable();
            assert_eq!(round, [65_531, 65_532, 65_533, 65_534, 65_535]);
        }
    }
}
