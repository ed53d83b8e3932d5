use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Authority, InvalidCredential, Settings, canonical_origin};

/// Where the clients of a realm come in. A realm with nothing here is for those that name it in REALM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Names that clients ask for in TLS and DTLS (SNI).
    pub server_names: Vec<String>,
    /// Addresses of this server; an unspecified one stands for all of its family with that port.
    pub listeners: Vec<SocketAddr>,
    /// What browsers say in ORIGIN (draft-johnston-tram-stun-origin).
    pub origins: Vec<String>,
    /// The realm serves nobody who has not come in by one of these.
    pub exclusive: bool,
}

/// So many ORIGIN attributes of a request are looked at: coturn's client sends three.
pub const ORIGINS: usize = 4;

/// How a request has come in.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The address of this server that it was sent to.
    pub server: SocketAddr,
    /// The name that its client has asked for in TLS or DTLS.
    pub name: Option<&'a str>,
    /// Each ORIGIN, unchecked: the first one that is some realm's counts.
    pub origins: [Option<&'a [u8]>; ORIGINS],
}

/// Realms that cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRealms {
    /// One of them cannot be used.
    #[error("the realm {0:?}: {1}")]
    Credential(String, InvalidCredential),
    /// Two of one name.
    #[error("the realm {0:?} is there twice")]
    Duplicate(String),
}

/// The realms of one server: each with its own [`Authority`], and which of them a client is in.
///
/// The first one is the default: whoever comes in by no other realm's [`Reach`] is challenged by it.
pub struct Realms {
    all: Vec<Arc<Authority>>,
    exclusive: Vec<bool>,
    by_realm: HashMap<Arc<str>, usize>,
    by_name: HashMap<Box<str>, usize>,
    by_listener: HashMap<SocketAddr, usize>,
    by_origin: HashMap<String, usize>,
}

impl Realms {
    /// A server with one realm.
    pub fn single(authority: Authority) -> Self {
        let by_realm = HashMap::from([(Arc::clone(authority.realm()), 0)]);
        Self {
            all: vec![Arc::new(authority)],
            exclusive: vec![false],
            by_realm,
            by_name: HashMap::new(),
            by_listener: HashMap::new(),
            by_origin: HashMap::new(),
        }
    }

    /// The default realm and others. `master` is the random root of all nonces. What two of them claim
    /// is the first one's.
    ///
    /// # Errors
    /// The first of them that cannot be used.
    pub fn new(
        default: Settings,
        others: impl IntoIterator<Item = (Settings, Reach)>,
        master: [u8; 16],
    ) -> Result<Self, InvalidRealms> {
        let authority = |settings: Settings| {
            let realm = settings.realm.clone();
            Authority::new(settings, master)
                .map_err(|error| InvalidRealms::Credential(realm, error))
        };
        let mut realms = Self::single(authority(default)?);
        for (settings, reach) in others {
            realms.add(authority(settings)?, &reach)?;
        }
        Ok(realms)
    }

    fn add(&mut self, authority: Authority, reach: &Reach) -> Result<(), InvalidRealms> {
        let (place, realm) = (self.all.len(), Arc::clone(authority.realm()));
        if self.by_realm.insert(Arc::clone(&realm), place).is_some() {
            return Err(InvalidRealms::Duplicate(realm.as_ref().into()));
        }
        for name in &reach.server_names {
            self.by_name.entry(canonical_name(name).into()).or_insert(place);
        }
        for listener in &reach.listeners {
            self.by_listener.entry(*listener).or_insert(place);
        }
        for origin in reach.origins.iter().filter_map(|origin| canonical_origin(origin)) {
            self.by_origin.entry(origin).or_insert(place);
        }
        self.all.push(Arc::new(authority));
        self.exclusive.push(reach.exclusive);
        Ok(())
    }

    /// All of them, the default first.
    pub fn all(&self) -> &[Arc<Authority>] {
        &self.all
    }

    /// The place in [`Self::all`] of the realm of this name.
    pub fn place(&self, realm: &str) -> Option<usize> {
        self.by_realm.get(realm).copied()
    }

    /// The place in [`Self::all`] of the realm that serves a request: the one that its REALM names, if there is
    /// one that serves it here, else the one to challenge it with.
    pub fn serving(&self, realm: Option<&[u8]>, way: &Way<'_>) -> usize {
        let named = realm.and_then(|realm| std::str::from_utf8(realm).ok());
        let named = named.and_then(|realm| self.place(realm));
        match named {
            Some(place) if !self.exclusive[place] || self.challenging(way) == place => place,
            _ => self.challenging(way),
        }
    }

    /// The place of the realm that whoever comes this way is challenged with: by the name it has asked for in
    /// TLS, then by the listener, then by ORIGIN, which anybody may claim; else the default.
    fn challenging(&self, way: &Way<'_>) -> usize {
        self.named(way).or_else(|| self.listening(way)).or_else(|| self.calling(way)).unwrap_or(0)
    }

    fn named(&self, way: &Way<'_>) -> Option<usize> {
        let name = way.name.filter(|_| !self.by_name.is_empty())?;
        self.by_name.get(&*canonical_name(name)).copied()
    }

