//! What stands in the place of `dtls` in a build without it.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::engine::Engine;
use super::outbox::{Outbox, Piece};
use super::{DtlsLimits, Stats};
use crate::time::{Mono, Now};
use crate::tls::Identities;
use crate::turn::{Client, FiveTuple};

/// None of it is ever made.
pub(super) enum Dtls {}

impl Dtls {
    pub(super) const fn new(
        _: Option<&Arc<Identities>>,
        _: &DtlsLimits,
        _: usize,
    ) -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(super) const fn knows(&self, _: &FiveTuple) -> bool {
        false
    }

    pub(super) const fn asked_name(&self, _: &Client) -> Option<&str> {
        None
    }

    pub(super) const fn has_calls_on(&self, _: RawFd) -> bool {
        false
    }

    pub(super) fn set_limits(&mut self, _: DtlsLimits) {}

    pub(super) const fn respond(&mut self, _: &mut Outbox, _: &Client, _: &[u8], _: &Stats) {}

    pub(super) const fn deliver(
        &mut self,
        _: &mut Outbox,
        _: &Client,
        _: &[u8],
        _: Piece,
        _: usize,
        _: &Stats,
    ) {
    }

    pub(super) const fn set_waiting(&mut self, _: &Client, _: bool, _: Mono) -> bool {
        false
    }

    pub(super) const fn deadline(&self) -> Option<Mono> {
        None
    }

    pub(super) const fn has_work(&self) -> bool {
        false
    }
}

impl Engine {
    pub(super) const fn on_dtls(&mut self, _: &Client, _: Piece, _: bool, _: &Stats) {}

    pub(super) const fn shake_hands_by_dtls(&mut self) {}

    pub(super) const fn finish_dtls(&mut self, _: Now) {}

    pub(super) const fn end_dtls_on(&mut self, _: RawFd) {}

    pub(super) const fn close_all_associations(&mut self) {}
}
