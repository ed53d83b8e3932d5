//! The log: lines on standard error, as text or as JSON. Who reads them slowly holds up nobody (`out`).
//!
//! Lines that machines read carry an `event` in JSON (`session_ended`, `request_refused`,
//! `stream_closed`, `ready`, `stopped`, ...), and its fields keep their names. Text shows the
//! message instead, which is for people.

mod out;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::field::{Field, Value, display};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::config::{Format, Level, Log};
use crate::text::steers;
use crate::turn::{Case, Cause, FiveTuple, Notice, Outcome, Session, Transport};
use crate::worker::{Event, Unfit};

/// How long the log's thread sleeps after it has written what there was: the workers then wake it
/// once for all that comes meanwhile, and not for each event.
const NAP: Duration = Duration::from_millis(10);

/// What is let through.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Sets the log up for the whole process. A second call changes nothing.
pub(super) fn init(log: &Log) {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| out::Line)
        .with_target(false)
        // It would complain on the very stream that is broken, and panic.
        .log_internal_errors(false);
    let (filter, handle) = reload::Layer::new(filter(log.level));
    // The first call's.
    let _ = FILTER.set(handle);
    let registry = tracing_subscriber::registry().with(filter);
    // An error means that somebody has set up a log before: theirs is as good.
    let _ = match log.format {
        Format::Text => registry
            .with(layer.with_ansi(io::stderr().is_terminal()).fmt_fields(debug_fn(text_field)))
            .try_init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}

/// Changes how much is logged.
pub(super) fn set_level(level: Level) {
    if let Some(handle) = FILTER.get() {
        // It fails only where somebody else has set up a log before, who then decides.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    // What the libraries say at lower levels is about themselves.
    Targets::new().with_target("turnwire", level).with_default(level.min(LevelFilter::WARN))
}

/// ` name=value`; the message has no name, and `event` would only repeat it.
fn text_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut out = Harmless(out);
    match field.name() {
        "message" => write!(out, "{value:?}"),
        "event" => Ok(()),
        name => write!(out, " {name}={value:?}"),
    }
}

/// What others have said stands in lines, too (a database, a certificate): it neither steers a terminal nor looks like a
/// line of its own.
struct Harmless<W>(W);

