use std::net::SocketAddr;
use std::time::Duration;

/// The first pause of a search for the binding's lifetime.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// How exactly it is found.
const EXACT: Duration = Duration::from_secs(10);
const GONE: &str = "the server no longer answers";

/// What questions go out on, and how their answers come back.
pub(super) trait Wire {
    /// Asks from a socket where it is seen (a Binding request), and perhaps to be answered from elsewhere
    /// (CHANGE-REQUEST, RFC 5780 §7.2). `None` when nothing comes.
    fn ask(&mut self, from: Socket, server: SocketAddr, change: Change) -> Option<Answer>;

    /// Whether a question that is sent from [`Socket::Second`] to this address comes in at [`Socket::First`].
    fn comes_back(&mut self, to: SocketAddr) -> bool;

    /// Whether the answer to a question from [`Socket::Second`] comes in at the port of the last socket that was opened
    /// by [`Socket::Fresh`] (RESPONSE-PORT, RFC 5780 §7.5) after a pause in which that one has said nothing.
    fn survives(&mut self, server: SocketAddr, pause: Duration) -> Option<bool>;

    /// The address of [`Socket::First`] on this host.
    fn local(&self) -> SocketAddr;
}

/// Which socket asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    First,
    Second,
    /// One that has sent nothing yet: a new one each time.
    Fresh,
    /// The last fresh one.
    Last,
}

/// Where the answer is to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Port,
    Both,
}

/// What a server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The asker's address as the server sees it.
    pub(super) mapped: SocketAddr,
    /// The server's other address and port (OTHER-ADDRESS).
    pub(super) other: Option<SocketAddr>,
}

/// For whom a NAT uses the same outer address again, and whom it lets in (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Anybody,
    /// The same address, whatever port.
    Address,
    /// The same address and port.
    AddressAndPort,
}

/// What was found out; `None` is what could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) server: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) mapped: SocketAddr,
    pub(super) nat: bool,
    /// The server's second address and port, if it has one.
    pub(super) other: Option<SocketAddr>,
    pub(super) mapping: Option<Behaviour>,
    pub(super) filtering: Option<Behaviour>,
    pub(super) hairpin: Option<bool>,
    pub(super) memory: Memory,
}

/// How long a NAT remembers a silent socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    Unasked,
    /// Why it cannot be told.
    Untold(&'static str),
    /// From this pause to that it has forgotten; an open end when it remembered as long as was looked.
    Looked(Duration, Option<Duration>),
}

/// Asks everything. `None` when the server does not answer.
pub(super) fn discover(
    wire: &mut dyn Wire,
    server: SocketAddr,
    lifetime: Option<Duration>,
) -> Option<Found> {
    let first = wire.ask(Socket::First, server, Change::Nothing)?;
    let (local, mapped) = (wire.local(), first.mapped);
    // RFC 5780 §4.3: no address translation, and perhaps a firewall.
    let nat = mapped != local;
    let hairpin = nat.then(|| wire.comes_back(mapped));
    let other = first.other.filter(|it| it.ip() != server.ip() && it.port() != server.port());
    // First of the two: many a NAT lets in whoever has been sent to, whichever socket sent (RFC 5780 §4.5).
    let filtering = other.and_then(|_| filtering(wire, server));
    let mapping = other.and_then(|other| mapping(wire, server, other, mapped));
    // A second address that does not answer when it is asked itself is not filtered out.
    let heard = |it: &Behaviour| mapping.is_some() || *it == Behaviour::Anybody;
    let filtering = filtering.filter(heard);
    let memory = match lifetime {
        None => Memory::Unasked,
        Some(_) if !nat => Memory::Untold("there is no NAT"),
        Some(most) => remembers(wire, server, most),
    };
    Some(Found { server, local, mapped, nat, other, mapping, filtering, hairpin, memory })
}

/// RFC 5780 §4.3
fn mapping(
    wire: &mut dyn Wire,
    server: SocketAddr,
    other: SocketAddr,
    first: SocketAddr,
) -> Option<Behaviour> {
    let elsewhere = SocketAddr::new(other.ip(), server.port());
    let second = wire.ask(Socket::First, elsewhere, Change::Nothing)?.mapped;
    if second == first {
        return Some(Behaviour::Anybody);
    }
    let third = wire.ask(Socket::First, other, Change::Nothing)?.mapped;
    Some(if third == second { Behaviour::Address } else { Behaviour::AddressAndPort })
}

/// RFC 5780 §4.4, from a socket that has sent to nobody else.
fn filtering(wire: &mut dyn Wire, server: SocketAddr) -> Option<Behaviour> {
    wire.ask(Socket::Fresh, server, Change::Nothing)?;
    if wire.ask(Socket::Last, server, Change::Both).is_some() {
        return Some(Behaviour::Anybody);
    }
    let from_port = wire.ask(Socket::Last, server, Change::Port).is_some();
    Some(if from_port { Behaviour::Address } else { Behaviour::AddressAndPort })
}

/// RFC 5780 §4.6: pauses that grow until the NAT has forgotten, then the middle between what it remembers and what not.
fn remembers(wire: &mut dyn Wire, server: SocketAddr, most: Duration) -> Memory {
    // A server that does not know RESPONSE-PORT would look like a NAT that forgets at once.
    match after(wire, server, Duration::ZERO) {
        Some(true) => {}
        Some(false) => {
            return Memory::Untold("the server answers to no other port (RESPONSE-PORT)");
        }
        None => return Memory::Untold(GONE),
    }
    let (mut known, mut forgotten) = (Duration::ZERO, None);
    let mut pause = FIRST_PAUSE.min(most);
    loop {
        match after(wire, server, pause) {
            Some(true) => known = pause,
            Some(false) => forgotten = Some(pause),
            None if known.is_zero() && forgotten.is_none() => return Memory::Untold(GONE),
            // After many minutes: not so exactly, then.
            None => return Memory::Looked(known, forgotten),
        }
        pause = match forgotten {
            Some(end) if end.saturating_sub(known) <= EXACT => {
                return Memory::Looked(known, forgotten);
            }
            Some(end) => known + (end - known) / 2,
            None if known >= most => return Memory::Looked(known, None),
            None => (known * 2).min(most),
        };
    }
}

/// Whether a new socket is remembered after a pause; `None` when the server does not answer.
fn after(wire: &mut dyn Wire, server: SocketAddr, pause: Duration) -> Option<bool> {
    wire.ask(Socket::Fresh, server, Change::Nothing)?;
    wire.survives(server, pause)
}
