use std::net::SocketAddr;

use turnwire::stun::{
    ChannelData, Class, Kind, Message, Method, TransactionId, Writer, attribute, decode_xor_address,
};

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Vec<u8>);

impl Answer {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).expect("a response that can be read")
    }

    /// The error code; 0 for a success.
    #[track_caller]
    pub(crate) fn code(&self) -> u16 {
        match self.message().kind().class {
            Class::Success => 0,
            _ => match self.attribute(attribute::ERROR_CODE) {
                Some([_, _, class, number, ..]) => u16::from(*class) * 100 + u16::from(*number),
                other => panic!("an error response with ERROR-CODE {other:?}"),
            },
        }
    }

    /// The reason phrase of an error response.
    pub(crate) fn phrase(&self) -> String {
        let value = self.attribute(attribute::ERROR_CODE).expect("ERROR-CODE");
        String::from_utf8(value[4..].to_vec()).expect("UTF-8")
    }

    pub(crate) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        self.message().attribute(kind)
    }

    /// The types of all attributes, in order.
    pub(crate) fn kinds(&self) -> Vec<u16> {
        self.message().attributes().map(|(kind, _)| kind).collect()
    }

    /// All addresses of a type.
    pub(crate) fn addresses(&self, kind: u16) -> Vec<SocketAddr> {
        let id = self.message().transaction_id();
        self.message()
            .attributes()
            .filter(|(found, _)| *found == kind)
            .map(|(_, value)| decode_xor_address(value, &id).expect("an address"))
            .collect()
    }

    /// XOR-RELAYED-ADDRESS, the first one.
    #[track_caller]
    pub(crate) fn relayed(&self) -> SocketAddr {
        self.addresses(attribute::XOR_RELAYED_ADDRESS)[0]
    }

    /// XOR-MAPPED-ADDRESS.
    #[track_caller]
    pub(crate) fn mapped(&self) -> SocketAddr {
        self.addresses(attribute::XOR_MAPPED_ADDRESS)[0]
    }

    /// LIFETIME, in seconds.
    #[track_caller]
    pub(crate) fn lifetime(&self) -> u32 {
        let value = self.attribute(attribute::LIFETIME).expect("LIFETIME");
        u32::from_be_bytes(value.try_into().expect("four bytes"))
    }

    /// RESERVATION-TOKEN.
    #[track_caller]
    pub(crate) fn token(&self) -> Vec<u8> {
        let token = self.attribute(attribute::RESERVATION_TOKEN);
        token.expect("RESERVATION-TOKEN").to_vec()
    }

    /// UNKNOWN-ATTRIBUTES.
    pub(crate) fn unknown(&self) -> Vec<u16> {
        let value = self.attribute(attribute::UNKNOWN_ATTRIBUTES);
        let pairs = value.expect("UNKNOWN-ATTRIBUTES").chunks(2);
        pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    Answer(Answer),
    /// A ChannelData message.
    Channel(u16, Vec<u8>),
    /// A Data indication.
    Data(SocketAddr, Vec<u8>),
    /// A Data indication with the ICMP attribute's value instead of DATA.
    Icmp(SocketAddr, Vec<u8>),
    /// A ConnectionAttempt indication with its CONNECTION-ID.
    Attempt(SocketAddr, u32),
}

impl Inbound {
    /// Reads a datagram, or a message that was cut off a stream.
    #[track_caller]
    pub(crate) fn parse(packet: Vec<u8>) -> Self {
        if let Ok(data) = ChannelData::parse(&packet) {
            return Self::Channel(data.number.get(), packet[data.payload].to_vec());
        }
        let message = Message::parse(&packet).expect("the server's messages can be read");
        let attempt = message.kind() == Kind::indication(Method::CONNECTION_ATTEMPT);
        if message.kind() != Kind::indication(Method::DATA) && !attempt {
            return Self::Answer(Answer(packet));
        }
        let peer = message.attribute(attribute::XOR_PEER_ADDRESS);
        let peer = decode_xor_address(peer.expect("a peer"), &message.transaction_id());
        let peer = peer.expect("an address");
        if attempt {
            return Self::Attempt(peer, Answer(packet).connection());
        }
        match (message.attribute(attribute::DATA), message.attribute(attribute::ICMP)) {
            (Some(data), None) => Self::Data(peer, data.to_vec()),
            (None, Some(icmp)) => Self::Icmp(peer, icmp.to_vec()),
            other => panic!("a Data indication with (DATA, ICMP) = {other:?}"),
        }
    }
}

/// A fresh transaction ID.
pub(crate) fn new_id() -> TransactionId {
    let mut id = [0; 12];
    getrandom::fill(&mut id).expect("random numbers");
    TransactionId::new(id)
}

/// A message without credentials.
pub(crate) fn plain(
    kind: Kind,
    id: &TransactionId,
    attributes: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let mut buffer = vec![0; 66_000];
    let mut writer = Writer::new(&mut buffer, kind, id);
    attributes(&mut writer);
    let length = writer.finish().expect("it fits");
    buffer.truncate(length);
    buffer
}
