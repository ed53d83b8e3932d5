use std::fmt::{self, Write};

use super::Cause;
use crate::auth::DenialKind;
use crate::stun::{Family, Method};
use crate::text::steers;
use crate::turn::DeniedBy;
use crate::turn::request::Request;

/// Before this second of 1970 and the years that followed, no credential has expired: it is September 2001.
const NO_TIME: u64 = 1_000_000_000;
/// An expiry so long ago is no page that was left open.
const LONG_AGO: u64 = 7 * 86_400;
/// Characters of a name that are shown.
const SHOWN: usize = 40;

/// What a refusal is told with.
#[derive(Clone, Copy)]
pub(in crate::turn) struct Facts<'a> {
    pub(in crate::turn) request: &'a Request<'a>,
    /// This server's realm.
    pub(in crate::turn) realm: &'a str,
    /// Who asks, where it is known.
    pub(in crate::turn) user: Option<&'a str>,
}

/// A refusal in words: what a client is told that has proved its address, and the log.
pub(in crate::turn) struct Told<'a>(pub(in crate::turn) Cause, pub(in crate::turn) Facts<'a>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(cause, facts) = self;
        let (user, request) = (facts.name(), facts.request);
        match *cause {
            Cause::Auth(kind) => denial(f, kind, facts),
            Cause::PeerDenied { peer, by: DeniedBy::Rule(rule) } => {
                write!(f, "peer {peer} denied by the operator's rule {}", rule.prefix)
            }
            Cause::PeerDenied { peer, by: DeniedBy::Special(special) } => {
                let (kind, prefix) = (special.kind(), special.prefix());
                write!(f, "peer {peer} denied: {kind}, {prefix}; normal if another pair works")
            }
            Cause::PeerDenied { peer, by: DeniedBy::OwnPort } => {
                write!(f, "peer {peer} denied: the server itself, not a relayed address")
            }
            Cause::UserQuota(limit) => write!(f, "user {user} has {limit} allocations, the limit"),
            Cause::AddressQuota(limit) => {
                write!(f, "the client's address has {limit} allocations, the limit")
            }
            Cause::TotalQuota(limit) => write!(f, "the server has {limit} allocations, the limit"),
            Cause::RealmQuota(limit) => {
                write!(f, "the realm {} has {limit} allocations, the limit", facts.realm)
            }
            Cause::ConnectionQuota(limit) => {
                write!(f, "user {user} has {limit} connections with peers, the limit")
            }
            Cause::PermissionLimit(limit) => {
                write!(f, "more permissions than the {limit} that an allocation may have")
            }
            Cause::ChannelLimit(limit) => {
                write!(f, "more channels than the {limit} that an allocation may have")
            }
            Cause::NoPort(ports) => {
                write!(f, "no relay port is free of {}-{}", ports.first, ports.last)
            }
            Cause::WrongUser => {
                let realm = facts.realm;
                write!(f, "the allocation belongs to another user than {user} of {realm}")
            }
            Cause::PeerFamily => match request.peer {
                Some(peer) => {
                    let family = family(Family::of(&peer.ip()));
                    write!(f, "the allocation has no {family} address to reach {} from", peer.ip())
                }
                None => f.write_str("the allocation has no address of this family"),
            },
            Cause::FamilyNotSupported => match request.family.and_then(Family::from_code) {
                Some(of) => write!(f, "this server has no {} relay address", family(of)),
                None if request.family.is_none() => {
                    f.write_str("this server has no IPv4 relay address: ask for IPv6")
                }
                None => f.write_str(cause.phrase()),
            },
            Cause::TransportNotSupported => {
                let number = request.transport.unwrap_or(0);
                write!(f, "REQUESTED-TRANSPORT {number} is not relayed here")
            }
            Cause::UnknownAttribute => {
                f.write_str("unknown attributes")?;
                request.unknown().iter().take(8).try_for_each(|kind| write!(f, " 0x{kind:04X}"))
            }
            Cause::Missing => write!(f, "{} is missing", missing(request)),
            _ => f.write_str(cause.phrase()),
        }
    }
}

