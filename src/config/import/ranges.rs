//! Ranges of addresses, as coturn writes them, to prefixes.

use std::net::IpAddr;

use crate::turn::Prefix;

/// Addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    v4: bool,
    first: u128,
    last: u128,
}

/// `ADDRESS` or `FIRST-LAST`; `None` for all else, as for the ends the wrong way round.
pub(super) fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let same_family = first.is_ipv4() == last.is_ipv4();
    (same_family && first <= last).then(|| Range {
        v4: first.is_ipv4(),
        first: bits(first),
        last: bits(last),
    })
}

impl Range {
    /// The fewest prefixes that hold these addresses and no others.
    pub(super) fn prefixes(self) -> Vec<Prefix> {
        let (width, mut found, mut next) = (self.width(), Vec::new(), self.first);
        loop {
            // The largest block that begins here and does not go beyond the end.
            let mut zeros = next.trailing_zeros().min(width);
            while zeros > 0 && self.last - next < block(zeros) {
                zeros -= 1;
            }
            let length = (width - zeros) as u8;
            // No bits stand behind `length`, which is at most the family's.
            found.extend(Prefix::new(address(self.v4, next), length));
            match next.checked_add(block(zeros)).and_then(|end| end.checked_add(1)) {
                Some(following) if following <= self.last => next = following,
                _ => return found,
            }
        }
    }

    /// What is left without the addresses of the others.
    pub(super) fn without(self, others: &[Self]) -> Vec<Self> {
        let mut left = vec![self];
        for other in others.iter().filter(|other| other.v4 == self.v4) {
            left = left.into_iter().flat_map(|part| part.without_one(other)).collect();
        }
        left
    }

    fn without_one(self, other: &Self) -> impl Iterator<Item = Self> {
        let before = (self.first < other.first)
            .then(|| Self { last: self.last.min(other.first - 1), ..self });
        let after = (self.last > other.last)
            .then(|| Self { first: self.first.max(other.last + 1), ..self });
        before.into_iter().chain(after)
    }

    const fn width(self) -> u32 {
        if self.v4 { 32 } else { 128 }
    }
}

/// How many addresses follow the first one of a block with so many free bits.
const fn block(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX >> (128 - bits) }
}

const fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits() as u128,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(v4: bool, bits: u128) -> IpAddr {
    if v4 { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixes(text: &str) -> Vec<String> {
        range(text).unwrap().prefixes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_of_the_guides_are_single_prefixes() {
        assert_eq!(prefixes("10.0.0.0-10.255.255.255"), ["10.0.0.0/8"]);
        assert_eq!(prefixes("172.16.0.0-172.31.255.255"), ["172.16.0.0/12"]);
        assert_eq!(prefixes("192.0.2.7"), ["192.0.2.7/32"]);
        assert_eq!(prefixes("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(prefixes("fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["fc00::/7"]);
        assert_eq!(prefixes("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(prefixes("255.255.255.255"), ["255.255.255.255/32"]);
    }

    #[test]
    fn others_are_split() {
        let split = ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/30", "10.0.0.8/31", "10.0.0.10/32"];
        assert_eq!(prefixes("10.0.0.1-10.0.0.10"), split);
        assert_eq!(prefixes("::1-::2"), ["::1/128", "::2/128"]);
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in ["", "-", "10.0.0.0/8", "10.0.0.2-10.0.0.1", "10.0.0.1-::2", "host", "1.2.3.4-"]
        {
            assert_eq!(range(text), None, "{text}");
        }
    }

    fn any_range() -> impl Strategy<Value = Range> {
        // Near the edges and in the middle, so that ranges touch and overlap.
        let v4 = prop_oneof![0..64_u32, any::<u32>(), u32::MAX - 63..=u32::MAX];
        let v6 = prop_oneof![0..64_u128, any::<u128>(), u128::MAX - 63..=u128::MAX];
        let v4 = (v4.clone(), v4).prop_map(|(a, b)| (true, u128::from(a), u128::from(b)));
        let v6 = (v6.clone(), v6).prop_map(|(a, b)| (false, a, b));
        let ends = prop_oneof![v4, v6];
        ends.prop_map(|(v4, a, b)| Range { v4, first: a.min(b), last: a.max(b) })
    }

    fn holds(range: &Range, ip: IpAddr) -> bool {
        range.v4 == ip.is_ipv4() && range.first <= bits(ip) && bits(ip) <= range.last
    }

    proptest! {
        #[test]
        fn prefixes_hold_the_range_and_nothing_else(range in any_range(), at in any::<u128>()) {
            let prefixes = range.prefixes();
            let held = |bits| {
                let ip = address(range.v4, bits);
                prefixes.iter().filter(|prefix| prefix.contains(ip)).count()
            };
            let most = if range.v4 { u128::from(u32::MAX) } else { u128::MAX };
            let inside = range.first + at.checked_rem(range.last - range.first).unwrap_or(0);
            prop_assert_eq!((held(range.first), held(inside), held(range.last)), (1, 1, 1));
            if range.first > 0 {
                prop_assert_eq!(held(range.first - 1), 0);
            }
            if range.last < most {
                prop_assert_eq!(held(range.last + 1), 0);
            }
            // The fewest: never more than two of a length.
            prop_assert!(prefixes.len() <= 2 * range.width() as usize);
        }

        #[test]
        fn what_is_taken_away_is_gone_and_nothing_else(
            range in any_range(),
            others in prop::collection::vec(any_range(), 0..4),
            at in any::<prop::sample::Index>(),
        ) {
            let left = range.without(&others);
            let mut edges = vec![range.first, range.last];
            for other in &others {
                edges.extend([other.first.saturating_sub(1), other.first, other.last]);
                edges.push(other.last.saturating_add(1));
            }
            let ip = address(range.v4, edges[at.index(edges.len())]);
            let expected = holds(&range, ip) && !others.iter().any(|other| holds(other, ip));
            prop_assert_eq!(left.iter().any(|part| holds(part, ip)), expected);
        }
    }
}