    fn listening(&self, way: &Way<'_>) -> Option<usize> {
        if self.by_listener.is_empty() {
            return None;
        }
        let any: IpAddr = match way.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let everywhere = SocketAddr::new(any, way.server.port());
        self.by_listener.get(&way.server).or_else(|| self.by_listener.get(&everywhere)).copied()
    }

    fn calling(&self, way: &Way<'_>) -> Option<usize> {
        if self.by_origin.is_empty() {
            return None;
        }
        let text = |origin| canonical_origin(std::str::from_utf8(origin).ok()?);
        let mut origins = way.origins.iter().flatten().filter_map(|origin| text(origin));
        origins.find_map(|origin| self.by_origin.get(&origin).copied())
    }
}

/// A name of SNI in the form in which two of them are compared.
fn canonical_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(realm: &str) -> Settings {
        Settings { realm: realm.to_owned(), ..Settings::default() }
    }

    fn reach(name: &str, listener: &str, origin: &str) -> Reach {
        let texts = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Reach {
            server_names: texts(name).into_iter().collect(),
            listeners: texts(listener).into_iter().map(|text| text.parse().unwrap()).collect(),
            origins: texts(origin).into_iter().collect(),
            exclusive: false,
        }
    }

    fn realms(others: Vec<(&str, Reach)>) -> Realms {
        let others = others.into_iter().map(|(realm, reach)| (settings(realm), reach));
        Realms::new(settings("default"), others, [1; 16]).unwrap()
    }

    fn way<'a>(name: &'a str, server: &str, origin: &'a str) -> Way<'a> {
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let origin = some(origin).map(str::as_bytes);
        let origins = [Some(&b"ftp://before"[..]), origin, None, None];
        Way { server: server.parse().unwrap(), name: some(name), origins }
    }

    #[test]
    fn a_name_of_tls_comes_before_the_listener_and_that_before_an_origin() {
        let realms = realms(vec![
            ("names", reach("One.example.", "", "")),
            ("listeners", reach("", "192.0.2.1:3478", "")),
            ("origins", reach("", "", "https://one.example")),
            ("anywhere", reach("", "0.0.0.0:5349", "")),
        ]);
        let cases = [
            ("", "192.0.2.9:3478", "", 0),
            ("other.example", "192.0.2.9:3478", "https://two.example", 0),
            ("one.EXAMPLE", "192.0.2.1:3478", "https://one.example", 1),
            ("other.example", "192.0.2.1:3478", "https://one.example", 2),
            ("", "192.0.2.9:3478", "https://ONE.example:443/", 3),
            ("", "192.0.2.9:5349", "https://one.example", 4),
            ("", "[2001:db8::1]:5349", "", 0),
        ];
        for (name, server, origin, place) in cases {
            let way = way(name, server, origin);
            assert_eq!(realms.serving(None, &way), place, "{way:?}");
            // An unknown one gets the challenge that it would have got.
            assert_eq!(realms.serving(Some(b"unknown"), &way), place, "{way:?}");
            assert_eq!(realms.serving(Some(b"origins"), &way), 3, "{way:?}");
        }
    }

    #[test]
    fn an_exclusive_realm_is_served_only_where_it_challenges() {
        let exclusive =
            Reach { exclusive: true, ..reach("one.example", "", "https://one.example") };
        let realms = realms(vec![("one", exclusive), ("two", reach("two.example", "", ""))]);
        let realm = Some(&b"one"[..]);
        assert_eq!(realms.serving(realm, &way("one.example", "192.0.2.9:1", "")), 1);
        assert_eq!(realms.serving(realm, &way("", "192.0.2.9:1", "https://one.example")), 1);
        assert_eq!(realms.serving(realm, &way("", "192.0.2.9:1", "")), 0);
        assert_eq!(realms.serving(realm, &way("two.example", "192.0.2.9:1", "")), 2);
        assert_eq!(realms.serving(Some(b"two"), &way("one.example", "192.0.2.9:1", "")), 2);
    }

    #[test]
    fn realms_that_cannot_be_told_apart_are_refused() {
        let others = [(settings("a"), Reach::default()), (settings("a"), Reach::default())];
        let error = Realms::new(settings("default"), others, [1; 16]).err();
        assert_eq!(error, Some(InvalidRealms::Duplicate("a".to_owned())));
        let others = [(settings("default"), Reach::default())];
        assert!(Realms::new(settings("default"), others, [1; 16]).is_err());
    }

    #[test]
    fn what_cannot_be_an_origin_is_ignored() {
        let realms = realms(vec![("one", reach("", "", "https://one.example"))]);
        let long = format!("https://one.example/{}", "a".repeat(2000));
        for origin in ["null", "one.example", &long] {
            assert_eq!(realms.serving(None, &way("", "192.0.2.9:1", origin)), 0, "{origin}");
        }
        let server = "192.0.2.9:1".parse().unwrap();
        let way = Way { server, name: None, origins: [Some(&[0xFF; 9]), None, None, None] };
        assert_eq!(realms.serving(Some(&[0xFF; 9]), &way), 0);
    }
}
