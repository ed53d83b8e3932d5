use std::net::SocketAddr;
use std::ops::Range;

use crate::auth::{Claim, ORIGINS};
use crate::stun::{Error, Message, Method, TransactionId, attribute, decode_xor_address};

/// At most as many unknown attributes are reported.
const UNKNOWN: usize = 16;

/// The attributes of one message, read in a single pass. The first of a kind counts
/// (RFC 8489 §14).
pub(super) struct Request<'a> {
    pub(super) message: Message<'a>,
    pub(super) method: Method,
    pub(super) id: TransactionId,
    pub(super) claim: Claim<'a>,
    pub(super) lifetime: Option<u32>,
    pub(super) channel: Option<u16>,
    /// The first XOR-PEER-ADDRESS.
    pub(super) peer: Option<SocketAddr>,
    /// Where DATA lies in the packet.
    pub(super) data: Option<Range<usize>>,
    /// The protocol number in REQUESTED-TRANSPORT.
    pub(super) transport: Option<u8>,
    /// The number in REQUESTED-ADDRESS-FAMILY.
    pub(super) family: Option<u8>,
    /// The number in ADDITIONAL-ADDRESS-FAMILY.
    pub(super) additional_family: Option<u8>,
    /// The R bit of EVEN-PORT.
    pub(super) even_port: Option<bool>,
    pub(super) reservation: Option<[u8; 8]>,
    /// MOBILITY-TICKET; empty where one is asked for.
    pub(super) ticket: Option<&'a [u8]>,
    pub(super) dont_fragment: bool,
    /// The first ORIGINs, unchecked.
    pub(super) origins: [Option<&'a [u8]>; ORIGINS],
    /// The number in CONNECTION-ID.
    pub(super) connection: Option<u32>,
    /// A known attribute's value is not what its type says.
    pub(super) malformed: bool,
    unknown: [u16; UNKNOWN],
    unknown_count: usize,
}

impl<'a> Request<'a> {
    pub(super) fn read(message: Message<'a>, packet: &'a [u8]) -> Self {
        let mut request = Self {
            message,
            method: message.kind().method,
            id: message.transaction_id(),
            claim: Claim::default(),
            lifetime: None,
            channel: None,
            peer: None,
            data: None,
            transport: None,
            family: None,
            additional_family: None,
            even_port: None,
            reservation: None,
            ticket: None,
            dont_fragment: false,
            origins: [None; ORIGINS],
            connection: None,
            malformed: false,
            unknown: [0; UNKNOWN],
            unknown_count: 0,
        };
        for (kind, value) in message.attributes() {
            // RFC 7635 §7: nobody asks for a token on a Binding request.
            let unexpected = kind == attribute::ACCESS_TOKEN && request.method == Method::BINDING;
            let claimed = !unexpected && request.claim.take(kind, value);
            if !claimed && request.take(kind, value, packet).is_err() {
                request.malformed = true;
            }
        }
        request
    }

    fn take(&mut self, kind: u16, value: &'a [u8], packet: &[u8]) -> Result<(), Error> {
        match kind {
            attribute::LIFETIME => first(&mut self.lifetime, number(value)),
            attribute::CHANNEL_NUMBER => {
                // RFC 8656 §18.1: the number and two bytes that are ignored.
                first(&mut self.channel, number(value).map(|n| (n >> 16) as u16))
            }
            attribute::XOR_PEER_ADDRESS => {
                let address = decode_xor_address(value, &self.id)?;
                first(&mut self.peer, Ok(address))
            }
            attribute::DATA => {
                // The value is a part of the packet: the distance of their starts.
                let start = value.as_ptr().addr() - packet.as_ptr().addr();
                first(&mut self.data, Ok(start..start + value.len()))
            }
            attribute::REQUESTED_TRANSPORT => first(&mut self.transport, leading(value)),
            attribute::REQUESTED_ADDRESS_FAMILY => first(&mut self.family, leading(value)),
            attribute::ADDITIONAL_ADDRESS_FAMILY => {
                first(&mut self.additional_family, leading(value))
            }
            attribute::EVEN_PORT => {
                let bits = value.first().ok_or(Error::Value);
                first(&mut self.even_port, bits.map(|bits| bits & 0x80 != 0))
            }
            attribute::RESERVATION_TOKEN => {
                first(&mut self.reservation, value.try_into().map_err(|_| Error::Value))
            }
            attribute::MOBILITY_TICKET => first(&mut self.ticket, Ok(value)),
            // A page within a page has several.
            attribute::ORIGIN => {
                if let Some(free) = self.origins.iter_mut().find(|origin| origin.is_none()) {
                    *free = Some(value);
                }
                Ok(())
            }
            attribute::DONT_FRAGMENT => {
                self.dont_fragment = true;
                Ok(())
            }
            attribute::CONNECTION_ID => first(&mut self.connection, number(value)),
            // Debian's RFC 3489 client sends it with no flag set: a plain Binding.
            attribute::CHANGE_REQUEST if value == [0; 4] => Ok(()),
            kind if attribute::comprehension_required(kind) && !attribute::comprehended(kind) => {
                if let Some(slot) = self.unknown.get_mut(self.unknown_count) {
                    *slot = kind;
                    self.unknown_count += 1;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The comprehension-required attributes that nobody here knows.
    pub(super) fn unknown(&self) -> &[u16] {
        &self.unknown[..self.unknown_count]
    }

    /// Takes attributes off those that nobody here knows.
    pub(super) fn comprehend(&mut self, kinds: &[u16]) {
        let mut kept = 0;
        for place in 0..self.unknown_count {
            let kind = self.unknown[place];
            if !kinds.contains(&kind) {
                self.unknown[kept] = kind;
                kept += 1;
            }
        }
        self.unknown_count = kept;
    }

    /// All XOR-PEER-ADDRESS attributes (RFC 8656 §10.1).
    pub(super) fn peers(&self) -> impl Iterator<Item = Result<SocketAddr, Error>> + use<'a> {
        let id = self.id;
        self.message
            .attributes()
            .filter(|(kind, _)| *kind == attribute::XOR_PEER_ADDRESS)
            .map(move |(_, value)| decode_xor_address(value, &id))
    }
}

fn first<T>(slot: &mut Option<T>, value: Result<T, Error>) -> Result<(), Error> {
    if slot.is_none() {
        *slot = Some(value?);
    }
    Ok(())
}

fn number(value: &[u8]) -> Result<u32, Error> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| Error::Value)
}

/// The first of four bytes; the others are reserved.
fn leading(value: &[u8]) -> Result<u8, Error> {
    number(value).map(|number| (number >> 24) as u8)
}
