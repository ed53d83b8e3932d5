use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::Fault;
use super::address::is_private;
use super::dialogue::{Dialogue, Trouble, id, mapped};
use super::report::Stage;
use super::walk::{ALLOCATE, DELETE, Walk, milliseconds, trouble_of};
use crate::client::{DataHeader, Request};
use crate::stun::{ChannelNumber, Kind, Method, Writer};

/// The first channel number (RFC 8656 §12).
const CHANNEL: u16 = 0x4000;
/// Bytes of a payload: as a small voice packet.
const PAYLOAD: usize = 100;
/// How long one packet is waited for.
const PATIENCE: Duration = Duration::from_millis(1000);
/// So many in a row that are lost say enough, before the first has come back and behind it.
const HOPELESS: u32 = 3;
const OVER: u32 = 20;
/// A permission lasts for five minutes (RFC 8656 §9), a channel for longer: both are renewed with it at the latest.
const RENEWAL: Duration = Duration::from_secs(240);
/// How often a knock from outside is repeated, as datagrams get lost.
const KNOCKS: u32 = 3;
const KNOCK_WAIT: Duration = Duration::from_millis(400);
/// Where STUN is usually spoken in clear (RFC 7064 §3.2).
const USUAL_PORT: u16 = 3478;

/// Data both ways: between two relays of the server, and between the first of them and a socket outside.
pub(super) fn data(walk: &mut Walk<'_>, first: &mut Dialogue) {
    // The first allocation was made just now.
    between_relays(walk, first, Instant::now());
    outside(walk, first);
}

fn between_relays(walk: &mut Walk<'_>, first: &mut Dialogue, begun: Instant) {
    let mut second = match walk.second(ALLOCATE) {
        Ok(second) => second,
        Err(fault) => {
            walk.skip(Stage::Permission, format!("no second allocation to talk with: {fault}"));
            return;
        }
    };
    let _ = exchange(walk, first, &mut second, begun);
    let _ = second.ask(DELETE);
}

fn exchange(
    walk: &mut Walk<'_>,
    first: &mut Dialogue,
    second: &mut Dialogue,
    begun: Instant,
) -> Option<()> {
    let (here, there) = (first.session().relayed()?, second.session().relayed()?);
    walk.stage(Stage::Permission, |walk| {
        permit(walk, first, there)?;
        permit(walk, second, here)?;
        Ok(((), format!("for {}", there.ip())))
    })?;
    // unwrap: it is in the range.
    let number = ChannelNumber::new(CHANNEL).expect("a channel number");
    let way = walk.target.way;
    walk.stage(Stage::Channel, |_| {
        let bound = first.ask(Request::ChannelBind { number, peer: there });
        bound.map_err(|trouble| trouble_of(trouble, way))?;
        Ok(((), format!("{CHANNEL:#06x} to {there}")))
    })?;
    let packets = walk.options.packets;
    walk.stage(Stage::Data, |walk| {
        let mut renewed = begun;
        let there = DataHeader::channel(number, PAYLOAD as u16);
        let id = id().map_err(|broken| trouble_of(broken.into(), way))?;
        let back = DataHeader::indication(&id, here, PAYLOAD as u16);
        let back = back.ok_or(Fault::Here("a Send indication that is too long".to_owned()))?;
        let times = times(packets, |count| {
            if renewed.elapsed() >= renewal([&*first, &*second].map(|it| it.session().lifetime())) {
                renew(walk, first, second, number)?;
                renewed = Instant::now();
            }
            Ok(to_and_fro(first, second, &there, &back, count))
        })?;
        let (least, most) = (times[0], times[times.len() - 1]);
        let middle = milliseconds(times[times.len() / 2]);
        let (least, most) = (milliseconds(least), milliseconds(most));
        Ok(((), format!("{packets} of {packets} to and fro, {middle} ({least} to {most})")))
    })
}

/// How soon all is renewed with allocations of these lifetimes, which the server chooses, in seconds.
fn renewal(lifetimes: [u32; 2]) -> Duration {
    // 0 where the server has told none, which it has to (RFC 8656 §7.2).
    let known = lifetimes.into_iter().filter(|lifetime| *lifetime > 0).min();
    known.map_or(RENEWAL, |least| RENEWAL.min(Duration::from_secs(least.into()) / 2))
}

/// What would end by itself before many packets are through.
fn renew(
    walk: &Walk<'_>,
    first: &mut Dialogue,
    second: &mut Dialogue,
    number: ChannelNumber,
) -> Result<(), Fault> {
    let relays = (first.session().relayed(), second.session().relayed());
    let (Some(here), Some(there)) = relays else { return Ok(()) };
    permit(walk, second, here)?;
    // RFC 8656 §9: a ChannelBind renews the permission with the channel.
    let bind = Request::ChannelBind { number, peer: there };
    let asked = first.ask(bind).and_then(|_| {
        [first, second].into_iter().try_for_each(|client| {
            let lifetime = client.session().lifetime();
            client.ask(Request::Refresh { lifetime }).map(drop)
        })
    });
    asked.map_err(|trouble| trouble_of(trouble, walk.target.way))
}

