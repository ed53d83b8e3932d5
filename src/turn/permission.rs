use std::net::SocketAddr;
use std::sync::Arc;

use super::allocation::{Allocation, CHANNEL_LIFETIME, Channel};
use super::server::Context;
use super::{Cause, Decision, DeniedBy, Protocol, Server};
use crate::stun::{ChannelNumber, Family};

/// Peers that one CreatePermission may always name: the candidates of a few hosts.
const PEERS: usize = 64;

impl Server {
    /// RFC 8656 §10.2: all of the peers or none.
    pub(super) fn create_permission(
        &mut self,
        context: &Context<'_>,
        slot: u32,
        out: &mut [u8],
    ) -> Result<usize, Cause> {
        let (request, now) = (context.request, context.now.mono);
        if request.peer.is_none() {
            return Err(Cause::Missing);
        }
        // Each peer is asked about by each rule: no more of them than there can be permissions.
        let allocation = &mut self.allocations[slot as usize];
        let limit = usize::from(allocation.realm.limits.permissions);
        if request.peers().count() > limit.max(PEERS) {
            return Err(Cause::PermissionLimit(allocation.realm.limits.permissions));
        }
        allocation.prune(now);
        let mut more = Vec::new();
        for peer in request.peers() {
            let peer = peer.map_err(|_| Cause::Malformed)?;
            allocation.admit_peer(peer)?;
            if allocation.permission(peer.ip(), now).is_none() {
                more.push(peer.ip());
            }
        }
        // Candidates of one host differ in the port only: its address counts once.
        more.sort_unstable();
        more.dedup();
        let count = allocation.permissions.len() + more.len();
        if count > limit {
            return Err(Cause::PermissionLimit(allocation.realm.limits.permissions));
        }
        for peer in request.peers().flatten() {
            let guarded = allocation.realm.peers.decide(peer.ip()) == Decision::Guarded;
            allocation.permit(peer.ip(), guarded, now);
        }
        Ok(context.finish(context.success(out), None))
    }

    /// RFC 8656 §12.2
    pub(super) fn channel_bind(
        &mut self,
        context: &Context<'_>,
        slot: u32,
        out: &mut [u8],
    ) -> Result<usize, Cause> {
        let (request, now) = (context.request, context.now.mono);
        let (Some(number), Some(peer)) = (request.channel, request.peer) else {
            return Err(Cause::Missing);
        };
        let number = ChannelNumber::new(number)
            .filter(|number| number.in_rfc8656_range() || self.settings.rfc5766_channels)
            .ok_or(Cause::ChannelRange)?;
        let allocation = &mut self.allocations[slot as usize];
        let realm = Arc::clone(&allocation.realm);
        let limits = &realm.limits;
        if allocation.protocol() == Protocol::Tcp {
            return Err(Cause::WrongProtocol);
        }
        allocation.prune(now);
        let of_number = allocation.channel(number, now).map(|channel| channel.peer);
        let of_peer = allocation.channel_to(peer, now).map(|channel| channel.number);
        if of_number.is_some_and(|bound| bound != peer)
            || of_peer.is_some_and(|bound| bound != number)
        {
            return Err(Cause::ChannelConflict);
        }
        let own = allocation.own
            && self.settings.self_check.as_ref().is_some_and(|it| it.peers().contains(&peer));
        let decision = if own { Decision::Allow } else { allocation.admit_peer(peer)? };
        if decision == Decision::Guarded && !self.settings.peers.admits_port(peer) {
            return Err(Cause::PeerDenied { peer: peer.ip(), by: DeniedBy::OwnPort });
        }
        if of_number.is_none() && allocation.channels.len() >= usize::from(limits.channels) {
            return Err(Cause::ChannelLimit(limits.channels));
        }
        let new = allocation.permission(peer.ip(), now).is_none();
        if new && allocation.permissions.len() >= usize::from(limits.permissions) {
            return Err(Cause::PermissionLimit(allocation.realm.limits.permissions));
        }
        // RFC 8656 §12.2 and §9: the channel for 600 seconds, its permission for 300.
        allocation.permit(peer.ip(), decision == Decision::Guarded, now);
        let route = self.settings.peers.route(peer);
        allocation.bind(Channel { number, peer, route, until: now + CHANNEL_LIFETIME });
        Ok(context.finish(context.success(out), None))
    }
}

impl Allocation {
    /// 443 before 403 (RFC 8656 §10.2, §12.2).
    pub(super) fn admit_peer(&self, peer: SocketAddr) -> Result<Decision, Cause> {
        if self.relay(Family::of(&peer.ip())).is_none() {
            return Err(Cause::PeerFamily);
        }
        match self.realm.peers.decide(peer.ip()) {
            Decision::Deny(by) => Err(Cause::PeerDenied { peer: peer.ip(), by }),
            decision => Ok(decision),
        }
    }
}
