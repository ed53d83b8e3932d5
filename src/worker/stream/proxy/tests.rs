use super::*;
use proptest::prelude::*;

fn whole(bytes: &[u8]) -> Header {
    parse(bytes).unwrap().unwrap()
}

fn between(client: &str, server: &str) -> Option<Addresses> {
    Some(Addresses { client: client.parse().unwrap(), server: server.parse().unwrap() })
}

/// A header of version 2.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 9, 0xDC, 0x04, 0x01, 0xBB];

#[test]
fn a_line_tells_the_client() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\nrest";
    let header = whole(line);
    assert_eq!(&line[header.length..], b"rest");
    assert_eq!(header.addresses, between("192.0.2.1:56324", "192.0.2.9:443"));
    let line = b"PROXY TCP6 2001:db8::1 2001:db8::9 56324 443\r\n";
    assert_eq!(whole(line).addresses, between("[2001:db8::1]:56324", "[2001:db8::9]:443"));
    let line = b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.9 1 2\r\n";
    assert_eq!(whole(line).addresses, between("192.0.2.1:1", "192.0.2.9:2"));
}

#[test]
fn a_line_may_tell_nothing() {
    let worst = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN what ever\r\n", worst] {
        assert_eq!(whole(line.as_bytes()), Header { length: line.len(), addresses: None });
    }
}

#[test]
fn a_wrong_line_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX));
    for line in [
        "PROXY\r\n",
        "PROXYTCP4 192.0.2.1 192.0.2.9 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.9 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.9 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.9 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.9 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.9 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::9 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.9 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.9 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.9 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.9 65536 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.9 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.9 1 2\r\n",
        &long,
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Malformed::Line), "{line}");
    }
    assert_eq!(parse(b"PROXI"), Err(Malformed::Missing));
    assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(Malformed::Missing));
    assert_eq!(parse(b"\0\x01\0\0"), Err(Malformed::Missing));
    assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\r"), Err(Malformed::Missing));
}

#[test]
fn a_binary_header_tells_the_client() {
    let header = whole(&binary(0x21, 0x11, &V4));
    assert_eq!(
        header,
        Header { length: 28, addresses: between("192.0.2.1:56324", "192.0.2.9:443") }
    );
    // A TLV stands behind the addresses.
    let with_tlv = binary(0x21, 0x11, &[&V4[..], &[4, 0, 1, 0]].concat());
    assert_eq!(whole(&with_tlv).length, 32);
    assert_eq!(whole(&with_tlv).addresses, header.addresses);
    for short in 0..V4.len() {
        assert_eq!(parse(&binary(0x21, 0x11, &V4[..short])), Err(Malformed::Binary));
        assert_eq!(parse(&binary(0x21, 0x21, &V4)), Err(Malformed::Binary));
    }
}

#[test]
fn a_binary_header_may_tell_nothing() {
    // A health check of the proxy itself; nothing known; UDP; a Unix socket.
    // LOCAL ignores the family, also one that does not exist.
    let local = [(0x20, 0x00), (0x20, 0x11), (0x20, 0x41), (0x20, 0xFF)];
    for (command, family) in local.into_iter().chain([(0x21, 0x00), (0x21, 0x12), (0x21, 0x31)]) {
        let header = whole(&binary(command, family, &V4));
        assert_eq!(header, Header { length: 28, addresses: None }, "{command:#x} {family:#x}");
    }
    assert_eq!(whole(&binary(0x20, 0x00, &[])).length, 16);
}

#[test]
fn a_wrong_binary_header_is_refused() {
    for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x31, 0x11), (0x21, 0x41), (0x21, 0x13)]
    {
        let parsed = parse(&binary(command, family, &V4));
        assert_eq!(parsed, Err(Malformed::Binary), "{command:#x} {family:#x}");
    }
    // At once, before all of it has come.
    let long = binary(0x21, 0x11, &[0; HEADER_MAX]);
    assert_eq!(parse(&long[..FIXED]), Err(Malformed::TooLong));
    assert!(whole(&binary(0x21, 0x11, &[1; HEADER_MAX - FIXED])).addresses.is_some());
}

#[test]
fn a_client_without_a_port_is_refused() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.9 0 443\r\n";
    assert_eq!(parse(line), Err(Malformed::NoPort));
    let block = [192, 0, 2, 1, 192, 0, 2, 9, 0, 0, 0x01, 0xBB];
    assert_eq!(parse(&binary(0x21, 0x11, &block)), Err(Malformed::NoPort));
    assert!(whole(&binary(0x20, 0x11, &block)).addresses.is_none());
    // Where it has connected to may be unknown.
    assert!(whole(b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 0\r\n").addresses.is_some());
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ],
        1_u16..,
    )
        .prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

proptest! {
    #[test]
    fn what_is_written_is_read(client in addresses(), server in addresses(), more: [u8; 8]) {
        let addresses = Addresses { client, server };
        for (version, longest) in [(Version::V1, LINE_MAX), (Version::V2, FIXED + 36)] {
            let mut out = Vec::new();
            version.append(&mut out, addresses);
            let length = out.len();
            prop_assert!(length <= longest);
            out.extend(more);
            prop_assert_eq!(whole(&out), Header { length, addresses: Some(addresses) });
        }
    }

    /// In pieces of any size a header is the same, and what follows it makes no difference.
    #[test]
    fn the_pieces_make_no_difference(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "PROXY (TCP4 [0-9.]{7,9} 1.2.3.4 [0-9]{1,5} 7|UNKNOWN)(\r\n|\n| x\r\n)".prop_map(String::into_bytes),
            (any::<[u8; 2]>(), prop::collection::vec(any::<u8>(), 0..60))
                .prop_map(|([command, family], block)| binary(command & 0x31, family & 0x33, &block)),
        ],
        more in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let bytes = [bytes, more].concat();
        let outcome = parse(&bytes);
        let first = (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|part| *part != Ok(None));
        prop_assert_eq!(first.unwrap_or(Ok(None)), outcome);
        if let Ok(Some(header)) = outcome {
            prop_assert!(header.length <= bytes.len().min(HEADER_MAX));
        }
    }
}
