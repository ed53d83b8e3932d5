//! The realms of a configuration, and the sockets that some of them have for themselves.

use std::net::SocketAddr;

use super::base::Base;
use super::error::StartError;
use super::ready::Bound;
use crate::auth::{Reach, Realms, prepare};
use crate::config::{self, Config};
use crate::turn::RealmSettings;

impl Base {
    /// Who may come in where.
    ///
    /// # Errors
    /// A credential cannot be used.
    pub(super) fn realms(&self, config: &Config, bound: &Bound) -> Result<Realms, StartError> {
        let others = config.realms.iter().map(|realm| {
            let listeners = listeners(realm, config, bound);
            let mut auth = realm.auth.clone();
            // A store finds nobody by the hash of a name.
            auth.directory = config.auth.directory.clone().filter(|_| !auth.username_anonymity);
            (auth, Reach { listeners, ..realm.reach.clone() })
        });
        Ok(Realms::new(self.itself.admitted(&config.auth), others, self.master)?)
    }
}

/// What the core has to know of the realms beside who is in them.
pub(super) fn settings(config: &Config) -> Vec<RealmSettings> {
    let one = |realm: &config::Realm| {
        let name = prepare(&realm.auth.realm).unwrap_or_default().into_owned();
        RealmSettings { name, rules: realm.peers.clone(), limits: realm.limits.clone() }
    };
    config.realms.iter().map(one).collect()
}

/// A realm's listeners as they are bound. One with port 0 stands for what has come of all that are configured so on
/// its address.
pub(super) fn listeners(realm: &config::Realm, config: &Config, bound: &Bound) -> Vec<SocketAddr> {
    let worker = &config.worker;
    let configured = [&worker.listeners, &worker.tls_listeners, &worker.dtls_listeners];
    let settled = |address: &SocketAddr| configured.iter().any(|all| all.contains(address));
    let all = || [&bound.udp, &bound.tls, &bound.dtls].into_iter().flatten().copied();
    let one = |own: &SocketAddr| match own.port() {
        0 => all().filter(|it| it.ip() == own.ip() && !settled(it)).collect(),
        _ => vec![*own],
    };
    realm.reach.listeners.iter().flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_listener_with_port_0_is_what_has_come_of_it() {
        let mut config = Config::default();
        config.worker.listeners = vec![at("127.0.0.1:0"), at("127.0.0.2:0"), at("127.0.0.2:3478")];
        config.worker.tls_listeners = vec![at("127.0.0.2:0")];
        let bound = Bound {
            udp: vec![at("127.0.0.1:1111"), at("127.0.0.2:2222"), at("127.0.0.2:3478")],
            tcp: Vec::new(),
            tls: vec![at("127.0.0.2:3333")],
            dtls: Vec::new(),
            admin: None,
            web: Vec::new(),
        };
        let listeners = |text: &[&str]| {
            let reach =
                Reach { listeners: text.iter().map(|text| at(text)).collect(), ..Reach::default() };
            let (auth, limits) = (config.auth.clone(), config.limits.clone());
            let realm = config::Realm { auth, reach, peers: Vec::new(), limits };
            super::listeners(&realm, &config, &bound)
        };
        assert_eq!(listeners(&["127.0.0.2:0"]), [at("127.0.0.2:2222"), at("127.0.0.2:3333")]);
        assert_eq!(listeners(&["127.0.0.2:3478"]), [at("127.0.0.2:3478")]);
    }
}
