//! What is said to a database. Each statement is fixed, and what varies is bound to it, never written into it.

/// The statements in the words of one database.
#[derive(Debug)]
pub(in crate::store) struct Statements {
    /// () -> version.
    pub(super) version: &'static str,
    /// (version)
    pub(super) add_version: &'static str,
    /// (realm, name) -> name, hmackey.
    pub(super) user: &'static str,
    /// (realm, name) -> name, hmackey, sha256.
    pub(super) key: &'static str,
    /// (realm) -> realm, value.
    pub(super) secrets: &'static str,
    /// (table) -> a row if there is such a table.
    pub(super) table: &'static str,
    /// () -> realm, name, hmackey.
    pub(super) all_users: &'static str,
    /// (realm) -> realm, name, hmackey.
    pub(super) realm_users: &'static str,
    /// () -> realm, name, hmackey.
    pub(super) all_keys: &'static str,
    /// (hmackey, realm, name)
    pub(super) change_user: &'static str,
    /// (hmackey, realm, name)
    pub(super) add_user: &'static str,
    /// (realm, name)
    pub(super) remove_user: &'static str,
    /// (hmackey, sha256, realm, name)
    pub(super) add_key: &'static str,
    /// (realm, name)
    pub(super) remove_key: &'static str,
    /// (realm, value)
    pub(super) add_secret: &'static str,
    /// (realm, value)
    pub(super) remove_secret: &'static str,
    /// () -> kid, ikm_key, as_rs_alg, timestamp, lifetime, realm.
    pub(super) all_tokens: &'static str,
}

/// What is asked of each database in the same words.
pub(super) mod all {
    /// () -> realm, value.
    pub(in crate::store::sql) const SECRETS: &str = "SELECT realm, value FROM turn_secret";
    /// () -> realm, range.
    pub(in crate::store::sql) const ALLOWED: &str = "SELECT realm, ip_range FROM allowed_peer_ip";
    /// () -> realm, range.
    pub(in crate::store::sql) const DENIED: &str = "SELECT realm, ip_range FROM denied_peer_ip";
    /// () -> realm, option, value.
    pub(in crate::store::sql) const OPTIONS: &str =
        "SELECT realm, opt, value FROM turn_realm_option";
    /// () -> origin, realm.
    pub(in crate::store::sql) const ORIGINS: &str =
        "SELECT origin, realm FROM turn_origin_to_realm";
    /// () -> name.
    pub(in crate::store::sql) const ADMINS: &str = "SELECT name FROM admin_user";
}

/// With the placeholders of a database, and its way to look for a table.
macro_rules! statements {
    ($a:literal, $b:literal, $c:literal, $d:literal, $text:literal, $table:literal) => {
        Statements {
            version: "SELECT version FROM turnwire_schema",
            add_version: concat!("INSERT INTO turnwire_schema (version) VALUES (", $a, ")"),
            user: concat!(
                "SELECT name, hmackey FROM turnusers_lt WHERE realm = ",
                $a,
                " AND name = ",
                $b
            ),
            key: concat!(
                "SELECT name, hmackey, sha256 FROM turnwire_key WHERE realm = ",
                $a,
                " AND name = ",
                $b
            ),
            secrets: concat!("SELECT realm, value FROM turn_secret WHERE realm = ", $a),
            table: $table,
            all_users: "SELECT realm, name, hmackey FROM turnusers_lt ORDER BY realm, name",
            realm_users: concat!(
                "SELECT realm, name, hmackey FROM turnusers_lt WHERE realm = ",
                $a,
                " ORDER BY name"
            ),
            all_keys: "SELECT realm, name, hmackey FROM turnwire_key",
            change_user: concat!(
                "UPDATE turnusers_lt SET hmackey = ",
                $a,
                " WHERE realm = ",
                $b,
                " AND name = ",
                $c
            ),
            add_user: concat!(
                "INSERT INTO turnusers_lt (hmackey, realm, name) VALUES (",
                $a,
                ", ",
                $b,
                ", ",
                $c,
                ")"
            ),
            remove_user: concat!("DELETE FROM turnusers_lt WHERE realm = ", $a, " AND name = ", $b),
            add_key: concat!(
                "INSERT INTO turnwire_key (hmackey, sha256, realm, name) VALUES (",
                $a,
                ", ",
                $b,
                ", ",
                $c,
                ", ",
                $d,
                ")"
            ),
            remove_key: concat!("DELETE FROM turnwire_key WHERE realm = ", $a, " AND name = ", $b),
            add_secret: concat!(
                "INSERT INTO turn_secret (realm, value) VALUES (",
                $a,
                ", ",
                $b,
                ")"
            ),
            remove_secret: concat!(
                "DELETE FROM turn_secret WHERE realm = ",
                $a,
                " AND value = ",
                $b
            ),
            all_tokens: concat!(
                "SELECT kid, ikm_key, as_rs_alg, CAST(timestamp AS ",
                $text,
                "), CAST(lifetime AS ",
                $text,
                "), realm FROM oauth_key"
            ),
        }
    };
}

