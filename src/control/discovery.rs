//! NAT behaviour discovery (RFC 5780): beside which listener a second address stands, and how the
//! two are known outside.

use std::net::{IpAddr, SocketAddr};

use super::addresses::{AdvertisedReason, Facts, advertise};
use super::error::StartError;
use crate::config::External;
use crate::turn::{Discovery, RelayAddress};
use crate::worker::Alternate;

/// Finds the first address and port for each second one: a listener's on an address of its own, or
/// else a wildcard's on the address that is relayed from.
pub(super) fn alternates(
    seconds: &[SocketAddr],
    listeners: &[SocketAddr],
    relays: &[RelayAddress],
    facts: &Facts,
) -> Result<Vec<Alternate>, StartError> {
    let find = |second: &SocketAddr| {
        let beside = |listener: &SocketAddr| {
            listener.is_ipv4() == second.is_ipv4()
                && (listener.port() == 0 || listener.port() != second.port())
        };
        let usable = || listeners.iter().enumerate().filter(|(_, listener)| beside(listener));
        let alike = |ip: IpAddr| ip.is_loopback() == second.ip().is_loopback();
        let own = || usable().filter(|(_, it)| !it.ip().is_unspecified() && it.ip() != second.ip());
        let own = own().find(|(_, listener)| alike(listener.ip())).or_else(|| own().next());
        if let Some((listener, address)) = own {
            return Ok(Alternate { listener, first: address.ip(), second: *second });
        }
        let (listener, _) = usable()
            .find(|(_, listener)| listener.ip().is_unspecified())
            .ok_or(StartError::NoFirst(*second))?;
        let known = relays.iter().map(|relay| relay.local);
        let interfaces = facts.interfaces.iter().filter(|entry| entry.up).map(|entry| entry.addr);
        let candidates: Vec<_> = known
            .chain(interfaces)
            .filter(|ip| ip.is_ipv4() == second.is_ipv4() && *ip != second.ip())
            .collect();
        let first = candidates.iter().find(|ip| alike(**ip)).ok_or(StartError::NoFirst(*second))?;
        Ok(Alternate { listener, first: *first, second: *second })
    };
    seconds.iter().map(find).collect()
}

/// How what was bound is known outside. `reflexive` asks a STUN server.
pub(super) fn advertised(
    bound: &[(SocketAddr, SocketAddr)],
    relays: &[RelayAddress],
    external: &[External],
    reflexive: impl Fn(IpAddr) -> Option<Result<IpAddr, String>>,
) -> Result<Vec<Discovery>, StartError> {
    let outside = |ip: IpAddr| match relays.iter().find(|relay| relay.local == ip) {
        Some(relay) => (relay.advertised, None),
        None => {
            let (advertised, why) = advertise(ip, external, &reflexive);
            let unknown = matches!(why, AdvertisedReason::Unknown(_)) && !ip.is_loopback();
            (advertised, unknown.then_some(ip))
        }
    };
    let mut found = Vec::new();
    for (first, second) in bound {
        let ips = [first.ip(), second.ip()];
        let [known_first, known_second] = ips.map(outside);
        if known_first.0 == known_second.0 {
            return Err(StartError::SameOutside(known_first.0, ips[0], ips[1]));
        }
        for unknown in [known_first.1, known_second.1].into_iter().flatten() {
            tracing::warn!(
                event = "external_address_unknown",
                local = %unknown,
                "{unknown} is not a public address and no external one is known: clients outside \
                 of this network are told an address for NAT discovery that they cannot reach; \
                 give the public address with --external-ip PUBLIC/{unknown}",
            );
        }
        found.push(Discovery {
            local: ips,
            advertised: [known_first.0, known_second.0],
            ports: [first.port(), second.port()],
        });
    }
    Ok(found)
}

/// Says where discovery is served.
pub(super) fn report(all: &[Discovery]) {
    for Discovery { local, advertised, ports } in all {
        tracing::info!(
            event = "nat_discovery",
            first = %SocketAddr::new(local[0], ports[0]),
            second = %SocketAddr::new(local[1], ports[1]),
            advertised_first = %advertised[0],
            advertised_second = %advertised[1],
            "NAT behaviour discovery on two addresses and two ports; the firewall must let UDP \
             and TCP in on all four",
        );
    }
}

