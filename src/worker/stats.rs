//! The counters of one worker, which it alone writes.

use std::sync::OnceLock;

use super::Unfit;
use crate::net::{SendReport, ThreadClock};
use crate::tls;
use crate::turn::{self, Counter};

/// What one worker has done, readable while it runs.
#[derive(Debug, Default)]
pub struct Stats {
    /// The decisions.
    pub turn: turn::Stats,
    /// Times that it has looked for work: who has done so lately is alive.
    pub wake_ups: Counter,
    /// What it has used of the processor, once it runs.
    pub cpu: OnceLock<ThreadClock>,
    /// Datagrams that the kernel dropped because a socket's receive buffer was full.
    pub receive_full: Counter,
    /// Trains sent: several datagrams with one system call and one walk through the kernel.
    pub trains: Counter,
    /// Datagrams dropped because a socket's send buffer was full.
    pub send_full: Counter,
    /// Datagrams dropped because there is no way to their destination.
    pub send_unreachable: Counter,
    /// Datagrams dropped because they are too long for the way.
    pub send_too_big: Counter,
    /// Datagrams dropped for another reason.
    pub send_other: Counter,
    /// Datagrams dropped because their listener, or DTLS on it, is configured no more and nothing was begun there before.
    pub listener_gone: Counter,
    /// Datagrams of mobile clients dropped because their allocations are at another worker, which
    /// has no room for letters, or are under way and too many wait.
    pub handover_full: Counter,
    /// Messages dropped because a TCP client reads too slowly.
    pub queue_full: Counter,
    /// TCP connections accepted.
    pub streams_accepted: Counter,
    /// TCP connections closed at once: their address has too many or asks too much without
    /// credentials, or no descriptor is left.
    pub streams_refused: Counter,
    /// TCP connections closed because they had no allocation for too long, or too many had none.
    pub streams_idle: Counter,
    /// TCP connections closed for what they said, by [`Unfit::index`].
    pub unfit: [Counter; Unfit::COUNT],
    /// TLS handshakes completed: of TLS 1.2, and of TLS 1.3.
    pub tls_handshakes: [Counter; 2],
    /// Those of them that a ticket has made short.
    pub tls_resumed: Counter,
    /// TLS that has failed, by [`tls::Cause::index`].
    pub tls_failures: [Counter; tls::Cause::COUNT],
    /// Connections that spoke HTTP.
    pub http_requests: Counter,
    /// Those of them that were passed on to the backend.
    pub web_passed: Counter,
    /// Of these, the ones that have ended.
    pub web_ended: Counter,
    /// Of these, the ones that were silent for too long.
    pub web_idle: Counter,
    /// Connections that were not passed on because the backend cannot be reached.
    pub web_failed: Counter,
    /// The same because too many are passed on.
    pub web_refused: Counter,
    /// The same because the client did not wait for it.
    pub web_abandoned: Counter,
    /// Bytes read from clients for the backend, and from the backend for clients.
    pub web_bytes: [Counter; 2],
    /// TCP connections closed, for whatever reason.
    pub streams_closed: Counter,
    /// DTLS.
    pub dtls: DtlsStats,
}

/// What one worker has done about DTLS.
#[derive(Debug)]
pub struct DtlsStats {
    /// HelloVerifyRequests sent.
    pub cookies: Counter,
    /// Handshakes begun: their clients have proved their addresses.
    pub begun: Counter,
    /// Handshakes completed: associations made.
    pub completed: Counter,
    /// Handshakes failed, by [`tls::Cause::index`].
    pub failed: [Counter; tls::Cause::COUNT],
    /// Handshakes ended for newer ones.
    pub crowded_out: Counter,
    /// Handshakes not begun because their address has too many associations.
    pub refused: Counter,
    /// Handshakes not begun because their address has just begun many.
    pub hasty: Counter,
    /// Associations closed because they had no allocation for too long, or too many had none.
    pub idle: Counter,
    /// Associations closed, for whatever reason.
    pub closed: Counter,
    /// Datagrams dropped because their client has no association and begins none.
    pub unknown: Counter,
    /// Records dropped because they are not under the association's keys.
    pub forged: Counter,
    /// Records dropped because they came before, or are too old to tell.
    pub replayed: Counter,
}

impl Default for DtlsStats {
    fn default() -> Self {
        Self {
            cookies: Counter::default(),
            begun: Counter::default(),
            completed: Counter::default(),
            failed: std::array::from_fn(|_| Counter::default()),
            crowded_out: Counter::default(),
            refused: Counter::default(),
            hasty: Counter::default(),
            idle: Counter::default(),
            closed: Counter::default(),
            unknown: Counter::default(),
            forged: Counter::default(),
            replayed: Counter::default(),
        }
    }
}

impl Stats {
    pub(super) fn sent(&self, report: SendReport) {
        self.trains.add(report.trains);
        self.send_full.add(report.full);
        self.send_unreachable.add(report.unreachable);
        self.send_too_big.add(report.too_big);
        self.send_other.add(report.other);
    }
}