fn denial(f: &mut fmt::Formatter<'_>, kind: DenialKind, facts: &Facts<'_>) -> fmt::Result {
    let user = facts.name();
    match kind {
        DenialKind::WrongRealm => {
            let theirs = Name(facts.request.claim.realm.unwrap_or_default());
            let ours = Name(facts.realm.as_bytes());
            write!(f, "wrong realm: {theirs} is asked for, this is {ours}")
        }
        DenialKind::UnknownUser => write!(f, "unknown user {user}"),
        DenialKind::WrongPassword => write!(f, "wrong password for user {user}"),
        DenialKind::StoreDown => {
            write!(f, "no store can say whether there is a user {user}: try again")
        }
        DenialKind::NotAsked => {
            write!(f, "too many wait to be looked up for asking about {user} as well: try again")
        }
        DenialKind::WrongSecret => {
            write!(f, "the password of {user} was not made with a secret of this server")
        }
        DenialKind::ExpiredCredential { at, .. } if at < NO_TIME => {
            write!(f, "{user} has expired: {at} is no time in seconds since 1970")
        }
        DenialKind::ExpiredCredential { ago, .. } => {
            write!(f, "the credential expired {} ago", Span(ago))?;
            if ago > LONG_AGO { f.write_str(": is a clock wrong?") } else { Ok(()) }
        }
        _ => f.write_str(Cause::Auth(kind).phrase()),
    }
}

/// What a request lacks that must be there.
fn missing(request: &Request<'_>) -> &'static str {
    match request.method {
        Method::ALLOCATE => "REQUESTED-TRANSPORT",
        Method::CHANNEL_BIND if request.channel.is_none() => "CHANNEL-NUMBER",
        Method::CONNECTION_BIND => "CONNECTION-ID",
        _ => "XOR-PEER-ADDRESS",
    }
}

const fn family(of: Family) -> &'static str {
    match of {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

impl Facts<'_> {
    /// Who asks, or says so.
    fn name(&self) -> Name<'_> {
        let claim = &self.request.claim;
        let hidden = claim.userhash.map(|_| &b"in USERHASH"[..]);
        Name(self.user.map(str::as_bytes).or(claim.username).or(hidden).unwrap_or_default())
    }
}

/// A name that a stranger may have chosen: shortened, and without what could alter a line.
struct Name<'a>(&'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut shown = 0;
        for chunk in self.0.utf8_chunks() {
            let broken = if chunk.invalid().is_empty() { None } else { Some('?') };
            for c in chunk.valid().chars().chain(broken) {
                if shown == SHOWN {
                    return f.write_str("...\"");
                }
                shown += 1;
                f.write_char(if steers(c) || c == '"' { '?' } else { c })?;
            }
        }
        f.write_char('"')
    }
}

/// Seconds as people say them: the two largest units.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes) = (self.0 / 86_400, self.0 / 3600 % 24, self.0 / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{} s", self.0),
            (0, 0, _) => write!(f, "{minutes} min"),
            (0, ..) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// Room for a reason phrase on its way into a response.
pub(in crate::turn) struct Phrase {
    bytes: [u8; Self::ROOM],
    length: usize,
}

impl Phrase {
    /// RFC 8489 §14.8: fewer than 128 characters, at most 509 bytes.
    const ROOM: usize = 509;

    /// As much of it as there is room for.
    pub(in crate::turn) fn of(words: &dyn fmt::Display) -> Self {
        let mut phrase = Self { bytes: [0; Self::ROOM], length: 0 };
        // What does not fit is cut off.
        let _ = write!(phrase, "{words}");
        phrase
    }

    pub(in crate::turn) fn as_str(&self) -> &str {
        // Only whole characters are taken in.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Write for Phrase {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let free = &mut self.bytes[self.length..];
            let bytes = free.get_mut(..c.len_utf8()).ok_or(fmt::Error)?;
            self.length += c.encode_utf8(bytes).len();
        }
        Ok(())
    }
}
