//! Where the application of `web` is served, and by what settings.
//!
//! HTTP that comes in on the listeners of STUN and TURN is passed on by the workers as to any web server behind them,
//! to a socket that only this process gets an answer at, with a PROXY protocol header that names the client. So the page
//! is there over http and https wherever TURN is. `web.listen` are listeners of their own beside that, without TLS.

mod doors;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, UnixListener};

use super::admin::Admin;
use super::error::StartError;
use super::invitation::digest;
use super::listen;
use super::places::{Listened, Places};
use super::uris;
use crate::auth::{RestDigest, Secret, mint_password, prepare};
use crate::config::Config;
use crate::net::Endpoint;
use crate::tls::Identities;
use crate::turn::Prefix;
use crate::web::{Key, Keys, Mint, Origins, Settings, Signalling, Web, calls, operators, router};
use crate::worker::{Clock, WebSettings, proxy};
use doors::{Proxies, Service};

/// What the key of the page is called, and what it is made for.
const OWN: &str = "page";
const OWN_PURPOSE: &str = "key of the page";
const OWN_TTL: Duration = Duration::from_secs(3600);
/// The application, and where the workers pass HTTP on to.
pub(super) struct WebServer {
    app: Arc<Web>,
    inside: Endpoint,
    proxies: Proxies,
}

/// Listeners that nobody is served at yet.
pub(super) struct Doors {
    inside: std::os::unix::net::UnixListener,
    own: Vec<std::net::TcpListener>,
}

/// Whether something is to be served over HTTP.
pub(super) fn is_wanted(config: &Config) -> bool {
    has_page(config) || !config.web.keys.is_empty()
}

/// A server that was told nothing at all is one to try out.
pub(super) fn has_page(config: &Config) -> bool {
    config.web.page || config.files.is_empty() && !config.has_credentials()
}

impl WebServer {
    /// Binds everything.
    ///
    /// # Errors
    /// A port is taken, or the system lacks something.
    pub(super) fn bind(config: &Config, clock: Clock) -> Result<(Self, Doors), StartError> {
        let own = config.web.listen.iter().map(|address| {
            listen::bind(*address).map_err(|error| StartError::Web(*address, error))
        });
        let own = own.collect::<Result<Vec<_>, _>>()?;
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(StartError::Random)?;
        // In the abstract namespace (unix(7)): no file, no directory that must be there.
        let name = format!("\0turnwire-web-{:032x}", u128::from_ne_bytes(name));
        let failed = |error| StartError::System("a socket for the web", error);
        let inside = doors::listen(&name).map_err(failed)?;
        let server = Self {
            app: Web::new(move || clock.now()),
            inside: Endpoint::Unix(PathBuf::from(name)),
            proxies: Arc::new(ArcSwap::from_pointee(config.worker.proxies.clone())),
        };
        Ok((server, Doors { inside, own }))
    }

    /// Serves until the runtime ends.
    ///
    /// # Errors
    /// What the event loop lacks.
    pub(super) fn serve(&self, doors: Doors, admin: &Arc<Admin>) -> Result<(), StartError> {
        let failed = |error| StartError::System("an event loop for the web", error);
        let web = &self.app;
        let calls = calls(Signalling::new(Arc::clone(web), Arc::clone(admin) as _));
        let beside = calls.merge(operators(Arc::clone(web), Arc::clone(admin).view()));
        let app = router(Arc::clone(web), beside);
        let inside = UnixListener::from_std(doors.inside).map_err(failed)?;
        let service = Service::new(app, Arc::clone(web));
        tokio::spawn(service.clone().inside(inside));
        for listener in doors.own {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            tokio::spawn(service.clone().own(listener, Arc::clone(&self.proxies)));
        }
        Ok(())
    }

    /// What the workers do with HTTP.
    pub(super) fn passed(&self, config: &Config) -> WebSettings {
        let web = &config.worker.web;
        if web.backend.is_some() || !is_wanted(config) {
            return web.clone();
        }
        let (backend, header) = (Some(self.inside.clone()), Some(proxy::Version::V2));
        WebSettings { backend, header, plain: true }
    }

    pub(super) fn app(&self) -> Arc<Web> {
        Arc::clone(&self.app)
    }

    /// Answers by these settings from now on, and takes the word of these proxies of `listen.proxies`.
    pub(super) fn replace(&self, settings: Settings, proxies: &[Prefix]) {
        self.app.replace(settings);
        self.proxies.store(Arc::new(proxies.to_vec()));
    }
}

/// By what the application answers. `generated` is the secret of a server that needs one and was given none.
pub(super) fn settings(
    config: &Config,
    (places, listened): (&Places, &Listened),
    identities: Option<&Arc<Identities>>,
    generated: Option<&Secret>,
) -> Settings {
    let found = uris::Found::new(config, places, listened, identities);
    let mut mints = Vec::new();
    let default = config.auth.secrets.first().or(generated);
    let all = [(None, &config.auth, default)].into_iter().chain(
        config.realms.iter().map(|realm| (Some(realm), &realm.auth, realm.auth.secrets.first())),
    );
    for (realm, auth, secret) in all {
        let uris = match &config.web.uris[..] {
            [] => found.of(realm),
            uris => uris.to_vec(),
        };
        mints.extend(secret.map(|secret| Mint {
            realm: name_of(&auth.realm),
            secret: secret.clone(),
            digest: digest(auth),
            separator: auth.separator,
            uris,
        }));
    }
    let own = own_secret(config, generated).map(|secret| Key::new(OWN, &secret, OWN, 0, OWN_TTL));
    let keys = config.web.keys.iter().filter_map(|key| {
        let realm = key.realm.clone().unwrap_or_else(|| name_of(&config.auth.realm));
        let mint = mints.iter().position(|mint| mint.realm == realm)?;
        Some(Key::new(&key.name, key.secret.as_ref()?, &key.label, mint, key.max_ttl))
    });
    let origins = match &config.web.origins[..] {
        [] => Origins::None,
        all if all.iter().any(|origin| origin == "*") => Origins::All,
        some => Origins::Some(some.to_vec()),
    };
    Settings {
        page: has_page(config),
        keys: Keys::new(keys.chain(own).collect()),
        mints,
        ttl: config.web.ttl,
        origins,
        per_key: config.web.key_requests_per_minute,
        per_address: config.web.address_requests_per_minute,
    }
}

/// What the page of a server that was told nothing opens the way to credentials with. It is made of the secret that this
/// server has made for itself, so that a link with it stays good as long as that.
pub(super) fn own_secret(config: &Config, generated: Option<&Secret>) -> Option<Secret> {
    let secret = generated.filter(|_| config.files.is_empty())?;
    // No expiry stands in this name: as a password the digest lets nobody in.
    let digest = mint_password(RestDigest::Sha256, secret, OWN_PURPOSE);
    Some(Secret::new(digest.replace('+', "-").replace('/', "_").trim_end_matches('=')))
}

fn name_of(realm: &str) -> String {
    prepare(realm).map_or_else(|| realm.to_owned(), |name| name.into_owned())
}

impl Doors {
    /// The listeners for HTTP alone, as they are bound.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn own(&self) -> io::Result<Vec<SocketAddr>> {
        self.own.iter().map(std::net::TcpListener::local_addr).collect()
    }
}
