//! Databases of users: what coturn connects with, as a store of ours, which asks the same tables.

use toml::Table;

use super::facts::Facts;
use super::grammar::Line;
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};
use super::tenants::Stock;
use crate::auth::Secret;
use crate::store::{Kind, Settings};

/// The options that name one.
pub(super) const DATABASES: [&str; 5] =
    ["userdb", "psql-userdb", "mysql-userdb", "mongo-userdb", "redis-userdb"];

/// Where Debian's coturn has its own.
const OWN: &str = "/var/lib/turn/turndb";

/// What has become of coturn's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// There is none in the file.
    None,
    /// It is asked as it is.
    Asked,
    /// It cannot be asked.
    Left,
}

/// A place as it stands in a configuration.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    kind: Kind,
    path: Option<String>,
    url: Option<String>,
    /// The way to another host on which coturn has no encryption that it insists on.
    open: bool,
}

/// Writes the database as a store: the one that was read, or the one that coturn's file names last, which coturn
/// asks.
pub(super) fn databases(facts: &Facts<'_>, stock: Option<&Stock>, page: &mut Page) -> Fate {
    let named = named(facts);
    let read = stock.map(|stock| Place::of(&stock.settings));
    let Some((line, others)) = named.split_last() else {
        return read.map_or(Fate::None, |place| store(&place, &[], true, page));
    };
    if !others.is_empty() {
        page.note("stores.ask", Same, others, "coturn asks the database that is named last");
    }
    match (read, place(line)) {
        (Some(read), Ok(place)) if read.is(&place) => store(&place, &[line], true, page),
        (Some(read), _) => {
            let text = "another database was read in its place (--database), and is asked here";
            page.note("stores.ask", Act, &[line], text);
            store(&read, &[], true, page)
        }
        (None, Ok(place)) => store(&place, &[line], false, page),
        (None, Err(why)) => {
            page.note("stores.ask", Act, &[line], why);
            Fate::Left
        }
    }
}

