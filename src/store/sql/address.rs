//! A URL to what PostgreSQL or MySQL is connected with. Without a word about TLS in it, the way to another host
//! is encrypted and its certificate checked: what the libraries do by themselves is to ask for TLS and go on
//! without it when somebody on the way says no.

use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::auth::Secret;
use crate::store::{Settings, StoreError};

/// The words that say how the way is to be protected.
const TLS_WORDS: [&str; 2] = ["sslmode=", "ssl-mode="];

/// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE`, or
/// `postgresql:///DATABASE?host=/run/postgresql&user=USER`.
pub(super) fn postgresql(settings: &Settings) -> Result<PgConnectOptions, StoreError> {
    let url = url(settings)?;
    let mut options =
        PgConnectOptions::from_str(url.expose()).map_err(|_| unreadable("postgresql"))?;
    let near = options.get_socket().is_some() || is_here(options.get_host());
    if !near && !says_tls(url) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    Ok(options.application_name("turnwire").disable_statement_logging())
}

/// `mysql://USER:PASSWORD@HOST:PORT/DATABASE?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE`, or
/// `mysql://USER:PASSWORD@localhost/DATABASE?socket=/run/mysqld/mysqld.sock`.
pub(super) fn mysql(settings: &Settings) -> Result<MySqlConnectOptions, StoreError> {
    let url = url(settings)?;
    let mut options =
        MySqlConnectOptions::from_str(url.expose()).map_err(|_| unreadable("mysql"))?;
    let near = options.get_socket().is_some() || is_here(options.get_host());
    if !near && !says_tls(url) {
        options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
    }
    Ok(options.disable_statement_logging())
}

fn url(settings: &Settings) -> Result<&Secret, StoreError> {
    settings.url.as_ref().ok_or_else(|| StoreError::Unusable("no URL is given".to_owned()))
}

/// What is wrong with it is not told, for a password may be in it.
fn unreadable(scheme: &str) -> StoreError {
    StoreError::Unusable(format!(
        "its URL cannot be understood: write {scheme}://USER:PASSWORD@HOST:PORT/DATABASE, with % and two \
         hexadecimal digits in place of each of : / ? # [ ] @ % in the password"
    ))
}

fn says_tls(url: &Secret) -> bool {
    let query = url.expose().split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| TLS_WORDS.iter().any(|word| pair.starts_with(word)))
}

/// Whether what goes there does not leave this host.
fn is_here(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    host.is_empty()
        || host == "localhost"
        || plain.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

    fn settings(url: &str) -> Settings {
        Settings { url: Some(Secret::new(url)), ..Settings::new("test", Kind::Mysql) }
    }

    fn postgresql_tls(url: &str) -> PgSslMode {
        postgresql(&settings(url)).unwrap().get_ssl_mode()
    }

    #[test]
    fn the_way_to_another_host_is_protected_unless_the_url_says_how() {
        for far in ["postgres://u:p@db.example.org/turn", "postgresql://u@192.0.2.1/turn?user=x"] {
            assert!(matches!(postgresql_tls(far), PgSslMode::VerifyFull), "{far}");
        }
        let said = postgresql_tls("postgres://u:p@db.example.org/turn?sslmode=disable");
        assert!(matches!(said, PgSslMode::Disable));
        for near in [
            "postgres://u:p@localhost/turn",
            "postgres://u:p@127.0.0.5:5433/turn",
            "postgres://u:p@[::1]/turn",
            "postgres:///turn?host=/run/postgresql",
            "postgres://u:p@%2Frun%2Fpostgresql/turn",
        ] {
            assert!(matches!(postgresql_tls(near), PgSslMode::Prefer), "{near}");
        }
        let mysql_tls = |url: &str| mysql(&settings(url)).unwrap().get_ssl_mode();
        assert!(matches!(mysql_tls("mysql://u:p@db/turn"), MySqlSslMode::VerifyIdentity));
        assert!(matches!(
            mysql_tls("mysql://u:p@db/turn?ssl-mode=REQUIRED"),
            MySqlSslMode::Required
        ));
        let socket = "mysql://u:p@db/turn?socket=/run/mysqld/mysqld.sock";
        assert!(matches!(mysql_tls(socket), MySqlSslMode::Preferred));
    }

    #[test]
    fn a_url_that_is_none_is_not_shown() {
        for wrong in ["hunter2", "postgres://u:hunter2@[/x", "postgres://u:hunter2@h:port/x"] {
            for error in [postgresql(&settings(wrong)).err(), mysql(&settings(wrong)).err()] {
                let told = error.unwrap().to_string();
                assert!(!told.contains("hunter2") && told.contains("//USER:PASSWORD@"), "{told}");
            }
        }
    }
}