impl<W: fmt::Write> fmt::Write for Harmless<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(steers) {
            match piece.chars().next_back() {
                // What is told of a configuration has several lines.
                Some('\n') => write!(self.0, "{piece}    ")?,
                Some(last) if steers(last) => {
                    let rest = piece.strip_suffix(last).unwrap_or_default();
                    write!(self.0, "{rest}{}", last.escape_default())?;
                }
                _ => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

/// Starts the thread that turns the workers' events into lines. It ends when the last worker has.
///
/// It stands between the workers and whoever reads the log: a reader that is slow or gone costs
/// lines, which the workers count, and never a packet. From now on nobody else waits for that reader either.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn(events: Receiver<Event>) -> io::Result<JoinHandle<()>> {
    out::begin()?;
    let thread = thread::Builder::new().name("log".to_owned());
    thread.spawn(move || {
        out::may_wait();
        while let Ok(event) = events.recv() {
            line(&event);
            events.try_iter().for_each(|event| line(&event));
            thread::sleep(NAP);
        }
    })
}

/// Lines of other threads than the workers that found no room.
pub(super) fn lost() -> u64 {
    out::lost()
}

/// Waits for the thread to write the last worker's last line, as long as somebody reads.
pub(super) fn join(thread: JoinHandle<()>) {
    out::wait_until(|| thread.is_finished());
}

/// Waits until all that was said is written, as long as somebody reads.
pub(super) fn finish() {
    out::finish();
}

fn line(event: &Event) {
    match event {
        Event::Ended(session) => ended(session),
        Event::Moved(moved) => tracing::info!(
            event = "session_moved",
            session = %moved.id,
            user = moved.username.as_str(),
            realm = &*moved.realm,
            from = %moved.from.client,
            from_transport = moved.from.transport.label(),
            client = %moved.to.client,
            transport = moved.to.transport.label(),
            server = %moved.to.server,
            relayed = %List(moved.relayed.iter().flatten()),
            "session moved to another client address",
        ),
        Event::Refused { case, notice } => refused(case, *notice),
        Event::Unfit { client, name, why } => unfit(client, name.as_deref(), why),
        Event::BackendUnreachable { backend, why } => tracing::warn!(
            event = "backend_unreachable",
            backend = %backend,
            cause = %why,
            "https.backend {backend} cannot be reached: {why}; web clients are answered with 502 until it can",
        ),
    }
}

/// The fields stand in this order in every line: the client's address and the cause are what programs look for that
/// ban addresses. Lines at info are about clients only that have proved their addresses.
fn refused(case: &Case, notice: Notice) {
    let Outcome::Refused(refusal) = &case.outcome else {
        return;
    };
    let cause = refusal.cause;
    let rule = match &cause {
        Cause::PeerDenied { by, .. } => Some(display(by)),
        _ => None,
    };
    let (session, user) = (case.session.map(display), case.user.as_deref());
    macro_rules! line {
        ($level:ident, $untold:expr, $hint:expr) => {
            tracing::$level!(
                event = "request_refused",
                client = %case.client.client,
                cause = cause.label(),
                code = cause.code(),
                method = case.method.name(),
                transport = case.client.transport.label(),
                session,
                user,
                realm = case.realm.as_deref(),
                rule,
                untold = $untold,
                hint = $hint,
                "request refused: {}",
                refusal.words,
            )
        };
    }
    match notice {
        Notice::Each => line!(debug, None::<u16>, None::<&str>),
        Notice::First { untold } => {
            line!(info, (untold > 0).then_some(untold), Some(refusal.hint.as_str()));
        }
    }
}

/// Nobody but the client is at fault, or somebody may set something right.
fn unfit(client: &FiveTuple, name: Option<&str>, why: &Unfit) {
    let (cause, transport) = (why.label(), client.transport.label());
    let (address, server) = (display(client.client), display(client.server));
    // Over DTLS there is nothing yet that could be closed.
    let (event, what) = match client.transport {
        Transport::Dtls => ("handshake_failed", "handshake failed"),
        _ => ("stream_closed", "connection closed"),
    };
    if why.is_setup() {
        tracing::info!(event, client = address, server, transport, name, cause, "{what}: {why}",);
    } else {
        tracing::debug!(event, client = address, server, transport, name, cause, "{what}: {why}",);
    }
}

fn ended(session: &Session) {
    let traffic = session.traffic;
    tracing::info!(
        event = "session_ended",
        session = %session.id,
        // Recorded as a string: it is quoted, whatever a client has put into its name.
        user = session.username.as_str(),
        realm = &*session.realm,
        client = %session.client.client,
        transport = session.client.transport.label(),
        server = %session.client.server,
        earlier = earlier(session),
        relayed = %List(session.relayed.iter().flatten()),
        relay_transport = session.protocol.label(),
        duration_ms = u64::try_from(session.duration.as_millis()).unwrap_or(u64::MAX),
        to_peer_packets = traffic.to_peer_packets,
        to_peer_bytes = traffic.to_peer_bytes,
        to_client_packets = traffic.to_client_packets,
        to_client_bytes = traffic.to_client_bytes,
        reason = session.reason.label(),
        refusals = session.refusals.map(|refusals| refusals.count),
        last_refusal = session.refusals.map(|refusals| refusals.last.label()),
        "session ended",
    );
}

/// The addresses that the client came from before, if it has moved (RFC 8016).
fn earlier(session: &Session) -> Option<impl Value + use<'_>> {
    let addresses = session.earlier.iter().map(|tuple| tuple.client);
    (!session.earlier.is_empty()).then(|| display(List(addresses)))
}

/// Addresses, with a comma between two. Nothing is formatted for a line that is not written.
struct List<I>(I);

impl<I: Iterator<Item: fmt::Display> + Clone> fmt::Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, address) in self.0.clone().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_said_is_no_line_of_its_own_and_steers_no_terminal() {
        let written = |text: &str| {
            let mut out = Harmless(String::new());
            write!(out, "{text}{}", 5).unwrap();
            out.0
        };
        assert_eq!(written("certificate of a.example: "), "certificate of a.example: 5");
        assert_eq!(written("a:1:2: wrong\n  1 | x\n"), "a:1:2: wrong\n      1 | x\n    5");
        assert_eq!(
            written("\u{1b}[2J\r2026 INFO \u{9b}31m\u{7}"),
            "\\u{1b}[2J\\r2026 INFO \\u{9b}31m\\u{7}5"
        );
    }
}
