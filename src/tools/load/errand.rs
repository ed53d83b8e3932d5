//! What a client has to ask of the server, request after request.

use std::net::SocketAddr;

use super::options::Mode;
use crate::client::{Failure, Request};
use crate::stun::{ChannelNumber, Family};

/// The channel of every client: the first of all (RFC 8656 §12).
pub(super) const CHANNEL: u16 = 0x4000;
/// How long allocations are asked to live, in seconds; they are kept up long before.
const LIFETIME: u32 = 600;

/// A sequence of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Allocate, and what the mode needs to relay.
    SetUp,
    /// Prolong all of it.
    KeepUp,
    /// Give the allocation back.
    TearDown,
    /// All that an allocation can go through, from its making to its end.
    Cycle,
}

/// What the requests say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) family: Option<Family>,
    /// Known with the first allocation, where the peer is built in.
    pub(super) peer: Option<SocketAddr>,
}

/// How an errand has ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) client: u32,
    pub(super) errand: Errand,
    /// When it was begun, or was meant to, in nanoseconds since the start.
    pub(super) started: u64,
    pub(super) ended: u64,
    pub(super) result: Result<(), Trouble>,
}

/// Why something has failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Trouble {
    /// The server's answer, or its silence.
    #[error("{0}")]
    Request(Failure),
    /// The socket's own error.
    #[error("{0}")]
    Link(String),
}

impl Errand {
    /// The next request, when `done` is the last one that succeeded.
    pub(super) fn next(self, done: Option<Request>, plan: &Plan) -> Option<Request> {
        let allocate = Request::Allocate { family: plan.family, lifetime: None };
        match (self, done) {
            (Self::SetUp | Self::Cycle, None) => Some(allocate),
            (Self::KeepUp, None) => Some(Request::Refresh { lifetime: LIFETIME }),
            (Self::TearDown, None) => Some(Request::Refresh { lifetime: 0 }),
            (Self::SetUp, Some(Request::Allocate { .. }))
            | (Self::KeepUp, Some(Request::Refresh { .. })) => match plan.mode {
                Mode::Send => permission(plan),
                _ => channel(plan),
            },
            (Self::Cycle, Some(Request::Allocate { .. })) => permission(plan),
            (Self::Cycle, Some(Request::CreatePermission { .. })) => channel(plan),
            (Self::Cycle, Some(Request::ChannelBind { .. })) => {
                Some(Request::Refresh { lifetime: 0 })
            }
            _ => None,
        }
    }
}

fn permission(plan: &Plan) -> Option<Request> {
    plan.peer.map(|peer| Request::CreatePermission { peer })
}

fn channel(plan: &Plan) -> Option<Request> {
    let number = ChannelNumber::new(CHANNEL)?;
    plan.peer.map(|peer| Request::ChannelBind { number, peer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::Method;

    fn methods(errand: Errand, mode: Mode) -> Vec<&'static str> {
        let peer = Some("192.0.2.1:9".parse().unwrap());
        let plan = Plan { mode, family: None, peer };
        let mut all: Vec<Method> = Vec::new();
        let mut done = None;
        while let Some(request) = errand.next(done, &plan) {
            all.push(request.method());
            done = Some(request);
        }
        all.into_iter().map(Method::name).collect()
    }

    #[test]
    fn errands_ask_what_their_mode_needs() {
        let set_up = |mode| methods(Errand::SetUp, mode);
        assert_eq!(set_up(Mode::Channel), ["Allocate", "ChannelBind"]);
        assert_eq!(set_up(Mode::Send), ["Allocate", "CreatePermission"]);
        assert_eq!(methods(Errand::KeepUp, Mode::Send), ["Refresh", "CreatePermission"]);
        assert_eq!(methods(Errand::TearDown, Mode::Channel), ["Refresh"]);
        let cycle = ["Allocate", "CreatePermission", "ChannelBind", "Refresh"];
        assert_eq!(methods(Errand::Cycle, Mode::Churn), cycle);
    }
}
