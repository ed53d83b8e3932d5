use std::fmt::Write as _;

use super::audience::{About, Notice};
use super::cause::{Facts, Told};
use super::peers::unspecified;
use super::request::Request;
use super::{
    Cause, Client, DeniedBy, Effect, FiveTuple, Prefix, Reply, Server, SessionId, Verdict,
};
use crate::stun::{Digest, Message, Method, attribute, decode_xor_address};
use crate::time::{Mono, Now};

/// Peers of one request that are named.
const PEERS: usize = 8;
/// Characters of a name or a text of the client's.
const LONGEST: usize = 128;

/// Names of values, and the values as people write them.
pub type Facets = Vec<(&'static str, String)>;

/// A request, what was decided about it, and why: made only when somebody hears of it. It holds no password, key
/// or integrity value.
#[derive(Clone, Debug)]
pub struct Case {
    /// When, in seconds since 1970.
    pub unix: u64,
    /// The session that it was about, or that it has made.
    pub session: Option<SessionId>,
    /// Who asked.
    pub client: FiveTuple,
    /// What for.
    pub method: Method,
    /// The name in USERNAME or behind USERHASH, believed or not.
    pub user: Option<String>,
    /// REALM, if the client names one.
    pub realm: Option<String>,
    /// Whether the client is known to receive at its address; nobody else can have sent it then.
    pub proven: bool,
    /// The attributes that matter.
    pub asked: Facets,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was granted; what was given.
    Granted(Facets),
    /// It was refused.
    Refused(Box<Refusal>),
    /// It is answered later, when others have answered.
    Pending,
}

/// Why a request was refused, in full.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The cause.
    pub cause: Cause,
    /// The cause in words, with what the request has to do with it.
    pub words: String,
    /// What the operator may do about it.
    pub hint: String,
}

/// What was refused to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// How often something was.
    pub count: u32,
    /// Why the last time.
    pub last: Cause,
    /// When that was.
    pub at: Mono,
}

impl Server {
    /// Tells those who hear it what has become of a request. One relaxed load when it was granted and nobody
    /// follows.
    pub(super) fn tell(
        &mut self,
        now: Now,
        client: &Client,
        request: &Request<'_>,
        slot: Option<u32>,
        verdict: &Verdict,
        out: &[u8],
    ) {
        let reply = match verdict {
            Verdict::Reply(reply) | Verdict::Bound(reply, _) => Some(reply),
            Verdict::Later | Verdict::Park => None,
            // Whoever decides about it tells it.
            _ => return,
        };
        let signed = reply.map_or(matches!(verdict, Verdict::Later), |reply| reply.proven);
        let proven = signed || client.tuple.transport.proves_address();
        let notice = reply.and_then(|reply| reply.refusal).and_then(|cause| {
            self.note(slot, cause, proven, now.mono);
            self.audience.notice(now.mono, &client.tuple, cause, proven)
        });
        if notice.is_some() || self.audience.follows() {
            self.tell_case(now, client, request, slot, (reply, proven), out, notice);
        }
    }

    /// Keeps a refusal with its session, unless anybody could have brought it about.
    fn note(&mut self, slot: Option<u32>, cause: Cause, proven: bool, at: Mono) {
        let usual = matches!(cause, Cause::Auth(crate::auth::DenialKind::StaleNonce));
        let allocation = slot.and_then(|slot| self.allocations.get_mut(slot as usize));
        if let Some(allocation) = allocation.filter(|_| proven && !usual) {
            let count = allocation.refusals.as_ref().map_or(0, |before| before.count);
            let refusals = Refusals { count: count.saturating_add(1), last: cause, at };
            match &mut allocation.refusals {
                Some(before) => **before = refusals,
                none => *none = Some(Box::new(refusals)),
            }
        }
    }