/// The database that coturn asks by this file, to be read.
///
/// # Errors
/// Why it cannot be.
pub(super) fn database(facts: &Facts<'_>) -> Result<Settings, &'static str> {
    let named = named(facts);
    let place = named.last().map_or_else(|| Ok(Place::own()), |line| place(line))?;
    let path = place.path.map(Into::into);
    let url = place.url.map(Secret::new);
    Ok(Settings { path, url, ..Settings::new("coturn", place.kind) })
}

fn named<'f, 't>(facts: &'f Facts<'t>) -> Vec<&'f Line<'t>> {
    let mut named = facts.all_of(&DATABASES);
    named.sort_by_key(|line| line.number);
    named
}

impl Place {
    fn own() -> Self {
        Self { kind: Kind::Sqlite, path: Some(OWN.to_owned()), url: None, open: false }
    }

    /// That of a database that somebody has named, who has said as well how the way there is protected.
    fn of(settings: &Settings) -> Self {
        let path = settings.path.as_ref().map(|path| path.display().to_string());
        let url = settings.url.as_ref().map(|url| url.expose().to_owned());
        Self { kind: settings.kind, path, url, open: false }
    }

    fn is(&self, other: &Self) -> bool {
        self.kind == other.kind && self.path == other.path && self.url == other.url
    }
}

/// The database that coturn asks when its file names none.
pub(super) fn own(from: &[&Line<'_>], page: &mut Page) -> Fate {
    let text = "coturn has them in a database of its own, which is usually there: see whether it \
                is, and whether this server's user may read it";
    page.note("stores.ask", Act, from, text);
    store(&Place::own(), from, false, page)
}

fn store(place: &Place, from: &[&Line<'_>], read: bool, page: &mut Page) -> Fate {
    if let Some((what, feature)) = place.kind.missing() {
        let text = format!(
            "this turnwire was built without {what}: users and secrets in that database are not \
             taken along. Build it with the feature `{feature}` and import again"
        );
        page.note("stores.ask", Act, from, text);
        return Fate::Left;
    }
    let mut entry = Table::new();
    let kind = Kind::ALL.iter().find(|(_, kind)| *kind == place.kind);
    entry.insert("kind".to_owned(), kind.map_or("", |(word, _)| *word).into());
    for (key, value) in [("path", &place.path), ("url", &place.url)] {
        if let Some(value) = value {
            entry.insert(key.to_owned(), value.clone().into());
        }
    }
    page.key("stores.ask", "coturn", entry, from);
    if place.open {
        let text = "coturn does not insist on encryption on the way to that host, so this file does not \
                    either: have the database offer TLS, and take the word about it (sslmode, ssl-mode) \
                    out of the URL, or set it to the strictest";
        page.note("stores.ask", Act, from, text);
    }
    if !read {
        let text = "users and secrets are asked for there as they are; users and secrets work side by side. The \
                    tables of peers, of realms and their options, of origins and of keys for access tokens are \
                    not looked at: import again with --database to have them taken into this file";
        page.note("stores.ask", Lost, from, text);
    }
    Fate::Asked
}

fn place(line: &Line<'_>) -> Result<Place, &'static str> {
    let here = |kind, url| Place { kind, path: None, url: Some(url), open: false };
    match line.name {
        "userdb" | "db" => {
            let path = Some(line.value.to_owned());
            Ok(Place { kind: Kind::Sqlite, path, url: None, open: false })
        }
        "psql-userdb" | "sql-userdb" => {
            if line.value.starts_with("postgres") && line.value.contains("://") {
                return Ok(here(Kind::Postgresql, line.value.to_owned()));
            }
            postgresql(&words(line.value)?)
        }
        "mysql-userdb" => mysql(&words(line.value)?),
        "redis-userdb" => redis(&words(line.value)?),
        _ => Err(
            "MongoDB is not asked: users and secrets in it are not taken along. Move them into one \
                  of the other databases, or let an application answer for it (the kind \"http\")",
        ),
    }
}

/// `NAME=VALUE`, with blanks between them.
struct Words<'t>(Vec<(&'t str, &'t str)>);

fn words(value: &str) -> Result<Words<'_>, &'static str> {
    let pairs: Option<Vec<_>> = value.split_whitespace().map(|word| word.split_once('=')).collect();
    pairs.filter(|pairs| !pairs.is_empty()).map(Words).ok_or(
        "that does not consist of NAME=VALUE with blanks between them: write the database into \
         [stores.ask]",
    )
}

impl<'t> Words<'t> {
    /// The value of the first of these names, and without the quotes of PostgreSQL's library.
    fn get(&self, names: &[&str]) -> Option<&'t str> {
        let found = self.0.iter().rev().find(|(name, _)| names.contains(name));
        found.map(|(_, value)| value.trim_matches('\'')).filter(|value| !value.is_empty())
    }

    fn host(&self) -> Option<&'t str> {
        self.get(&["host", "ip", "addr", "ipaddr", "hostaddr"])
    }

    /// `USER:PASSWORD@`, as far as there is something of it.
    fn who(&self) -> String {
        let user = self.get(&["user", "uname", "name", "username"]).map(encoded);
        match (user, self.get(&["password", "pwd", "passwd", "secret"]).map(encoded)) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", user.unwrap_or_default()),
            (user, Some(password)) => format!("{}:{password}@", user.unwrap_or_default()),
        }
    }

    /// `HOST:PORT/DATABASE`
    fn place(&self, host: &str) -> String {
        let port = self.get(&["port", "p"]).map(|port| format!(":{}", encoded(port)));
        let database = self.get(&["dbname", "db", "database"]).map(encoded);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{host}{}/{}", port.unwrap_or_default(), database.unwrap_or_default())
    }
}

fn postgresql(words: &Words<'_>) -> Result<Place, &'static str> {
    let host = words.host().unwrap_or("/var/run/postgresql");
    let socket = host.starts_with('/');
    let near = socket || is_here(host);
    let mut query = Vec::new();
    if socket {
        query.push(format!("host={}", encoded(host)));
    }
    let mode = words.get(&["sslmode"]).or((!near).then_some("prefer"));
    query.extend(mode.map(|mode| format!("sslmode={}", encoded(mode))));
    for name in ["sslrootcert", "sslcert", "sslkey"] {
        query.extend(words.get(&[name]).map(|file| format!("{name}={}", encoded(file))));
    }
    let place = words.place(if socket { "localhost" } else { host });
    let url = format!("postgresql://{}{place}{}", words.who(), behind(&query));
    let open = !near && !matches!(mode, Some("verify-full" | "verify-ca"));
    Ok(Place { kind: Kind::Postgresql, path: None, url: Some(url), open })
}

fn mysql(words: &Words<'_>) -> Result<Place, &'static str> {
    let host = words.host().unwrap_or("localhost");
    let near = is_here(host);
    let authority = words.get(&["ca", "ssl-ca"]);
    let mut query = Vec::new();
    if host == "localhost" {
        // There, MySQL's library means the socket.
        query.push("socket=/run/mysqld/mysqld.sock".to_owned());
    } else if !near {
        let mode = if authority.is_some() { "VERIFY_CA" } else { "PREFERRED" };
        query.push(format!("ssl-mode={mode}"));
    }
    query.extend(authority.map(|file| format!("ssl-ca={}", encoded(file))));
    for (name, ours) in [("cert", "ssl-cert"), ("key", "ssl-key")] {
        query.extend(words.get(&[name, ours]).map(|file| format!("{ours}={}", encoded(file))));
    }
    let url = format!("mysql://{}{}{}", words.who(), words.place(host), behind(&query));
    let open = !near && authority.is_none();
    Ok(Place { kind: Kind::Mysql, path: None, url: Some(url), open })
}

fn redis(words: &Words<'_>) -> Result<Place, &'static str> {
    let host = words.host().unwrap_or("127.0.0.1");
    if words.get(&["cert", "clientkey", "capath"]).is_some() {
        return Err(
            "certificates of clients are not shown to Redis: write the database into [stores.ask]",
        );
    }
    let on = |value: &str| !matches!(value, "0" | "no" | "false" | "off");
    let tls = words.get(&["tls"]).is_some_and(on) || words.get(&["ca"]).is_some();
    let root = words.get(&["ca"]).map(|file| format!("sslrootcert={}", encoded(file)));
    let (scheme, query) =
        if tls { ("rediss", root.into_iter().collect()) } else { ("redis", vec![]) };
    let who = words.who();
    let url = format!("{scheme}://{who}{}{}", words.place(host), behind(&query));
    Ok(Place { kind: Kind::Redis, path: None, url: Some(url), open: !tls && !is_here(host) })
}

fn behind(query: &[String]) -> String {
    if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A word as it stands in a URL.
fn encoded(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    word.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(name: &str, value: &str) -> (String, bool) {
        let text = format!("{name}=\"{value}\"");
        let line = super::super::grammar::lines(&text).next().unwrap();
        let place = place(&line).unwrap();
        (place.url.or(place.path).unwrap(), place.open)
    }

    #[test]
    fn what_coturn_connects_with_becomes_a_url() {
        for (name, value, expected, open) in [
            ("userdb", "/var/lib/turn/turndb", "/var/lib/turn/turndb", false),
            (
                "psql-userdb",
                "host=localhost dbname=coturn user=turn password=turn connect_timeout=30",
                "postgresql://turn:turn@localhost/coturn",
                false,
            ),
            (
                "psql-userdb",
                "dbname=coturn user=turn",
                "postgresql://turn@localhost/coturn?host=%2Fvar%2Frun%2Fpostgresql",
                false,
            ),
            (
                "psql-userdb",
                "host=db.example.org port=5433 dbname=turn user=t password=a@b:c/%",
                "postgresql://t:a%40b%3Ac%2F%25@db.example.org:5433/turn?sslmode=prefer",
                true,
            ),
            (
                "psql-userdb",
                "host=db sslmode=verify-full sslrootcert=/ca.pem dbname=turn",
                "postgresql://db/turn?sslmode=verify-full&sslrootcert=%2Fca.pem",
                false,
            ),
            (
                "mysql-userdb",
                "host=localhost dbname=coturn user=turn password=turn port=3306 connect_timeout=30",
                "mysql://turn:turn@localhost:3306/coturn?socket=/run/mysqld/mysqld.sock",
                false,
            ),
            (
                "mysql-userdb",
                "ip=192.0.2.1 db=turn uname=t pwd=p ca=/ca.pem",
                "mysql://t:p@192.0.2.1/turn?ssl-mode=VERIFY_CA&ssl-ca=%2Fca.pem",
                false,
            ),
            (
                "redis-userdb",
                "ip=127.0.0.1 dbname=2 password=turn port=6380 connect_timeout=30",
                "redis://:turn@127.0.0.1:6380/2",
                false,
            ),
            ("redis-userdb", "ip=192.0.2.1 dbname=0 tls=1", "rediss://192.0.2.1/0", false),
            ("redis-userdb", "ip=2001:db8::1", "redis://[2001:db8::1]/", true),
        ] {
            assert_eq!(url(name, value), (expected.to_owned(), open), "{value}");
        }
    }
}
