//! The keys of access tokens (RFC 7635), as the file has them.

use toml::de::{DeTable, DeValue};
use toml::value::{Datetime, Offset};

use super::found::Found;
use super::table::{Entry, get, text};
use super::value::{Wrong, choice};
use crate::auth::{TokenAlgorithm, TokenKey, decode_base64};

const ALGORITHMS: &[(&str, TokenAlgorithm)] =
    &[("A256GCM", TokenAlgorithm::A256Gcm), ("A128GCM", TokenAlgorithm::A128Gcm)];

const ENTRY: Entry = Entry {
    what: "key",
    form: "write it like KID = { key = \"BASE64\" }",
    keys: &["algorithm", "key", "valid_from", "valid_until"],
};

impl Found<'_, '_> {
    /// A table of keys by their kid.
    pub(super) fn token_keys(&mut self) -> Option<Vec<TokenKey>> {
        self.tables(&ENTRY, one)
    }
}

fn one(kid: &str, table: &DeTable<'_>) -> Result<TokenKey, Wrong> {
    let algorithm = match text(table, "algorithm")? {
        None => TokenAlgorithm::A256Gcm,
        Some(name) => choice(name, ALGORITHMS)
            .map_err(|wrong| Wrong::new("has an unknown algorithm").hint_of(wrong))?,
    };
    let encoded =
        text(table, "key")?.ok_or_else(|| Wrong::new("has no key in it").hint(ENTRY.form))?;
    let bytes =
        decode_base64(encoded.as_bytes()).ok_or_else(|| Wrong::new("is not written in base64"))?;
    let mut key = TokenKey::new(kid, algorithm, &bytes).ok_or_else(|| {
        let (found, needed) = (bytes.len(), algorithm.key_length());
        Wrong::new(format!("has {found} bytes, its algorithm needs {needed}"))
            .hint(format!("make one with: openssl rand -base64 {needed}"))
    })?;
    key.valid_from = date(table, "valid_from")?;
    key.valid_until = date(table, "valid_until")?;
    if key.valid_from.zip(key.valid_until).is_some_and(|(from, until)| until <= from) {
        return Err(Wrong::new("is valid at no time: valid_until is not after valid_from"));
    }
    Ok(key)
}

/// A date with a time and an offset, in seconds since 1970.
fn date(table: &DeTable<'_>, name: &str) -> Result<Option<u64>, Wrong> {
    let seconds = match get(table, name) {
        None => return Ok(None),
        Some(DeValue::Datetime(date)) => unix(date),
        Some(_) => None,
    };
    let form = "write it without quotes, like 2027-01-31T00:00:00Z";
    seconds.map(Some).ok_or_else(|| Wrong::new(format!("has no date as {name}")).hint(form))
}

fn unix(date: &Datetime) -> Option<u64> {
    let Datetime { date: Some(day), time: Some(time), offset: Some(offset) } = date else {
        return None;
    };
    // Years begin in March, so that the day that some have more is their last.
    let (year, month) = match i64::from(day.month) {
        month @ 1..=2 => (i64::from(day.year) - 1, month + 9),
        month => (i64::from(day.year), month - 3),
    };
    let leaps = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leaps + (month * 153 + 2) / 5 + i64::from(day.day) - 1 - 719_468;
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute);
    let east = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(*minutes),
    };
    u64::try_from((minutes - east) * 60 + i64::from(time.second.unwrap_or(0))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00+01:00", None),
            ("2000-02-29T23:59:59Z", Some(951_868_799)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("2026-11-21T12:00:00+02:00", Some(1_795_255_200)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("2026-11-21T12:00:00", None),
            ("2026-11-21", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(unix(&text.parse().unwrap()), seconds, "{text}");
        }
    }
}