/// How long each packet was under way, the shortest first; never none, and none is missing.
fn times(
    packets: u32,
    mut send: impl FnMut(u32) -> Result<Option<Duration>, Fault>,
) -> Result<Vec<Duration>, Fault> {
    let (mut times, mut missed) = (Vec::new(), 0);
    for number in 0..packets {
        match send(number)? {
            Some(time) => (times.push(time), missed = 0).1,
            None => missed += 1,
        }
        match times.len() as u32 {
            0 if missed >= HOPELESS => return Err(Fault::NoData),
            came if missed >= OVER => return Err(Fault::DataEnd(came)),
            _ => {}
        }
    }
    times.sort_unstable();
    match packets - times.len() as u32 {
        _ if times.is_empty() => Err(Fault::NoData),
        0 => Ok(times),
        lost => Err(Fault::Loss { sent: packets, lost }),
    }
}

fn permit(walk: &Walk<'_>, client: &mut Dialogue, peer: SocketAddr) -> Result<(), Fault> {
    client.ask(Request::CreatePermission { peer }).map(drop).map_err(|trouble| match trouble {
        Trouble::Refused { code: 403, reason } => Fault::PeerDenied { peer: peer.ip(), reason },
        trouble => trouble_of(trouble, walk.target.way),
    })
}

/// One packet through both relays, and back again.
fn to_and_fro(
    first: &mut Dialogue,
    second: &mut Dialogue,
    there: &DataHeader,
    back: &DataHeader,
    number: u32,
) -> Option<Duration> {
    let mut payload = [0; PAYLOAD];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    let begun = Instant::now();
    first.send(there, &payload).ok()?;
    await_payload(second, &payload)?;
    second.send(back, &payload).ok()?;
    await_payload(first, &payload)?;
    Some(begun.elapsed())
}

/// Waits for this payload; others are late ones.
fn await_payload(client: &mut Dialogue, payload: &[u8]) -> Option<crate::client::Source> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let (source, data) = client.data(left).ok()??;
        if data == payload {
            return Some(source);
        }
    }
}

/// Between the relay and a socket that is no client of the server's, as most peers are.
fn outside(walk: &mut Walk<'_>, client: &mut Dialogue) {
    let Some(relayed) = client.session().relayed() else {
        return;
    };
    // No firewall's fault, then.
    if walk.found("relay-private") || walk.found("relay-loopback") {
        return walk.skip(Stage::Outside, format!("nobody here can send to {}", relayed.ip()));
    }
    let (socket, seen) = match stranger(walk, relayed) {
        Ok(found) => found,
        Err(why) => return walk.skip(Stage::Outside, why),
    };
    match permit(walk, client, seen) {
        Ok(()) => {}
        // What a server must deny says nothing about the way of others.
        Err(fault @ Fault::PeerDenied { .. })
            if is_private(seen.ip()) || seen.ip().is_loopback() =>
        {
            return walk.skip(Stage::Outside, format!("{fault}; try from another network"));
        }
        Err(fault) => {
            walk.stage::<()>(Stage::Outside, |_| Err(fault));
            return;
        }
    }
    // A server may relay to its own address by its relays' ports alone.
    if seen.ip() == relayed.ip() && !knock(&socket, client, relayed).0 {
        let why = format!("{} is the server's own address; try from another host", seen.ip());
        return walk.skip(Stage::Outside, why);
    }
    let inside = walk.stage(Stage::Outside, |_| {
        let (came, from) = knock(&socket, client, relayed);
        let went = answer(&socket, client, from.unwrap_or(seen));
        match (came, went) {
            (true, true) => Ok(((), format!("from and to {}", from.unwrap_or(seen)))),
            (true, false) => Err(Fault::RelayMute(seen)),
            (false, _) => Err(Fault::RelayFirewalled(relayed)),
        }
    });
    if inside.is_some() {
        walk.blame(|fault| (*fault == Fault::NoData).then_some(Fault::NoHairpin));
    }
}

