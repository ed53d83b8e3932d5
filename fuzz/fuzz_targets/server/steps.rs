//! What an input is made of.

use arbitrary::{Arbitrary, Unstructured};

#[derive(Arbitrary, Debug)]
pub(crate) enum Step<'a> {
    Raw {
        client: u8,
        packet: Piece<'a>,
    },
    Request {
        client: u8,
        sender: Sender,
        ask: Ask,
        extra: Extra<'a>,
    },
    Again {
        client: u8,
    },
    Send {
        client: u8,
        peer: u8,
        data: Piece<'a>,
        dont_fragment: bool,
    },
    ChannelData {
        client: u8,
        number: u8,
        data: Piece<'a>,
        padding: u8,
    },
    FromPeer {
        relay: u8,
        peer: u8,
        length: u16,
    },
    Icmp {
        relay: u8,
        peer: u8,
        kind: u8,
        code: u8,
    },
    Disconnect {
        client: u8,
    },
    Wait {
        millis: u32,
    },
    SetClock {
        unix: u32,
    },
    /// Another program takes the port, or gives it back.
    Occupy {
        port: u8,
        taken: bool,
    },
    Exhaust(bool),
    /// A connection that the server wanted is made, or not.
    Connected {
        which: u8,
        outcome: u8,
    },
    /// A peer connects to a relay.
    Incoming {
        relay: u8,
        peer: u8,
    },
    /// Bytes of a data connection, or its end.
    Data {
        which: u8,
        to_peer: bool,
        bytes: u16,
        over: bool,
    },
    /// A Binding request to one of the four addresses of NAT discovery.
    Discover {
        client: u8,
        corner: u8,
        change: Option<u8>,
        port: Option<u16>,
        padding: Option<u8>,
        classic: bool,
    },
    /// The stores say something about a user whom the server has asked for: an old password, a new one, no such user,
    /// or that they cannot say.
    Answer {
        what: u8,
    },
}

/// Who asks, and how it is signed.
#[derive(Arbitrary, Debug)]
pub(crate) enum Sender {
    Owner,
    Sha256,
    Truncated,
    Userhash,
    Bob,
    WrongPassword,
    Unsigned,
    FreshNonce,
    /// With an access token (RFC 7635): sealed with the first key or the second, so many seconds ago, for so long.
    Token {
        second: bool,
        age: i16,
        lifetime: u16,
    },
    /// With the key of the last token, and without it.
    SessionKey,
    /// Users whom only a store may know.
    Stored(u8),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Ask {
    Binding,
    Allocate {
        even_port: Option<bool>,
        family: u8,
        additional: bool,
        token: bool,
        long: bool,
    },
    Refresh {
        lifetime: Option<u16>,
        family: u8,
    },
    CreatePermission {
        peers: [u8; 4],
        count: u8,
    },
    ChannelBind {
        number: u8,
        peer: u8,
    },
    AllocateTcp {
        family: u8,
        additional: bool,
    },
    Connect {
        peer: u8,
    },
    ConnectionBind {
        which: u8,
        other: bool,
    },
    /// Nothing but what stands in `extra`.
    Method(u8),
}

/// What is added or damaged.
#[derive(Arbitrary, Debug)]
pub(crate) enum Extra<'a> {
    Nothing,
    Attribute(u16, Piece<'a>),
    /// One byte changed after signing.
    Damage(u16, u8),
    /// MOBILITY-TICKET: one of the last, or an empty one.
    Ticket(u8),
}

/// Up to 127 bytes of the input. The crate's own slices take half of what is left each time.
#[derive(Debug)]
pub(crate) struct Piece<'a>(pub(crate) &'a [u8]);

impl<'a> Arbitrary<'a> for Piece<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let length = usize::from(u8::arbitrary(input)? % 128).min(input.len());
        input.bytes(length).map(Self)
    }
}