#[cfg(feature = "sqlite")]
pub(super) static SQLITE: Statements = statements!(
    "?",
    "?",
    "?",
    "?",
    "TEXT",
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?"
);

#[cfg(feature = "sql")]
pub(super) static POSTGRESQL: Statements =
    statements!("$1", "$2", "$3", "$4", "TEXT", "SELECT 'yes' WHERE to_regclass($1) IS NOT NULL");

#[cfg(feature = "sql")]
pub(super) static MYSQL: Statements = statements!(
    "?",
    "?",
    "?",
    "?",
    "CHAR(20)",
    "SELECT 'yes' FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
);

/// The table of users, without which it is no database of coturn's.
pub(super) const USERS: &str = "turnusers_lt";
/// A table that says by which of these descriptions the others were made.
pub(super) const VERSIONS: &str = "turnwire_schema";
/// This one.
pub(super) const VERSION: &str = "1";
/// The table of this server's own.
pub(super) const KEYS: &str = "turnwire_key";

/// coturn's tables, as its own description has them, and the one of this server's own. In that one a key counts
/// as long as `hmackey` is what coturn's table has: a password that coturn's tools change ends it.
pub(super) const TABLES: &[(&str, &str)] = &[
    (
        USERS,
        "CREATE TABLE turnusers_lt (realm varchar(127) default '', name varchar(512), \
         hmackey char(128), PRIMARY KEY (realm, name))",
    ),
    (
        "turn_secret",
        "CREATE TABLE turn_secret (realm varchar(127) default '', value varchar(256), \
         PRIMARY KEY (realm, value))",
    ),
    (
        "allowed_peer_ip",
        "CREATE TABLE allowed_peer_ip (realm varchar(127) default '', ip_range varchar(256), \
         PRIMARY KEY (realm, ip_range))",
    ),
    (
        "denied_peer_ip",
        "CREATE TABLE denied_peer_ip (realm varchar(127) default '', ip_range varchar(256), \
         PRIMARY KEY (realm, ip_range))",
    ),
    (
        "turn_origin_to_realm",
        "CREATE TABLE turn_origin_to_realm (origin varchar(127), realm varchar(127), \
         PRIMARY KEY (origin))",
    ),
    (
        "turn_realm_option",
        "CREATE TABLE turn_realm_option (realm varchar(127) default '', opt varchar(32), \
         value varchar(128), PRIMARY KEY (realm, opt))",
    ),
    (
        "oauth_key",
        "CREATE TABLE oauth_key (kid varchar(128), ikm_key varchar(256), \
         timestamp bigint default 0, lifetime integer default 0, \
         as_rs_alg varchar(64) default '', realm varchar(127), PRIMARY KEY (kid))",
    ),
    (
        "admin_user",
        "CREATE TABLE admin_user (name varchar(32), realm varchar(127), password varchar(127), \
         PRIMARY KEY (name))",
    ),
    (VERSIONS, "CREATE TABLE turnwire_schema (version varchar(16), PRIMARY KEY (version))"),
    (
        KEYS,
        "CREATE TABLE turnwire_key (realm varchar(127) default '', name varchar(512), \
         hmackey char(128), sha256 char(64), PRIMARY KEY (realm, name))",
    ),
];