/// A socket of this host, and its address as the server sees it.
fn stranger(walk: &Walk<'_>, relayed: SocketAddr) -> Result<(UdpSocket, SocketAddr), String> {
    let server = walk.target.address;
    if server.is_ipv4() != relayed.is_ipv4() {
        return Err("the relay is of another family than the way to the server".to_owned());
    }
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).map_err(|error| error.to_string())?;
    // Behind the port of TLS there may be no STUN in clear.
    let usual = SocketAddr::new(server.ip(), USUAL_PORT);
    let ports = if server == usual { vec![server] } else { vec![server, usual] };
    let seen = ports.iter().find_map(|place| seen_from(&socket, *place));
    seen.map(|seen| (socket, seen))
        .ok_or_else(|| format!("no UDP gets from here to {} and back", server.ip()))
}

/// The socket's address as the server at this place sees it.
fn seen_from(socket: &UdpSocket, server: SocketAddr) -> Option<SocketAddr> {
    let mut buffer = [0; 1500];
    // One ID for all: an answer may be longer under way than a knock is waited for.
    let (id, mut request) = (id().ok()?, [0; 64]);
    let length = Writer::new(&mut request, Kind::request(Method::BINDING), &id).finish().ok()?;
    for _ in 0..KNOCKS {
        socket.send_to(&request[..length], server).ok()?;
        socket.set_read_timeout(Some(KNOCK_WAIT)).ok()?;
        // Nothing, or that nobody listens there: it may be the next time.
        if let Ok((length, _)) = socket.recv_from(&mut buffer)
            && let Some(seen) = mapped(&buffer[..length], &id)
        {
            return Some(seen);
        }
    }
    None
}

/// Whether something from outside comes to the client, and where from.
fn knock(
    socket: &UdpSocket,
    client: &mut Dialogue,
    relayed: SocketAddr,
) -> (bool, Option<SocketAddr>) {
    let payload = [0x5A; PAYLOAD];
    for _ in 0..KNOCKS {
        if socket.send_to(&payload, relayed).is_err() {
            continue;
        }
        match client.data(KNOCK_WAIT) {
            Ok(Some((crate::client::Source::Peer(peer), data))) if data == payload => {
                return (true, Some(peer));
            }
            Ok(_) => {}
            Err(_) => return (false, None),
        }
    }
    (false, None)
}

/// Whether something from the client comes out.
fn answer(socket: &UdpSocket, client: &mut Dialogue, peer: SocketAddr) -> bool {
    let payload = [0xA5; PAYLOAD];
    let mut buffer = [0; 1500];
    for _ in 0..KNOCKS {
        let Ok(id) = id() else { return false };
        let Some(header) = DataHeader::indication(&id, peer, PAYLOAD as u16) else {
            return false;
        };
        if client.send(&header, &payload).is_err() {
            return false;
        }
        let patient = socket.set_read_timeout(Some(KNOCK_WAIT)).is_ok();
        if patient && matches!(socket.recv(&mut buffer), Ok(length) if buffer[..length] == payload)
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::{Message, attribute};

    #[test]
    fn packets_that_stop_to_come_are_not_waited_for_to_the_last() {
        let second = Duration::from_secs(1);
        // Those with such numbers come; how many were sent, and what came of it.
        let run = |comes: &dyn Fn(u32) -> bool| {
            let mut sent = 0;
            let found = times(1000, |number| {
                sent += 1;
                Ok(comes(number).then_some(second))
            });
            (sent, found.map(|times| times.len()))
        };
        assert_eq!(run(&|_| true), (1000, Ok(1000)));
        assert_eq!(run(&|_| false), (3, Err(Fault::NoData)));
        assert_eq!(run(&|number| number < 5), (25, Err(Fault::DataEnd(5))));
        let lost = Fault::Loss { sent: 1000, lost: 950 };
        assert_eq!(run(&|number| number % 20 == 0), (1000, Err(lost)));
    }

    #[test]
    fn short_lifetimes_are_renewed_in_time() {
        let seconds = |lifetimes| renewal(lifetimes).as_secs();
        assert_eq!((seconds([600, 600]), seconds([600, 60]), seconds([60, 600])), (240, 30, 30));
        // A server that does not say.
        assert_eq!((seconds([0, 0]), seconds([0, 60])), (240, 30));
    }

    #[test]
    fn an_answer_that_comes_after_the_next_knock_is_heard() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let place = server.local_addr().unwrap();
        let answers = std::thread::spawn(move || {
            let (mut buffer, mut out) = ([0; 1500], [0; 64]);
            let (length, client) = server.recv_from(&mut buffer).unwrap();
            let asked = Message::parse(&buffer[..length]).unwrap().transaction_id();
            server.recv_from(&mut [0; 1500]).unwrap();
            let mut writer = Writer::new(&mut out, Kind::success(Method::BINDING), &asked);
            writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client);
            let length = writer.finish().unwrap();
            server.send_to(&out[..length], client).unwrap();
        });
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(seen_from(&socket, place), Some(socket.local_addr().unwrap()));
        answers.join().unwrap();
    }
}
