//! RFC 5780: a server of the test's own with two addresses and two ports, and one thing wrong.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use turnwire::stun::{Kind, Message, Method, Writer, attribute};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    /// There is no second address, and CHANGE-REQUEST is refused as it must be.
    Alone,
    AloneAndWilling,
    NoMapped,
    OriginElsewhere,
    OriginUnchanged,
    OtherElsewhere,
    OtherDeaf,
    OtherIsFirst,
    OtherFollows,
    ChangesNothing,
    ChangesAlways,
    ResponsePortIgnored,
    NoPadding,
    PaddingAnywhere,
}

/// What each flaw is seen by.
pub(crate) const FLAWS: &[(Flaw, &[&str])] = &[
    (Flaw::AloneAndWilling, &["nat.change-unsupported"]),
    (Flaw::NoMapped, &["nat.mapped-both"]),
    (Flaw::OriginElsewhere, &["nat.origin", "nat.change-origin"]),
    (Flaw::OriginUnchanged, &["nat.change-origin"]),
    (Flaw::OtherElsewhere, &["nat.other-address"]),
    (Flaw::OtherDeaf, &["nat.other-answers"]),
    (Flaw::OtherIsFirst, &["nat.other-of-other"]),
    (Flaw::OtherFollows, &["nat.other-constant"]),
    (Flaw::ChangesNothing, &["nat.change-port", "nat.change-ip", "nat.change-both"]),
    (Flaw::ChangesAlways, &["nat.change-none"]),
    (Flaw::ResponsePortIgnored, &["nat.response-port"]),
    (Flaw::NoPadding, &["nat.padding"]),
    (Flaw::PaddingAnywhere, &["nat.padding-response-port"]),
];

pub(crate) struct Corners {
    pub(crate) place: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Corners {
    pub(crate) fn start(flaw: Flaw) -> Self {
        // A1:P1, A1:P2, A2:P1, A2:P2
        let sockets = loop {
            let first = UdpSocket::bind("127.0.0.1:0").unwrap();
            let second = UdpSocket::bind("127.0.0.1:0").unwrap();
            let ports = [&first, &second].map(|it| it.local_addr().unwrap().port());
            let others = ports.map(|port| UdpSocket::bind(("127.0.0.2", port)));
            if let [Ok(third), Ok(fourth)] = others {
                break Arc::new([first, second, third, fourth]);
            }
        };
        let (place, stop) = (sockets[0].local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        for corner in 0..4 {
            let (sockets, stop) = (Arc::clone(&sockets), Arc::clone(&stop));
            thread::spawn(move || serve(&sockets, corner, flaw, &stop));
        }
        Self { place, stop }
    }
}

impl Drop for Corners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(sockets: &[UdpSocket; 4], corner: usize, flaw: Flaw, stop: &AtomicBool) {
    sockets[corner].set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = sockets[corner].recv_from(&mut buffer) else { continue };
        let Ok(request) = Message::parse(&buffer[..length]) else { continue };
        if request.kind() != Kind::request(Method::BINDING)
            || (flaw == Flaw::OtherDeaf && corner == 3)
        {
            continue;
        }
        let (from, to, answer) = answer(sockets, corner, flaw, &request, client);
        sockets[from].send_to(&answer, to).unwrap();
    }
}

fn flag(request: &Message<'_>, bit: u8) -> bool {
    request.attribute(attribute::CHANGE_REQUEST).is_some_and(|value| value[3] & bit != 0)
}

fn answer(
    sockets: &[UdpSocket; 4],
    corner: usize,
    flaw: Flaw,
    request: &Message<'_>,
    client: SocketAddr,
) -> (usize, SocketAddr, Vec<u8>) {
    let alone = matches!(flaw, Flaw::Alone | Flaw::AloneAndWilling);
    // The second bit of a corner is its address, the first its port.
    let wish = match flaw {
        Flaw::ChangesNothing | Flaw::AloneAndWilling => 0,
        Flaw::ChangesAlways => usize::from(request.attribute(attribute::CHANGE_REQUEST).is_some()),
        _ => usize::from(flag(request, 4)) * 2 + usize::from(flag(request, 2)),
    };
    let from = if alone { corner } else { corner ^ wish };
    let asked = request.attribute(attribute::RESPONSE_PORT);
    let port = asked.map(|value| u16::from_be_bytes([value[0], value[1]]));
    let padded = request.attribute(attribute::PADDING).is_some();
    let refusal = match () {
        () if flaw == Flaw::Alone && request.attribute(attribute::CHANGE_REQUEST).is_some() => 420,
        () if flaw != Flaw::PaddingAnywhere && padded && port.is_some() => 400,
        () => 0,
    };
    let id = request.transaction_id();
    let mut room = [0; 1024];
    let class = if refusal == 0 { Kind::success } else { Kind::error };
    let mut writer = Writer::new(&mut room, class(Method::BINDING), &id);
    if refusal != 0 {
        writer.error_code(refusal, "");
        writer.unknown_attributes(&[attribute::CHANGE_REQUEST]);
    } else {
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client);
        if flaw != Flaw::NoMapped {
            writer.address(attribute::MAPPED_ADDRESS, client);
        }
        let place = |corner: usize| sockets[corner].local_addr().unwrap();
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)), 9);
        let origin = match flaw {
            Flaw::OriginElsewhere => nowhere,
            Flaw::OriginUnchanged => place(corner),
            _ => place(from),
        };
        writer.address(attribute::RESPONSE_ORIGIN, origin);
        let other = match flaw {
            Flaw::OtherElsewhere => nowhere,
            Flaw::OtherIsFirst => place(3),
            Flaw::OtherFollows => place(from ^ 3),
            _ => place(corner ^ 3),
        };
        if !alone {
            writer.address(attribute::OTHER_ADDRESS, other);
        }
        if padded && flaw != Flaw::NoPadding {
            writer.attribute(attribute::PADDING, &[0; 64]);
        }
    }
    let length = writer.finish().unwrap();
    // A refusal goes to who has asked.
    let port = port.filter(|_| flaw != Flaw::ResponsePortIgnored && refusal == 0);
    // A request with both goes wrong where it can be seen.
    let port = port.filter(|_| !padded).unwrap_or(client.port());
    (from, SocketAddr::new(client.ip(), port), room[..length].to_vec())
}
