//! RFC 8656 §7: families of addresses, and ports that are reserved.

use turnwire::stun::{Method, attribute};

use super::saboteur::{Deed, xor};
use super::stun::{edit, refuse, succeed};
use super::{Broken, broken};

pub(crate) const BROKEN: &[Broken] = &[
    broken(
        "relays are of the other family",
        Deed::Response(|_, it, _| {
            if it.has(attribute::XOR_RELAYED_ADDRESS) {
                let four =
                    it.get(attribute::XOR_RELAYED_ADDRESS).is_some_and(|value| value[1] == 1);
                let other = if four { "[::1]:50000" } else { "127.0.0.1:50000" };
                let value = xor(other.parse().unwrap(), &it.id);
                it.put(attribute::XOR_RELAYED_ADDRESS, &value);
            }
        }),
        &["allocate.family-usual", "allocate.family-ipv4", "allocate.family-reserved"],
    ),
    broken(
        "IPv6 is IPv4",
        Deed::Request(|it, _| edit(it, attribute::REQUESTED_ADDRESS_FAMILY, |value| value[0] = 1)),
        &["allocate.family-ipv6", "allocate.family-unknown"],
    ),
    broken(
        "the family's reserved bits mean something",
        Deed::Response(|request, it, _| {
            if request.get(attribute::REQUESTED_ADDRESS_FAMILY).is_some_and(|value| value[1] != 0) {
                refuse(it, 400)
            }
        }),
        &["allocate.family-reserved"],
    ),
    broken(
        "additional families are ignored",
        Deed::Request(|it, _| it.drop(attribute::ADDITIONAL_ADDRESS_FAMILY)),
        &[
            "allocate.families-both",
            "allocate.additional-ipv4",
            "allocate.additional-ipv6",
            "allocate.token-additional",
            "allocate.reserve-additional",
        ],
    ),
    broken(
        "it is not said why there is one address",
        Deed::Response(|_, it, _| edit(it, attribute::ADDRESS_ERROR_CODE, |value| value[3] = 41)),
        &["allocate.additional-ipv6"],
    ),
    broken(
        "it is said that the address is missing that is there",
        Deed::Response(|_, it, _| edit(it, attribute::ADDRESS_ERROR_CODE, |value| value[0] = 1)),
        &["allocate.additional-ipv6"],
    ),
    broken(
        "one family is all or nothing",
        Deed::Response(|_, it, _| {
            if it.has(attribute::ADDRESS_ERROR_CODE) {
                refuse(it, 440)
            }
        }),
        &["allocate.additional-ipv6"],
    ),
    broken(
        "every port is odd",
        Deed::Response(|_, it, _| edit(it, attribute::XOR_RELAYED_ADDRESS, |value| value[3] |= 1)),
        &["allocate.even-port", "allocate.reserve"],
    ),
    broken(
        "nobody is told the token",
        Deed::Response(|_, it, _| it.drop(attribute::RESERVATION_TOKEN)),
        &["allocate.reserve"],
    ),
    broken(
        "no token is good for anything",
        Deed::Response(|request, it, _| {
            if request.has(attribute::RESERVATION_TOKEN) {
                refuse(it, 508)
            }
        }),
        &["allocate.reserved-taken"],
    ),
    broken(
        "a token brings any port",
        Deed::Request(|it, _| {
            if it.kind.method == Method::ALLOCATE {
                it.drop(attribute::RESERVATION_TOKEN)
            }
        }),
        &[
            "allocate.reserved-taken",
            "allocate.token-unknown",
            "allocate.token-even-port",
            "allocate.token-family",
            "tcp.allocate-token",
        ],
    ),
];

/// Where there are relays of both families.
pub(crate) const TUNNELS: &[Broken] = &[broken(
    "one gets into any tunnel",
    Deed::Response(|request, it, _| {
        if request.kind.method == Method::CHANNEL_BIND {
            succeed(it)
        }
    }),
    &["channel.teredo", "channel.6to4"],
)];
