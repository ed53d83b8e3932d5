//! A key of access tokens, from a row of coturn's database.

use toml::value::Datetime;
use toml::{Table, Value};

use crate::auth::{TokenAlgorithm, TokenKey, decode_base64};
use crate::store::StockedToken;

/// Days from the year 0 (beginning in March) to 1970.
const EPOCH: u64 = 719_468;
/// The end of the year 9999: the last that TOML can write.
const LAST: u64 = 253_402_300_799;

/// A key of an access token, as a configuration has it.
pub(super) fn entry(token: &StockedToken) -> Result<Table, String> {
    let kid = &token.kid;
    let fine = (1..=508).contains(&kid.len()) && !kid.chars().any(char::is_control);
    let (algorithm, word) = match &*token.algorithm.to_ascii_uppercase() {
        "" | "A256GCM" => (TokenAlgorithm::A256Gcm, "A256GCM"),
        "A128GCM" => (TokenAlgorithm::A128Gcm, "A128GCM"),
        _ => return Err("an algorithm that is none of RFC 7635's: the key is left out".to_owned()),
    };
    let bytes = decode_base64(token.key.expose().as_bytes());
    let key = bytes.and_then(|bytes| TokenKey::new(kid, algorithm, &bytes)).filter(|_| fine);
    if key.is_none() {
        let needed = algorithm.key_length();
        return Err(format!("a key that is not {needed} bytes in base64 with a kid: left out"));
    }
    let mut entry = Table::new();
    entry.insert("key".to_owned(), token.key.expose().into());
    entry.insert("algorithm".to_owned(), word.into());
    if token.lifetime > 0 {
        let until = date(token.timestamp.saturating_add(token.lifetime));
        entry.extend(until.map(|until| ("valid_until".to_owned(), Value::Datetime(until))));
    }
    Ok(entry)
}

/// Seconds since 1970 as TOML writes them.
fn date(unix: u64) -> Option<Datetime> {
    let unix = unix.min(LAST);
    let (day, time) = (unix / 86400 + EPOCH, unix % 86400);
    // Eras of 400 years, which begin in March, so that the day that some years have more is their last.
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, after) = (day - (153 * month + 2) / 5 + 1, month >= 10);
    let (year, month) =
        (era * 400 + year + u64::from(after), if after { month - 9 } else { month + 3 });
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(date(unix).unwrap().to_string(), text);
        }
    }
}
