//! NAT behaviour discovery (RFC 5780, RFC 3489): strangers that want answers from elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use turnwire::stun::{Kind, Method, TransactionId, Writer, attribute};
use turnwire::turn::{Discovery, Verdict};

use crate::World;

const LOCAL: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2))];

/// The first is the listener of all IPv4 clients.
pub(crate) const PLACES: Discovery =
    Discovery { local: LOCAL, advertised: LOCAL, ports: [3478, 3479] };

/// The most bytes of an answer that has nothing in it but addresses.
const UNPADDED: usize = 120;

/// What a Binding request asks for besides.
pub(crate) struct Asked {
    pub(crate) change: Option<u8>,
    pub(crate) port: Option<u16>,
    /// Words of padding.
    pub(crate) padding: Option<u8>,
    /// Without the magic cookie.
    pub(crate) classic: bool,
}

fn corners() -> [SocketAddr; 4] {
    let ([one, two], [near, far]) = (LOCAL, PLACES.ports);
    [(one, near), (one, far), (two, near), (two, far)].map(SocketAddr::from)
}

impl World {
    pub(crate) fn discover(&mut self, number: usize, corner: u8, asked: &Asked) {
        let mut client = self.clients[number].client;
        if client.tuple.client.is_ipv4() {
            client.tuple.server = corners()[usize::from(corner % 4)];
        }
        let packet = request(asked);
        match self.server.receive(&client, &packet) {
            Verdict::Reply(reply) => {
                if let Some(detour) = reply.detour {
                    let asks = asked.change.is_some() || asked.port.is_some();
                    assert!(asks && !client.tuple.transport.is_stream());
                    assert!(corners().contains(&detour.from), "from {}", detour.from);
                    // Whatever is asked for, nobody else's address is answered.
                    assert_eq!(detour.to.ip(), client.tuple.client.ip());
                }
                let response = self.server.reply(reply.length);
                let padded = response.has(attribute::PADDING);
                let most = if padded { packet.len().max(UNPADDED) } else { UNPADDED };
                assert!(reply.length <= most, "{} bytes for {}", reply.length, packet.len());
            }
            Verdict::Drop(_) | Verdict::Ignore => {}
            other => panic!("a Binding request, and {other:?}"),
        }
    }
}

fn request(asked: &Asked) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let id = TransactionId::new([5; 12]);
    let mut writer = Writer::new(&mut buffer, Kind::request(Method::BINDING), &id);
    if let Some(flags) = asked.change {
        writer.number(attribute::CHANGE_REQUEST, flags.into());
    }
    if let Some(port) = asked.port {
        writer.number(attribute::RESPONSE_PORT, u32::from(port) << 16);
    }
    if let Some(words) = asked.padding {
        writer.attribute(attribute::PADDING, &vec![0; 4 * usize::from(words)]);
    }
    let length = writer.finish().expect("it fits");
    buffer.truncate(length);
    if asked.classic {
        buffer[4..8].fill(0);
    }
    buffer
}
