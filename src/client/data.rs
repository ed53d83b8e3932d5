use std::net::SocketAddr;
use std::ops::Range;

use crate::stun::Kind;
use crate::stun::{
    CHANNEL_HEADER, ChannelData, ChannelNumber, Class, DATA_INDICATION_MAX, Error, Message, Method,
    TransactionId, attribute, decode_xor_address, write_channel_header,
    write_data_indication_header,
};

/// The longest [`DataHeader`], in bytes: a Send indication with an IPv6 peer.
pub const HEADER_MAX: usize = DATA_INDICATION_MAX;

/// What stands before a payload on its way to the server: made once, copied in front of each.
#[derive(Clone, Copy, Debug)]
pub struct DataHeader {
    bytes: [u8; HEADER_MAX],
    length: usize,
    payload: u16,
}

impl DataHeader {
    /// The header of a ChannelData message (RFC 8656 §12.4) with `payload` bytes.
    pub fn channel(number: ChannelNumber, payload: u16) -> Self {
        let mut header = [0; CHANNEL_HEADER];
        write_channel_header(&mut header, number, payload);
        let mut bytes = [0; HEADER_MAX];
        bytes[..CHANNEL_HEADER].copy_from_slice(&header);
        Self { bytes, length: CHANNEL_HEADER, payload }
    }

    /// What stands before the payload in a Send indication (RFC 8656 §11.1): `None` when the message would be
    /// longer than its length field can say.
    pub fn indication(id: &TransactionId, peer: SocketAddr, payload: u16) -> Option<Self> {
        // A Send indication differs from a Data indication by its method only.
        let mut room = [0; HEADER_MAX];
        let length = write_data_indication_header(&mut room, *id.bytes(), peer, payload.into())?;
        let mut bytes = [0; HEADER_MAX];
        bytes[..length].copy_from_slice(&room[HEADER_MAX - length..]);
        bytes[..2].copy_from_slice(&Kind::indication(Method::SEND).bits().to_be_bytes());
        Some(Self { bytes, length, payload })
    }

    /// The bytes to put in front of the payload.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The length of the whole message. ChannelData needs no padding in a datagram, and does on a stream
    /// (RFC 8656 §12.5); a STUN message is always padded.
    pub fn message_len(&self, stream: bool) -> usize {
        let length = self.length + usize::from(self.payload);
        if stream || self.length != CHANNEL_HEADER { length.next_multiple_of(4) } else { length }
    }
}

/// Application data from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// How the server says which peer it is.
    pub source: Source,
    /// Where the data lie in the message that was parsed.
    pub payload: Range<usize>,
}

/// The sender of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The peer of this channel (ChannelData).
    Channel(ChannelNumber),
    /// This peer (a Data indication).
    Peer(SocketAddr),
}

impl Data {
    /// Finds the data in a datagram or in a message cut off a stream; `None` for another kind of message.
    ///
    /// # Errors
    /// Bytes that are no message, or a Data indication without the attributes it must have.
    pub fn parse(packet: &[u8]) -> Result<Option<Self>, Error> {
        if matches!(packet.first(), Some(0x40..=0x7F)) {
            let data = ChannelData::parse(packet)?;
            return Ok(Some(Self { source: Source::Channel(data.number), payload: data.payload }));
        }
        let message = Message::parse(packet)?;
        let kind = message.kind();
        if (kind.class, kind.method) != (Class::Indication, Method::DATA) {
            return Ok(None);
        }
        // An indication with ICMP instead of DATA (RFC 8656 §11.5) carries nothing of a peer's.
        let Some(value) = message.attribute(attribute::DATA) else {
            return Ok(None);
        };
        let peer = message.attribute(attribute::XOR_PEER_ADDRESS).ok_or(Error::Value)?;
        let peer = decode_xor_address(peer, &message.transaction_id())?;
        let start = value.as_ptr() as usize - packet.as_ptr() as usize;
        Ok(Some(Self { source: Source::Peer(peer), payload: start..start + value.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::Writer;

    const PEERS: [&str; 2] = ["192.0.2.1:5", "[2001:db8::1]:5"];

    #[test]
    fn a_send_indication_is_a_message_with_peer_and_data() {
        let id = TransactionId::new([9; 12]);
        for peer in PEERS.map(|peer| peer.parse::<SocketAddr>().unwrap()) {
            for payload in [0_u16, 1, 3, 4, 1200] {
                let header = DataHeader::indication(&id, peer, payload).unwrap();
                let mut packet = header.bytes().to_vec();
                packet.resize(header.message_len(false), 0xAB);
                let message = Message::parse(&packet).unwrap();
                assert_eq!(message.kind(), Kind::indication(Method::SEND));
                let data = message.attribute(attribute::DATA).unwrap();
                assert_eq!(data.len(), usize::from(payload));
                let value = message.attribute(attribute::XOR_PEER_ADDRESS).unwrap();
                assert_eq!(decode_xor_address(value, &id), Ok(peer));
            }
        }
        assert!(DataHeader::indication(&id, PEERS[0].parse().unwrap(), 65_535).is_none());
    }

    #[test]
    fn channel_data_is_padded_on_a_stream_only() {
        let number = ChannelNumber::new(0x4001).unwrap();
        let header = DataHeader::channel(number, 5);
        assert_eq!(header.bytes(), [0x40, 1, 0, 5]);
        assert_eq!((header.message_len(false), header.message_len(true)), (9, 12));
        let packet = [0x40, 1, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
        let data = Data::parse(&packet).unwrap().unwrap();
        assert_eq!(data.source, Source::Channel(number));
        assert_eq!(packet[data.payload], [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_data_indication_names_its_peer() {
        for peer in PEERS.map(|peer| peer.parse::<SocketAddr>().unwrap()) {
            let mut packet = [0; 128];
            let id = TransactionId::new([3; 12]);
            let mut writer = Writer::new(&mut packet, Kind::indication(Method::DATA), &id);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            writer.attribute(attribute::DATA, b"hello");
            let length = writer.finish().unwrap();
            let data = Data::parse(&packet[..length]).unwrap().unwrap();
            assert_eq!(data.source, Source::Peer(peer));
            assert_eq!(&packet[data.payload], b"hello");
        }
    }

    #[test]
    fn other_messages_are_not_data() {
        let mut packet = [0; 64];
        let id = TransactionId::new([3; 12]);
        let writer = Writer::new(&mut packet, Kind::success(Method::BINDING), &id);
        let length = writer.finish().unwrap();
        assert_eq!(Data::parse(&packet[..length]), Ok(None));
        let writer = Writer::new(&mut packet, Kind::indication(Method::DATA), &id);
        let length = writer.finish().unwrap();
        assert_eq!(Data::parse(&packet[..length]), Ok(None));
        assert!(Data::parse(&[0xFF; 20]).is_err());
        assert!(Data::parse(&[0x40, 0, 0, 9]).is_err());
    }
}
