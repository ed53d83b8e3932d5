use std::sync::Arc;

use super::allocation::Allocation;
use super::request::Request;
use super::{Client, Limits, PeerPolicy, PeerRule, RelaySockets, Server, Settings};
use crate::auth::{Authority, Realms, Way};

/// What the users of a realm may do, where that differs from the default realm's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmSettings {
    /// Its name, prepared.
    pub name: String,
    /// Its own rules about peers ([`PeerPolicy::of_realm`]).
    pub rules: Vec<PeerRule>,
    /// How much of everything. Of allocations, in all and of one address, both these bounds and the default
    /// realm's hold: the latter are the server's. What strangers may do is the server's as well.
    pub limits: Limits,
}

/// One realm: who its users are, and what they may do.
pub(super) struct Realm {
    pub(super) authority: Arc<Authority>,
    pub(super) peers: PeerPolicy,
    pub(super) limits: Limits,
}

impl Realm {
    /// All realms, in the order of their places.
    pub(super) fn all(settings: &Settings, realms: &Realms) -> Vec<Arc<Self>> {
        let one = |authority: &Arc<Authority>| {
            let own = settings.realms.iter().find(|own| *own.name == **authority.realm());
            let rules = own.map(|own| own.rules.clone()).unwrap_or_default();
            let limits = own.map_or(&settings.limits, |own| &own.limits).clone();
            let peers = settings.peers.of_realm(rules);
            Arc::new(Self { authority: Arc::clone(authority), peers, limits })
        };
        realms.all().iter().map(one).collect()
    }

    /// The same with its own rules about peers behind those of the server as they are now.
    pub(super) fn under(&self, server: &PeerPolicy) -> Arc<Self> {
        let (authority, limits) = (Arc::clone(&self.authority), self.limits.clone());
        Arc::new(Self { authority, peers: self.peers.following(server), limits })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        self.authority.realm()
    }
}

impl Server {
    /// The realm that answers a request; `known` is the allocation that it is about. That one is of its realm for
    /// ever, wherever its client comes from.
    pub(super) fn realm_of(
        &self,
        request: &Request<'_>,
        known: Option<&Allocation>,
        client: &Client,
        sockets: &dyn RelaySockets,
    ) -> Arc<Realm> {
        // What nobody has signed names no realm, and no allocation but that of the 5-tuple: whoever guesses at a
        // name of another's learns nothing from its challenge.
        let signed = request.message.has_integrity();
        let claimed = request.claim.realm.filter(|_| signed);
        let known = known.filter(|known| signed || known.client.tuple == client.tuple);
        if let Some(Allocation { realm, revoked, .. }) = known
            // One that is gone serves nobody but its live allocations, if these go on.
            && (!revoked || self.realm_named(realm.name()).is_some())
            && claimed.is_none_or(|name| name == realm.name().as_bytes())
        {
            return Arc::clone(realm);
        }
        // The process asks itself as a user of the default realm, at whatever listener.
        if self.settings.may_be_self_check(&client.tuple) {
            return Arc::clone(&self.realms[0]);
        }
        let name = sockets.server_name(client);
        let way = Way { server: client.tuple.server, name, origins: request.origins };
        Arc::clone(&self.realms[self.authorities.serving(claimed, &way)])
    }
}
