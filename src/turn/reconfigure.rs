use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::realm::Realm;
use super::{Decision, Effect, EndReason, PeerPolicy, RelaySockets, Server, Settings, Stats};
use crate::auth::{Credential, OnRevocation, Realms, UserName};
use crate::time::Now;

impl Server {
    /// Goes on with other settings and credentials, from the next packet on.
    ///
    /// What clients have they keep, with two exceptions. A peer that may not be relayed to any more loses its
    /// permissions and channels, and its TCP connections are closed. What becomes of an allocation whose credential
    /// is none any more says [`OnRevocation`] in the new credentials. New limits are for what comes new.
    ///
    /// Relayed transport addresses stay what they are. Where new ones are made the [`Ledger`](super::Ledger) decides,
    /// which is told behind all servers; until the last of before has ended, their rules about peers have to
    /// [know](super::PeerPolicy::with_former) these too.
    pub fn reconfigure(
        &mut self,
        now: Now,
        settings: &Arc<Settings>,
        authorities: &Arc<Realms>,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) {
        let before = std::mem::replace(&mut self.settings, Arc::clone(settings));
        self.realms = Realm::all(settings, authorities);
        let (mut denied, mut gone) = (Vec::new(), Vec::new());
        for (slot, allocation) in &mut self.allocations {
            let realm = match authorities.place(allocation.realm.name()) {
                Some(place) => Arc::clone(&self.realms[place]),
                // One whose realm is gone goes by what that was last, and by the server's rules.
                None => following(&mut gone, &allocation.realm, &settings.peers),
            };
            if allocation.realm.peers != realm.peers {
                denied.push(slot as u32);
            }
            allocation.realm = realm;
        }
        denied.into_iter().for_each(|slot| self.end_denied(slot, stats));
        if before.usage_interval != self.settings.usage_interval {
            self.file_all_reports(now.mono);
        }
        let before = std::mem::replace(&mut self.authorities, Arc::clone(authorities));
        if !Arc::ptr_eq(&before, authorities) {
            self.look_again(now, None, sockets, stats);
        }
    }

    /// Ends what goes from an allocation to peers that are denied now, and what comes from there.
    pub(super) fn end_denied(&mut self, slot: u32, stats: &Stats) {
        let Some(allocation) = self.allocations.get_mut(slot as usize) else {
            return;
        };
        let realm = Arc::clone(&allocation.realm);
        let peers = &realm.peers;
        let decide = |ip: IpAddr| peers.decide(ip);
        let denied = |ip: IpAddr| matches!(decide(ip), Decision::Deny(_));
        let may_go_on = |peer: SocketAddr| match decide(peer.ip()) {
            Decision::Allow => true,
            Decision::Guarded => peers.admits_port(peer),
            Decision::Deny(_) => false,
        };
        allocation.permissions.retain(|permission| !denied(permission.peer));
        for permission in &mut allocation.permissions {
            permission.guarded = decide(permission.peer) == Decision::Guarded;
        }
        allocation.channels.retain(|channel| may_go_on(channel.peer));
        for channel in &mut allocation.channels {
            channel.route = peers.route(channel.peer);
        }
        let connections = allocation.tcp.iter().flat_map(|tcp| &tcp.connections).copied();
        let lost: Vec<_> = connections
            .filter(|id| self.connections.get(*id).is_some_and(|it| !may_go_on(it.peer)))
            .collect();
        for id in lost {
            self.forget_connection(id, stats);
            self.effects.push_back(Effect::Disconnect(id));
        }
    }

    /// Looks whether the credentials of a user, or of everybody, are still good, and does with allocations whose
    /// credentials are none any more what the operator wants.
    pub fn look_again(
        &mut self,
        now: Now,
        user: Option<&UserName>,
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) {
        let mut revoked = Vec::new();
        for (slot, allocation) in &mut self.allocations {
            let (realm, credential) = (&allocation.realm, &allocation.credential);
            let concerned = |user: &UserName| {
                *user.name == *credential.username() && user.realm == *credential.realm()
            };
            if !user.is_none_or(concerned) {
                continue;
            }
            allocation.revoked =
                is_revoked(&self.authorities, realm, credential, allocation.revoked);
            if allocation.revoked && realm.authority.on_revocation() == OnRevocation::End {
                revoked.push(slot as u32);
            }
        }
        for slot in revoked {
            self.end(slot, EndReason::CredentialRevoked, now.mono, sockets, stats);
        }
    }

    /// Whether a credential was taken back, and does less for that.
    pub(super) fn is_revoked(&self, realm: &Realm, credential: &Credential, before: bool) -> bool {
        is_revoked(&self.authorities, realm, credential, before)
    }

    /// The realm of this name now.
    pub(super) fn realm_named(&self, name: &str) -> Option<&Arc<Realm>> {
        self.authorities.place(name).map(|place| &self.realms[place])
    }
}

/// A realm that is gone, under the server's rules of now; those of whom that is known already share it.
fn following(
    known: &mut Vec<[Arc<Realm>; 2]>,
    gone: &Arc<Realm>,
    server: &PeerPolicy,
) -> Arc<Realm> {
    if let Some([_, now]) = known.iter().find(|[before, _]| Arc::ptr_eq(before, gone)) {
        return Arc::clone(now);
    }
    let now = gone.under(server);
    known.push([Arc::clone(gone), Arc::clone(&now)]);
    now
}

/// A realm that is gone has taken back all of its credentials. Of whom nothing is known any more, what was known
/// `before` still holds.
fn is_revoked(realms: &Realms, realm: &Realm, credential: &Credential, before: bool) -> bool {
    let there = realms.place(realm.name()).is_some();
    let vouched = || if there { realm.authority.vouches_for(credential) } else { Some(false) };
    realm.authority.on_revocation() != OnRevocation::Keep && !vouched().unwrap_or(!before)
}
