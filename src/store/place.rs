//! Where a database is, as one word of a command line.

use std::path::PathBuf;

use super::{Kind, Settings, StoreError};
use crate::auth::Secret;

/// The name of a server's own database in its state directory.
pub const DATABASE: &str = "turnwire.db";

/// The beginnings of URLs, and what is spoken there.
const SCHEMES: &[(&str, Kind)] = &[
    ("sqlite", Kind::Sqlite),
    ("postgresql", Kind::Postgresql),
    ("postgres", Kind::Postgresql),
    ("mysql", Kind::Mysql),
    ("mariadb", Kind::Mysql),
    ("redis", Kind::Redis),
    ("rediss", Kind::Redis),
    ("redis+unix", Kind::Redis),
];

impl Settings {
    /// Those of a database that is given as one word: `sqlite:PATH`, `postgresql://…`, `mysql://…`, `redis://…`.
    ///
    /// # Errors
    /// It begins otherwise. It is not shown, for a password may be in it.
    pub fn from_url(name: &str, url: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        let found = SCHEMES.iter().find(|(known, _)| *known == scheme);
        let Some((_, kind)) = found.filter(|_| !rest.is_empty()) else {
            let known = "that is no database: write sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE, \
                         mysql://USER:PASSWORD@HOST/DATABASE or redis://:PASSWORD@HOST/NUMBER";
            return Err(StoreError::Unusable(known.to_owned()));
        };
        let mut settings = Self::new(name, *kind);
        if *kind == Kind::Sqlite {
            settings.path = Some(PathBuf::from(rest.strip_prefix("//").unwrap_or(rest)));
        } else {
            settings.url = Some(Secret::new(url));
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_is_spoken() {
        for (url, kind) in [
            ("sqlite:users.db", Kind::Sqlite),
            ("postgres://h/d", Kind::Postgresql),
            ("mariadb://h/d", Kind::Mysql),
            ("rediss://h/0", Kind::Redis),
            ("redis+unix:///s", Kind::Redis),
        ] {
            assert_eq!(Settings::from_url("x", url).unwrap().kind, kind, "{url}");
        }
        for (url, path) in
            [("sqlite:a.db", "a.db"), ("sqlite:///a.db", "/a.db"), ("sqlite:/a.db", "/a.db")]
        {
            assert_eq!(Settings::from_url("x", url).unwrap().path.unwrap(), PathBuf::from(path));
        }
        for wrong in ["", "users.db", "mongodb://u:hunter2@h/d", "sqlite:"] {
            let told = Settings::from_url("x", wrong).unwrap_err().to_string();
            assert!(told.contains("sqlite:PATH") && !told.contains("hunter2"), "{told}");
        }
    }
}
