//! Asks a STUN server under which address it sees one of ours (RFC 8489 §3, Binding).

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use crate::stun::{
    Class, Kind, Message, Method, TransactionId, Writer, attribute, decode_address,
    decode_xor_address,
};

/// The first wait for an answer; each further one is twice as long (RFC 8489 §6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Requests sent before giving up: 0.5, 1 and 2 seconds of waiting.
const ATTEMPTS: u32 = 3;

/// Asks `server` (`host:port`) from `local`. Takes 3.5 seconds at most, and the time in which the
/// system finds the server's name.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn ask(server: &str, local: IpAddr) -> Result<IpAddr, String> {
    let found = server.to_socket_addrs();
    let mut found = found.map_err(|error| format!("the STUN server {server:?}: {error}"))?;
    let server = found
        .find(|address| address.is_ipv4() == local.is_ipv4())
        .ok_or_else(|| format!("the STUN server {server:?} has no address of this family"))?;
    let failed = |error| format!("asking the STUN server {server} from {local}: {error}");
    let socket = UdpSocket::bind((local, 0)).map_err(failed)?;
    // Connected: the kernel lets nobody else answer.
    socket.connect(server).map_err(failed)?;
    transact(&socket)
        .map_err(failed)?
        .ok_or_else(|| format!("no answer from the STUN server {server}"))
}

fn transact(socket: &UdpSocket) -> std::io::Result<Option<IpAddr>> {
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(std::io::Error::other)?;
    let id = TransactionId::new(id);
    let mut request = [0; 32];
    let mut writer = Writer::new(&mut request, Kind::request(Method::BINDING), &id);
    writer.fingerprint();
    let length = writer.finish().map_err(std::io::Error::other)?;
    for attempt in 0..ATTEMPTS {
        // An ICMP error of the last attempt comes out here: the next may fare better.
        let _ = socket.send(&request[..length]);
        if let Some(address) = wait(socket, &id, FIRST_WAIT * (1 << attempt))? {
            return Ok(Some(address.ip()));
        }
    }
    Ok(None)
}

fn wait(
    socket: &UdpSocket,
    id: &TransactionId,
    limit: Duration,
) -> std::io::Result<Option<SocketAddr>> {
    let until = Instant::now() + limit;
    let mut packet = [0; 1500];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        // An error is the timeout or an ICMP error; both leave the rest of the time to others.
        if let Ok(length) = socket.recv(&mut packet)
            && let Some(address) = mapped(&packet[..length], id)
        {
            return Ok(Some(address));
        }
    }
}

/// The mapped address in the success response to our request.
fn mapped(packet: &[u8], id: &TransactionId) -> Option<SocketAddr> {
    let message = Message::parse(packet).ok()?;
    let answer = Kind { class: Class::Success, method: Method::BINDING };
    if message.kind() != answer || message.transaction_id() != *id {
        return None;
    }
    match message.attribute(attribute::XOR_MAPPED_ADDRESS) {
        Some(value) => decode_xor_address(value, id).ok(),
        None => decode_address(message.attribute(attribute::MAPPED_ADDRESS)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A server that stays silent for `silent` requests and then answers with `answer`.
    fn serve(silent: usize, answer: impl Fn(&TransactionId) -> Vec<u8> + Send + 'static) -> String {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let mut packet = [0; 100];
            for _ in 0..silent {
                socket.recv_from(&mut packet).unwrap();
            }
            let (length, client) = socket.recv_from(&mut packet).unwrap();
            let id = Message::parse(&packet[..length]).unwrap().transaction_id();
            // Another transaction's answer comes first and is not believed.
            socket.send_to(&response(&TransactionId::new([9; 12]), "6.6.6.6"), client).unwrap();
            socket.send_to(&answer(&id), client).unwrap();
        });
        address
    }

    fn response(id: &TransactionId, ip: &str) -> Vec<u8> {
        let mut buffer = [0; 100];
        let mut writer = Writer::new(&mut buffer, Kind::success(Method::BINDING), id);
        let address = SocketAddr::new(ip.parse().unwrap(), 7);
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, address);
        writer.fingerprint();
        let length = writer.finish().unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn the_mapped_address_is_found_although_the_first_request_is_lost() {
        // RFC 8489 §6.2.1
        let server = serve(1, |id| response(id, "54.0.0.7"));
        assert_eq!(ask(&server, LOCAL), Ok("54.0.0.7".parse().unwrap()));
    }

    #[test]
    fn a_name_that_is_none_is_an_error_in_words() {
        let error = ask("not a name", LOCAL).unwrap_err();
        assert!(error.contains("not a name"), "{error}");
        let error = ask("[::1]:3478", LOCAL).unwrap_err();
        assert!(error.contains("no address of this family"), "{error}");
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let silent = UdpSocket::bind((LOCAL, 0)).unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let begun = Instant::now();
        let error = ask(&address, LOCAL).unwrap_err();
        assert!(error.contains("no answer"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        silent.set_nonblocking(true).unwrap();
        let requests = std::iter::from_fn(|| silent.recv(&mut [0; 100]).ok()).count();
        assert_eq!(requests, ATTEMPTS as usize);
    }
}