    #[cold]
    #[expect(clippy::too_many_arguments, reason = "what it is told from")]
    fn tell_case(
        &mut self,
        now: Now,
        client: &Client,
        request: &Request<'_>,
        slot: Option<u32>,
        (reply, proven): (Option<&Reply>, bool),
        out: &[u8],
        notice: Option<Notice>,
    ) {
        let slot = self.find(&client.tuple).or(slot);
        let allocation = slot.and_then(|slot| self.allocations.get(slot as usize));
        let claim = &request.claim;
        let claimed = text(claim.realm).and_then(|name| self.realm_named(&name));
        let authority = &claimed.unwrap_or(&self.realms[0]).authority;
        let hidden = || claim.userhash.and_then(|hash| authority.name_behind(hash));
        let own = allocation.map(|it| it.credential.username());
        let named = claim.username.map(shortened);
        let user = named.or_else(|| hidden().or(own).map(str::to_owned));
        let realm = claim.realm.map(shortened);
        let about = About {
            tuple: &client.tuple,
            user: user.as_deref(),
            owner: allocation.map(|it| &*it.owner.name),
            realm: realm.as_deref().or(allocation.map(|it| &**it.credential.realm())),
        };
        let followers = self.audience.interested(&about);
        if followers == 0 && notice.is_none() {
            return;
        }
        let outcome = match reply {
            None => Outcome::Pending,
            Some(Reply { refusal: None, length, .. }) => Outcome::Granted(given(&out[..*length])),
            Some(Reply { refusal: Some(cause), length, .. }) => {
                let said = out.get(..*length).and_then(realm_of).or_else(|| text(claim.realm));
                let realm = said.as_deref().unwrap_or(authority.realm());
                let facts = Facts { request, realm, user: user.as_deref() };
                let mut words = Told(*cause, facts).to_string();
                if let (Cause::WrongUser, Some(own)) = (cause, own) {
                    let _ = write!(words, ": it is that of {own:?}");
                }
                Outcome::Refused(Box::new(Refusal { cause: *cause, words, hint: hint(*cause) }))
            }
        };
        let case = Case {
            unix: now.unix,
            session: allocation.map(|it| it.id),
            client: client.tuple,
            method: request.method,
            user,
            realm,
            proven,
            asked: asked(request),
            outcome,
        };
        self.effects.push_back(Effect::Case { case: Box::new(case), followers, notice });
    }

    /// The same for a Connect that was answered later. Its request is gone.
    pub(super) fn tell_connected(&mut self, now: Now, slot: u32, refusal: Option<Cause>) {
        let Some(allocation) = self.allocations.get(slot as usize) else {
            return;
        };
        let (id, client) = (allocation.id, allocation.client.tuple);
        let user = allocation.credential.username();
        let about = About {
            tuple: &client,
            user: Some(user),
            owner: Some(&allocation.owner.name),
            realm: Some(allocation.credential.realm()),
        };
        let notice = refusal.and_then(|cause| self.audience.notice(now.mono, &client, cause, true));
        let followers = self.audience.interested(&about);
        let user = user.to_owned();
        if let Some(cause) = refusal {
            self.note(Some(slot), cause, true, now.mono);
        }
        if followers == 0 && notice.is_none() {
            return;
        }
        let outcome = match refusal {
            None => Outcome::Granted(Facets::new()),
            Some(cause) => Outcome::Refused(Box::new(Refusal {
                cause,
                words: cause.phrase().to_owned(),
                hint: hint(cause),
            })),
        };
        let case = Case {
            unix: now.unix,
            session: Some(id),
            client,
            method: Method::CONNECT,
            user: Some(user),
            realm: None,
            proven: true,
            asked: Facets::new(),
            outcome,
        };
        self.effects.push_back(Effect::Case { case: Box::new(case), followers, notice });
    }
}

/// What the operator may do, with the peer that it is about.
fn hint(cause: Cause) -> String {
    match cause {
        Cause::PeerDenied { peer, .. } if unspecified(peer).is_some() => {
            "No rule opens it: an unspecified address leads to this server's own host".to_owned()
        }
        Cause::PeerDenied { peer, by: DeniedBy::OwnPort } => format!(
            "It leads to this server itself: no rule opens a port on which it listens; for another program's port \
             there: peers.allow or --allow-peer {}",
            Prefix::host(peer)
        ),
        Cause::PeerDenied { peer, by: DeniedBy::Special(_) } => format!(
            "Normal if another candidate pair works: browsers offer all that they have. To relay there: peers.allow \
             or --allow-peer {}",
            Prefix::host(peer)
        ),
        Cause::PeerDenied { peer, by: DeniedBy::Rule(rule) } => format!(
            "Take {} out of peers.deny, or name {} in peers.allow (--allow-peer): the most specific rule decides",
            rule.prefix,
            Prefix::host(peer)
        ),
        cause => cause.hint().to_owned(),
    }
}

