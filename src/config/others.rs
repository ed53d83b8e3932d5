//! Other servers that clients are sent to, as the file has them.

use std::net::SocketAddr;

use toml::de::{DeTable, DeValue};

use super::OtherServer;
use super::found::{Found, decimal};
use super::table::{Entry, get, text};
use super::value::{Wrong, number, socket_address};

const ENTRY: Entry = Entry {
    what: "server",
    form: "write it like NAME = { addresses = [\"192.0.2.1:3478\"] }",
    keys: &["addresses", "tls_addresses", "domain", "weight"],
};

/// A larger one says nothing more.
const WEIGHT: u64 = 1000;

impl Found<'_, '_> {
    /// A table of servers by their names.
    pub(super) fn other_servers(&mut self) -> Option<Vec<OtherServer>> {
        self.tables(&ENTRY, one)
    }
}

fn one(name: &str, table: &DeTable<'_>) -> Result<OtherServer, Wrong> {
    let addresses = addresses(table, "addresses")?;
    if addresses.is_empty() {
        return Err(Wrong::new("has no addresses").hint(ENTRY.form));
    }
    let tls_addresses = self::addresses(table, "tls_addresses")?;
    for secure in &tls_addresses {
        if addresses.iter().all(|plain| plain.is_ipv4() != secure.is_ipv4()) {
            return Err(Wrong::new(format!("has {secure} without a plain address of that family"))
                .hint("it is there that the server is asked whether it is alive"));
        }
    }
    let weight = match get(table, "weight") {
        None => 1,
        Some(DeValue::Integer(integer)) => number(&decimal(integer), 0..=WEIGHT)
            .map_err(|wrong| Wrong::new(format!("has a weight that is none: {}", wrong.what)))?,
        Some(_) => return Err(Wrong::new("must have a whole number as weight")),
    };
    let domain = text(table, "domain")?.map(domain).transpose()?;
    Ok(OtherServer { name: name.to_owned(), addresses, tls_addresses, domain, weight })
}

/// At most one of each family.
fn addresses(table: &DeTable<'_>, name: &str) -> Result<Vec<SocketAddr>, Wrong> {
    let items = match get(table, name) {
        None => return Ok(Vec::new()),
        Some(DeValue::Array(items)) => items,
        Some(_) => return Err(Wrong::new(format!("must have a list of strings as {name}"))),
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for item in items.iter() {
        let DeValue::String(text) = item.get_ref() else {
            return Err(Wrong::new(format!("must have a list of strings as {name}")));
        };
        let address = socket_address(text).map_err(|wrong| {
            Wrong::new(format!("has a place that is none: {}", wrong.what)).hint_of(wrong)
        })?;
        let ip = address.ip();
        if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
            return Err(Wrong::new(format!("cannot be reached at {address}")));
        }
        if found.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            let what = format!("has {address} as one too many: one of each family will do");
            return Err(Wrong::new(what).hint("make it a server of its own"));
        }
        found.push(address);
    }
    Ok(found)
}

/// RFC 8489 §14.16: a DNS name of at most 255 characters.
pub(super) fn domain(text: &str) -> Result<String, Wrong> {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 255 && text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("has the domain {text:?}, which is no name of a host"))
        .hint("write it as it stands in the certificate, like turn2.example.org"))
}
