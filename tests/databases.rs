//! Users in databases: coturn's own tables, written by coturn's own tool, in the real servers, and what becomes of
//! calls when such a server is gone, comes back, or takes its time.
#![cfg(any(feature = "sqlite", feature = "sql", feature = "redis"))]

#[path = "databases/calls.rs"]
mod calls;
mod common;
#[path = "databases/moves.rs"]
mod moves;
#[path = "databases/servers.rs"]
mod servers;
#[cfg(feature = "sqlite")]
#[path = "databases/users.rs"]
mod users;

use std::time::{Duration, Instant};

use calls::{come_in, die_and_come_back, take_their_time};
use moves::move_house;
use servers::{Brand, Database, Locked, Scratch, turnadmin};
use tokio::runtime::{Builder, Runtime};
use turnwire::auth::Secret;
use turnwire::store::{
    Entry, Found, Keeper, Kind, Proof, Question, Settings, StoreError, keeper, open,
};

/// A key that coturn's tool wrote: `printf 'alice:example.org:wonderland' | md5sum`.
const ALICE: &str = "72f86f2053703faa0f521ce71cfe6f59";

/// Where users live in a test.
enum Place {
    Sqlite(Scratch),
    Server(Database),
}

impl Place {
    /// coturn's tables with alice of example.org in them, whose password is `wonderland`, and the secret `north`.
    fn of_coturn(kind: Kind) -> Self {
        let place = match kind {
            Kind::Sqlite => Self::Sqlite(Scratch::new()),
            Kind::Postgresql => Self::Server(Database::start(Brand::Postgresql)),
            Kind::Mysql => Self::Server(Database::start(Brand::Mariadb)),
            _ => Self::Server(Database::start(Brand::Redis)),
        };
        place.turnadmin(&["-a", "-u", "alice", "-r", "example.org", "-p", "wonderland"]);
        place.turnadmin(&["-s", "north", "-r", "example.org"]);
        place
    }

    fn turnadmin(&self, arguments: &[&str]) -> String {
        match self {
            Self::Sqlite(scratch) => {
                let path = scratch.path("turndb");
                turnadmin(&[&["-b", path.to_str().unwrap()], arguments].concat())
            }
            Self::Server(database) => database.turnadmin(arguments),
        }
    }

    fn is_sql(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Server(database) => database.connection().1 != "redis-userdb",
        }
    }

    /// Has its own client say something in SQL.
    fn tell(&self, sql: &str) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(scratch) => {
                let connection = rusqlite::Connection::open(scratch.path("turndb")).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => panic!("it is not built in"),
            Self::Server(database) => drop(database.say(sql)),
        }
    }

    /// The line of coturn's file that names it.
    fn line(&self) -> String {
        match self {
            Self::Sqlite(scratch) => format!("userdb={}", scratch.path("turndb").display()),
            Self::Server(database) => {
                let (_, option, connection) = database.connection();
                format!("{option}=\"{connection}\"")
            }
        }
    }

    /// Its URL.
    fn url(&self) -> String {
        match self {
            Self::Sqlite(scratch) => format!("sqlite:{}", scratch.path("turndb").display()),
            Self::Server(database) => database.url(),
        }
    }

    /// Takes it away.
    fn kill(&mut self) {
        match self {
            Self::Sqlite(scratch) => {
                std::fs::rename(scratch.path("turndb"), scratch.path("away")).unwrap();
            }
            Self::Server(database) => database.kill(),
        }
    }

    /// Brings it back.
    fn resume(&mut self) {
        match self {
            Self::Sqlite(scratch) => {
                std::fs::rename(scratch.path("away"), scratch.path("turndb")).unwrap();
            }
            Self::Server(database) => database.resume(),
        }
    }

    /// No question about a user is answered as long as this is kept.
    fn locked(&self) -> Held<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(scratch) => {
                let connection = rusqlite::Connection::open(scratch.path("turndb")).unwrap();
                connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
                Held::File(connection)
            }
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => panic!("it is not built in"),
            Self::Server(database) => Held::Server(database.locked()),
        }
    }

    fn settings(&self, kind: Kind) -> Settings {
        let mut settings = Settings::new("test", kind);
        match self {
            Self::Sqlite(scratch) => settings.path = Some(scratch.path("turndb")),
            Self::Server(database) => settings.url = Some(Secret::new(database.url())),
        }
        settings
    }
}