/// The four addresses as clients know them: no relay may send there.
pub(super) fn outside(all: &[Discovery]) -> impl Iterator<Item = SocketAddr> {
    all.iter().flat_map(|discovery| {
        let with = |ip| discovery.ports.map(|port| SocketAddr::new(ip, port));
        discovery.advertised.map(with).into_iter().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::InterfaceAddress;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn relay(local: &str, advertised: &str) -> RelayAddress {
        RelayAddress { local: local.parse().unwrap(), advertised: advertised.parse().unwrap() }
    }

    fn first(seconds: &str, listeners: &[&str]) -> Option<(usize, String)> {
        let interface = |addr: &str| InterfaceAddress {
            name: "eth0".to_owned(),
            addr: addr.parse().unwrap(),
            loopback: false,
            up: true,
        };
        let facts = Facts {
            interfaces: ["10.0.0.5", "10.0.0.6", "2600::5", "2600::6"].map(interface).into(),
            ..Facts::default()
        };
        let relays = [relay("10.0.0.5", "203.0.113.5")];
        let found = alternates(&addresses(&[seconds]), &addresses(listeners), &relays, &facts);
        found.ok().map(|found| (found[0].listener, found[0].first.to_string()))
    }

    #[test]
    fn the_first_address_is_a_listeners_of_the_family_with_another_address_and_port() {
        let listeners = ["[2600::5]:1", "127.0.0.1:1", "10.0.0.6:1", "10.0.0.5:2", "10.0.0.5:1"];
        assert_eq!(first("10.0.0.6:2", &listeners), Some((4, "10.0.0.5".into())));
        assert_eq!(first("127.0.0.2:2", &listeners), Some((1, "127.0.0.1".into())));
        assert_eq!(first("[2600::6]:2", &listeners), Some((0, "2600::5".into())));
        assert_eq!(first("10.0.0.5:1", &["10.0.0.5:2", "10.0.0.6:1"]), None);
        assert_eq!(first("[2600::6]:2", &["0.0.0.0:1"]), None);
    }

    #[test]
    fn a_wildcard_stands_for_the_address_that_is_relayed_from() {
        let any = ["0.0.0.0:3478", "[::]:3478"];
        assert_eq!(first("10.0.0.6:3479", &any), Some((0, "10.0.0.5".into())));
        // Nothing is relayed from an IPv6 address here: another one of the host.
        assert_eq!(first("[2600::5]:3479", &any), Some((1, "2600::6".into())));
        assert_eq!(first("10.0.0.5:3479", &any), Some((0, "10.0.0.6".into())));
    }

    #[test]
    fn behind_a_nat_each_address_is_known_by_its_own_outside() {
        let bound: (SocketAddr, SocketAddr) =
            ("10.0.0.5:3478".parse().unwrap(), "10.0.0.6:3479".parse().unwrap());
        let relays = [relay("10.0.0.5", "203.0.113.5")];
        let pair = |public: &str, private: Option<&str>| External {
            public: public.parse().unwrap(),
            private: private.map(|ip| ip.parse().unwrap()),
        };
        let known = |external: &[External]| advertised(&[bound], &relays, external, |_| None);
        let both = [pair("203.0.113.5", Some("10.0.0.5")), pair("203.0.113.6", Some("10.0.0.6"))];
        let found = known(&both).unwrap();
        let expected: [IpAddr; 2] =
            ["203.0.113.5", "203.0.113.6"].map(|text| text.parse().unwrap());
        assert_eq!((found[0].advertised, found[0].ports), (expected, [3478, 3479]));
        let outside: Vec<_> = outside(&found).map(|address| address.to_string()).collect();
        let all = ["203.0.113.5:3478", "203.0.113.5:3479", "203.0.113.6:3478", "203.0.113.6:3479"];
        assert_eq!(outside, all);
        // One address outside for both is not two addresses.
        let error = known(&[pair("203.0.113.5", None)]).unwrap_err();
        assert!(matches!(error, StartError::SameOutside(..)), "{error}");
    }
}
