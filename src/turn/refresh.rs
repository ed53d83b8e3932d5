use std::sync::Arc;
use std::time::Duration;

use super::server::Context;
use super::{Cause, EndReason, RelayId, RelaySockets, Server};
use crate::stun::{Family, attribute};

impl Server {
    /// RFC 8656 §8.2
    pub(super) fn refresh(
        &mut self,
        context: &Context<'_>,
        slot: u32,
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
    ) -> Result<usize, Cause> {
        let (family, lifetime) = self.renewal(context, slot)?;
        self.renew(context, slot, family, lifetime, sockets);
        Ok(self.refresh_response(context, slot, lifetime, out))
    }

    /// Which family's relayed transport address is renewed, if not all of them, and for how long.
    pub(super) fn renewal(
        &self,
        context: &Context<'_>,
        slot: u32,
    ) -> Result<(Option<Family>, u32), Cause> {
        let request = context.request;
        let allocation = &self.allocations[slot as usize];
        let family = match request.family {
            None => None,
            // RFC 8656 §8.2: a family that the allocation does not have gets 443.
            Some(code) => Some(
                Family::from_code(code)
                    .filter(|family| allocation.relay(*family).is_some())
                    .ok_or(Cause::PeerFamily)?,
            ),
        };
        let lifetime = match request.lifetime {
            Some(0) => 0,
            _ => self.granted(context),
        };
        Ok((family, lifetime))
    }

    /// Renews it; a lifetime of 0 deletes it.
    pub(super) fn renew(
        &mut self,
        context: &Context<'_>,
        slot: u32,
        family: Option<Family>,
        lifetime: u32,
        sockets: &mut dyn RelaySockets,
    ) {
        let now = context.now.mono;
        if lifetime == 0 {
            self.delete(context, slot, family, sockets);
        } else {
            if context.request.claim.token.is_some() {
                self.assign(context, slot);
            }
            let relays = &mut self.allocations[slot as usize].relays;
            for (of, relay) in [Family::V4, Family::V6].into_iter().zip(relays) {
                if let Some(relay) = relay
                    && family.is_none_or(|family| family == of)
                {
                    relay.expires = now + Duration::from_secs(lifetime.into());
                }
            }
        }
        if let Some(end) = self.allocations.get(slot as usize).and_then(|a| a.next_end()) {
            self.wheel.set(slot, end);
        }
        self.tell_host(context, slot);
    }

    pub(super) fn refresh_response(
        &self,
        context: &Context<'_>,
        slot: u32,
        lifetime: u32,
        out: &mut [u8],
    ) -> usize {
        let mut writer = context.success(out);
        writer.number(attribute::LIFETIME, lifetime);
        if let Some(ticket) = self.ticket(slot) {
            writer.attribute(attribute::MOBILITY_TICKET, &ticket);
        }
        context.finish(writer, self.settings.software.as_deref())
    }

    /// RFC 7635 §9: from now on the allocation is the new token's, and what has become of the one before is nothing to it.
    fn assign(&mut self, context: &Context<'_>, slot: u32) {
        let hard_end = self.hard_end(context);
        let allocation = &mut self.allocations[slot as usize];
        allocation.credential = Arc::clone(&context.who.credential);
        allocation.hard_end = hard_end;
        allocation.revoked = false;
    }

    /// Deletes the relayed transport address of a family, and the allocation with its last one.
    fn delete(
        &mut self,
        context: &Context<'_>,
        slot: u32,
        family: Option<Family>,
        sockets: &mut dyn RelaySockets,
    ) {
        let allocation = &self.allocations[slot as usize];
        let dual = allocation.relays.iter().flatten().count() == 2;
        match family {
            Some(family) if dual => {
                self.end_relay(RelayId { slot, family }, sockets, context.stats);
            }
            _ => {
                let (now, stats) = (context.now.mono, context.stats);
                self.end(slot, EndReason::Deleted, now, sockets, stats);
            }
        }
    }
}
