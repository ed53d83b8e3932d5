//! What the settings of the workers are made of: a configuration, and what the start has found out about this host.

use std::path::Path;
use std::sync::Arc;

use super::alternates::Others;
use super::capacity::Capacity;
use super::certificates::Certificates;
use super::discovery;
use super::error::StartError;
use super::health::Itself;
use super::places::{Listened, Places};
use super::ready::{Bound, ReadyFile};
use super::realms;
use super::sandbox::Sandbox;
use super::secret::{self, Place};
use super::stores::Stores;
use super::web::{self, WebServer};
use crate::auth;
use crate::config::{self, Config};
use crate::net;
use crate::tls::{self, Identities};
use crate::turn::{self, PeerPolicy, PortRange, RelayAddress};
use crate::worker::{Datapath, Live};

/// What was found out, beside the configuration.
pub(super) struct Base {
    pub(super) places: Places,
    pub(super) listened: Listened,
    pub(super) certificates: Certificates,
    /// What TLS was served with last.
    pub(super) tls: Option<tls::Server>,
    /// Other servers, with what is known of them.
    pub(super) alternates: Others,
    /// The root of all nonces: clients keep theirs over a change.
    pub(super) master: [u8; 16],
    /// What this process is kept to.
    pub(super) sandbox: Sandbox,
    /// Whom this server knows as itself, to see whether it relays.
    pub(super) itself: Itself,
    /// Where other users live.
    pub(super) stores: Arc<Stores>,
    /// The secret of a server that needs one and was given none.
    pub(super) generated: Option<auth::Secret>,
    pub(super) ready_file: Option<ReadyFile>,
    /// What is served over HTTP.
    pub(super) web: WebServer,
}

impl Base {
    /// What the workers are to go by, with other places where those are to change. `former` are relay addresses and
    /// ports of before; `same_tls` when TLS is spoken as before; `bound` is what is listened on.
    ///
    /// # Errors
    /// The configuration cannot be used here.
    pub(super) fn live(
        &mut self,
        config: &Config,
        places: Option<&Places>,
        former: Vec<(RelayAddress, PortRange)>,
        (identities, same_tls): (Option<&Arc<Identities>>, bool),
        bound: &Bound,
    ) -> Result<Live, StartError> {
        let mut config = config.clone();
        config.web.page = web::has_page(&config);
        let tls = self.tls.as_ref().filter(|_| same_tls);
        config.worker.tls = tls_server(tls, identities, &config.tls)?;
        config.worker.identities = identities.cloned();
        match &self.generated {
            Some(secret) if needs_secret(&config) => config.auth.secrets.push(secret.clone()),
            _ => self.generated = generated_secret(&mut config)?.or(self.generated.take()),
        }
        config.auth.directory = self.stores.directory_for(&config);
        let places = places.unwrap_or(&self.places);
        places.check_backend(&config)?;
        let realms = self.realms(&config, bound)?;
        config.worker.web = self.web.passed(&config);
        cap_limits(&mut config, &places.relays(), false);
        Ok(Live {
            turn: Arc::new(self.turn_settings(&config, places, former)),
            realms: Arc::new(realms),
            streams: config.worker.streams.clone(),
            dtls: config.worker.dtls_limits.clone(),
            proxies: config.worker.proxies.clone(),
            web: config.worker.web.clone(),
            path: Datapath::of(&config.worker),
        })
    }

    /// With these credentials other servers are asked.
    pub(super) fn asker(&self, config: &Config) -> auth::Settings {
        let mut auth = config.auth.clone();
        if needs_secret(config) {
            auth.secrets.extend(self.generated.clone());
        }
        auth
    }

    /// The settings of the core, with what had to be found out first.
    pub(super) fn turn_settings(
        &self,
        config: &Config,
        places: &Places,
        former: Vec<(RelayAddress, PortRange)>,
    ) -> turn::Settings {
        let (relays, ports) = (places.relays(), config.relay.ports);
        let mut own = places.own.clone();
        own.extend(discovery::outside(&places.discovery));
        let peers = PeerPolicy::new(config.peers.clone(), relays.clone(), ports, own);
        turn::Settings {
            tcp_allocations: config.turn.tcp_allocations,
            software: config.turn.software.clone(),
            peers: peers.with_former(former),
            relays,
            ports,
            default_lifetime: config.turn.default_lifetime,
            max_lifetime: config.turn.max_lifetime,
            explain: config.turn.explain,
            rfc5766_channels: config.turn.rfc5766_channels,
            discovery: places.discovery.clone(),
            alternates: self.alternates.prepare(&config.redirect),
            mobility: config.turn.mobility,
            limits: config.limits.clone(),
            usage_interval: config.events.usage_interval(),
            self_check: Some(Arc::clone(&self.itself.check)),
            realms: realms::settings(config),
        }
    }
}

/// What streams with TLS are served with, if there is a certificate: what was `before`, whose tickets are good then.
pub(super) fn tls_server(
    before: Option<&tls::Server>,
    identities: Option<&Arc<Identities>>,
    settings: &config::Tls,
) -> Result<Option<tls::Server>, StartError> {
    let settings = tls::Settings { min_version: settings.min_version, ..tls::Settings::default() };
    let make = |identities| tls::Server::new(identities, &settings).map_err(StartError::from);
    identities.map(|it| before.map_or_else(|| make(it), |it| Ok(it.clone()))).transpose()
}

/// Makes or finds the secret of a server that needs one and has none, and configures it.
pub(super) fn generated_secret(config: &mut Config) -> Result<Option<auth::Secret>, StartError> {
    if !needs_secret(config) {
        return Ok(None);
    }
    let usual = secret::usual_directories(|name| std::env::var(name).ok());
    let kept = secret::find_or_make(config.state_directory.as_deref(), usual)?;
    match &kept.place {
        Place::Made(path) => log_secret("no secret is configured: made one", path),
        Place::Found(path) => {
            log_secret("no secret is configured: using the one made earlier", path);
        }
        Place::Memory(tried) => tracing::warn!(
            event = "secret_not_kept",
            "no secret is configured, and the one made instead can be kept nowhere \
             ({tried}): what is minted with it ends with this process; \
             give a --state-directory that can be written",
        ),
    }
    config.auth.secrets.push(kept.secret.clone());
    Ok(Some(kept.secret))
}

/// Without any credentials nobody could come in, and without a secret nothing could be minted for an API key.
fn needs_secret(config: &Config) -> bool {
    !config.has_credentials() || web::is_wanted(config) && config.auth.secrets.is_empty()
}

fn log_secret(what: &str, path: &Path) {
    tracing::info!(event = "secret", "{what}, kept in {path:?}");
}

/// Lowers the limits to what the host can hold. Says what that is at the start, and later when it is less than what is
/// asked for.
pub(super) fn cap_limits(config: &mut Config, relays: &[RelayAddress], start: bool) {
    let descriptors = match net::raise_descriptor_limit() {
        Ok((descriptors, _)) => descriptors,
        Err(error) => {
            tracing::warn!(
                event = "capacity_unknown",
                "the limit of open descriptors cannot be had: {error}",
            );
            return;
        }
    };
    let capacity = Capacity::new(descriptors, &config.worker, relays, config.relay.ports);
    let asked = config.limits.allocations;
    let too_many = capacity.cap(&mut config.limits);
    let streams = &mut config.worker.streams.without_allocation;
    *streams = capacity.streams.clamp(1, (*streams).max(1));
    let webs = &mut config.worker.streams.web;
    *webs = capacity.webs.clamp(1, (*webs).max(1));
    if start || too_many {
        capacity.log(asked, too_many);
    }
}