/// Who has answered: a challenge names it.
fn realm_of(answer: &[u8]) -> Option<String> {
    let answer = Message::parse(answer).ok()?;
    text(answer.attribute(attribute::REALM))
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok().map(str::to_owned))
}

/// A text of the client's, without what is no text, and not longer than it has to be.
fn shortened(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(LONGEST).collect()
}

/// What a request asks for.
fn asked(request: &Request<'_>) -> Facets {
    let mut facets = Facets::new();
    let mut put = |name, value: Option<String>| facets.extend(value.map(|value| (name, value)));
    put("integrity", Some(integrity(request).to_owned()));
    put("transport", request.transport.map(|number| protocol(number).to_owned()));
    put("family", request.family.map(|code| family(code).to_owned()));
    put("additional_family", request.additional_family.map(|code| family(code).to_owned()));
    put("lifetime", request.lifetime.map(|seconds| seconds.to_string()));
    put(
        "even_port",
        request.even_port.map(|next| if next { "and next" } else { "yes" }.to_owned()),
    );
    put("reservation", request.reservation.map(|_| "yes".to_owned()));
    put("dont_fragment", request.dont_fragment.then(|| "yes".to_owned()));
    put(
        "mobility",
        request.ticket.map(|it| if it.is_empty() { "wanted" } else { "ticket" }.to_owned()),
    );
    put("channel", request.channel.map(|number| format!("0x{number:04X}")));
    let mut peers = request.peers().flatten();
    peers.by_ref().take(PEERS).for_each(|peer| put("peer", Some(peer.to_string())));
    let more = peers.count();
    put("more_peers", (more > 0).then(|| more.to_string()));
    put("connection", request.connection.map(|number| number.to_string()));
    let unknown = request.unknown().iter().map(|kind| format!("0x{kind:04X}"));
    let unknown: Vec<_> = unknown.collect();
    put("unknown", (!unknown.is_empty()).then(|| unknown.join(",")));
    put("malformed", request.malformed.then(|| "yes".to_owned()));
    put("software", request.message.attribute(attribute::SOFTWARE).map(shortened));
    facets
}

/// How a request is signed.
fn integrity(request: &Request<'_>) -> &'static str {
    match request.message.integrity() {
        None => "none",
        Some(_) if request.claim.token.is_some() => "access token",
        Some(Digest::Sha1) => "SHA-1",
        Some(Digest::Sha256) => "SHA-256",
    }
}

const fn protocol(number: u8) -> &'static str {
    match number {
        17 => "udp",
        6 => "tcp",
        _ => "unknown",
    }
}

const fn family(code: u8) -> &'static str {
    match code {
        1 => "ipv4",
        2 => "ipv6",
        _ => "unknown",
    }
}

/// What a success response gives, by its own bytes.
fn given(response: &[u8]) -> Facets {
    let Ok(message) = Message::parse(response) else {
        return Facets::new();
    };
    let id = message.transaction_id();
    let address = |value| decode_xor_address(value, &id).ok().map(|it| it.to_string());
    let number =
        |value: &[u8]| value.try_into().ok().map(u32::from_be_bytes).map(|it| it.to_string());
    let facet = |(kind, value)| match kind {
        attribute::XOR_RELAYED_ADDRESS => Some(("relayed", address(value)?)),
        attribute::XOR_MAPPED_ADDRESS => Some(("mapped", address(value)?)),
        attribute::LIFETIME => Some(("lifetime", number(value)?)),
        attribute::CONNECTION_ID => Some(("connection", number(value)?)),
        attribute::RESERVATION_TOKEN => Some(("reservation", "yes".to_owned())),
        attribute::MOBILITY_TICKET => Some(("mobility", "ticket".to_owned())),
        attribute::ADDRESS_ERROR_CODE => {
            let [family_code, _, class, number] = *value.first_chunk()?;
            let code = u16::from(class & 7) * 100 + u16::from(number);
            Some(("refused_family", format!("{} ({code})", family(family_code))))
        }
        _ => None,
    };
    message.attributes().filter_map(facet).collect()
}