#[expect(dead_code, reason = "they are held")]
enum Held<'a> {
    #[cfg(feature = "sqlite")]
    File(rusqlite::Connection),
    Server(Locked<'a>),
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn question(realm: &str, username: &str) -> Question {
    Question { realm: realm.into(), username: username.into(), client: None }
}

fn keys(found: Option<Found>) -> (bool, bool) {
    match found.expect("somebody of that name").proof {
        Proof::Keys { md5, sha256 } => (md5.is_some(), sha256.is_some()),
        Proof::Password(_) => panic!("no database keeps passwords"),
    }
}

/// The whole life of coturn's users in one database, seen by its driver.
fn coturns_own(kind: Kind) {
    let place = Place::of_coturn(kind);
    let (runtime, settings) = (runtime(), place.settings(kind));
    runtime.block_on(async {
        let store = open(&settings).unwrap();
        let ask = async |realm: &str, name: &str| store.look_up(&question(realm, name)).await;
        let alice = ask("example.org", "alice").await.unwrap();
        assert_eq!(alice, Found::hmackey(ALICE));
        assert_eq!(store.is_md5_only(), kind != Kind::Redis);
        for (realm, name) in [
            ("example.org", "bob"),
            ("example.org", "Alice"),
            ("example.org", "alice "),
            ("example.com", "alice"),
            ("example.org", "' OR '1'='1"),
            ("example.org", "al%"),
            ("example.org", "\u{1f980}"),
            ("example.org", &"x".repeat(508)),
        ] {
            assert_eq!(ask(realm, name).await.unwrap(), None, "{realm} {name}");
        }
        let secrets = store.secrets("example.org").await.unwrap();
        assert_eq!(secrets, [Secret::new("north")]);
        assert_eq!(store.secrets("example.com").await.unwrap(), []);
        // MySQL takes one for the other.
        place.turnadmin(&["-s", "capitals", "-r", "EXAMPLE.org"]);
        assert_eq!(store.secrets("example.org").await.unwrap(), secrets);
        place.turnadmin(&["-a", "-u", "alice", "-r", "example.org", "-p", "other"]);
        assert_ne!(ask("example.org", "alice").await.unwrap(), alice);
        place.turnadmin(&["-d", "-u", "alice", "-r", "example.org"]);
        assert_eq!(ask("example.org", "alice").await.unwrap(), None);
    });
}

/// Users that this program writes, which coturn's tool reads and changes.
fn written_for_both(kind: Kind) {
    let place = Place::of_coturn(kind);
    let (runtime, settings) = (runtime(), place.settings(kind));
    runtime.block_on(async {
        let (keeper, store) = (keeper(&settings, true).unwrap(), open(&settings).unwrap());
        keeper.prepare().await.unwrap();
        keeper.prepare().await.unwrap();
        let bob = Entry::new("example.org", "bob", &Secret::new("builder")).unwrap();
        assert!(!keeper.put_user(&bob).await.unwrap());
        assert!(keeper.put_user(&bob).await.unwrap());
        let ask = async |name: &str| store.look_up(&question("example.org", name)).await.unwrap();
        assert_eq!(keys(ask("bob").await), (true, true));
        assert_eq!(keys(ask("alice").await), (true, false));
        let listed = place.turnadmin(&["-l"]);
        assert!(listed.contains("alice") && listed.contains("bob"), "{listed}");
        let seen: Vec<_> = names(keeper.as_ref(), None).await;
        assert_eq!(seen, [("alice".to_owned(), false), ("bob".to_owned(), true)]);
        assert_eq!(names(keeper.as_ref(), Some("example.com")).await, []);

        // A password of coturn's tool: the key for SHA-256 was made of the one before.
        place.turnadmin(&["-a", "-u", "bob", "-r", "example.org", "-p", "changed"]);
        assert_eq!(keys(ask("bob").await), (true, false));
        assert_eq!(names(keeper.as_ref(), None).await[1], ("bob".to_owned(), false));
        assert!(keeper.put_user(&bob).await.unwrap());
        assert_eq!(keys(ask("bob").await), (true, true));

        assert!(keeper.remove_user("example.org", "bob").await.unwrap());
        assert!(!keeper.remove_user("example.org", "bob").await.unwrap());
        assert!(!keeper.remove_user("example.org", "ALICE").await.unwrap());
        assert_eq!(ask("bob").await, None);
        assert_eq!(keys(ask("alice").await), (true, false));

        let south = Secret::new("south' --");
        assert!(keeper.put_secret("example.org", &south).await.unwrap());
        assert!(!keeper.put_secret("example.org", &south).await.unwrap());
        let secrets = store.secrets("example.org").await.unwrap();
        assert!(secrets.len() == 2 && secrets.contains(&south));
        assert!(keeper.remove_secret("example.org", &south).await.unwrap());
        assert!(!keeper.remove_secret("example.org", &south).await.unwrap());
        assert_eq!(store.secrets("example.org").await.unwrap(), [Secret::new("north")]);
    });
}

async fn names(keeper: &dyn Keeper, realm: Option<&str>) -> Vec<(String, bool)> {
    let listed = keeper.users(realm).await.unwrap();
    listed.into_iter().map(|user| (user.name, user.sha256)).collect()
}

/// A server that is gone, and comes back; and one that has the table locked.
fn gone_and_slow(kind: Kind) {
    let mut place = Place::of_coturn(kind);
    let mut settings = place.settings(kind);
    settings.timeout = Duration::from_secs(1);
    let Place::Server(database) = &mut place else {
        panic!("only servers go away");
    };
    runtime().block_on(async {
        let store = open(&settings).unwrap();
        let alice = question("example.org", "alice");
        assert!(store.look_up(&alice).await.unwrap().is_some());
        {
            let _locked = database.locked();
            for _ in 0..3 {
                let began = Instant::now();
                assert_eq!(store.look_up(&alice).await, Err(StoreError::TimedOut));
                assert!(began.elapsed() < common::PATIENCE, "{:?}", began.elapsed());
            }
        }
        comes_back(&*store, &alice).await;
        database.kill();
        let error = store.look_up(&alice).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
        assert!(!error.to_string().contains(servers::PASSWORD));
        database.resume();
        comes_back(&*store, &alice).await;
        // Nobody has asked meanwhile, so the connection is found broken by the question that is answered.
        database.kill();
        database.resume();
        assert!(store.look_up(&alice).await.unwrap().is_some());
    });
}

/// A question is answered again within the longest pause.
async fn comes_back(store: &dyn turnwire::store::Store, who: &Question) {
    let until = Instant::now() + common::PATIENCE;
    loop {
        match store.look_up(who).await {
            Ok(found) => return assert!(found.is_some()),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A wrong password is told as such, and neither it nor the URL is shown.
fn shut_out(kind: Kind) {
    let Place::Server(database) = Place::of_coturn(kind) else {
        panic!("only servers ask for passwords");
    };
    let mut settings = Settings::new("test", kind);
    settings.url = Some(Secret::new(database.url_over_tcp("hunter2", "")));
    let store = open(&settings).unwrap();
    let error = runtime().block_on(store.look_up(&question("example.org", "alice"))).unwrap_err();
    assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

/// The way is encrypted, and whoever answers has to prove who it is.
fn over_tls(kind: Kind) {
    let Place::Server(database) = Place::of_coturn(kind) else {
        panic!("only servers are reached over a network");
    };
    let other = Scratch::new();
    let stranger = other.path("ca.pem");
    std::fs::write(&stranger, common::Authority::new("stranger").pem()).unwrap();
    let ask = |authority: &std::path::Path| {
        let mut settings = Settings::new("test", kind);
        settings.url = Some(Secret::new(database.url_over_tls(authority)));
        let store = open(&settings).unwrap();
        runtime().block_on(store.look_up(&question("example.org", "alice")))
    };
    assert!(ask(&database.authority()).unwrap().is_some());
    let error = ask(&stranger).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
}

macro_rules! stories {
    ($feature:literal, $name:ident, $kind:expr, $($story:ident),*) => {
        #[cfg(feature = $feature)]
        mod $name {
            $(#[test]
            fn $story() {
                super::$story($kind);
            })*
        }
    };
}

stories!(
    "sqlite",
    sqlite,
    turnwire::store::Kind::Sqlite,
    coturns_own,
    written_for_both,
    come_in,
    die_and_come_back,
    take_their_time,
    move_house
);
stories!(
    "sql",
    postgresql,
    turnwire::store::Kind::Postgresql,
    coturns_own,
    written_for_both,
    gone_and_slow,
    shut_out,
    over_tls,
    come_in,
    die_and_come_back,
    take_their_time,
    move_house
);
stories!(
    "sql",
    mariadb,
    turnwire::store::Kind::Mysql,
    coturns_own,
    written_for_both,
    gone_and_slow,
    shut_out,
    over_tls,
    come_in,
    die_and_come_back,
    take_their_time,
    move_house
);
stories!(
    "redis",
    redis,
    turnwire::store::Kind::Redis,
    coturns_own,
    written_for_both,
    gone_and_slow,
    shut_out,
    over_tls,
    come_in,
    die_and_come_back,
    take_their_time,
    move_house
);
