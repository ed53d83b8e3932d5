//! What several of the tools' flags have in common.

use std::convert::Infallible;
use std::time::Duration;

use crate::auth::Secret;

/// What is wrong with a secret is told without showing it: there is nothing that could be wrong.
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// A number and its unit, from a millisecond to `most`, which is told as `limit`.
pub(super) fn duration(text: &str, most: Duration, limit: &str) -> Result<Duration, String> {
    let wrong = || format!("a number with its unit: ms, s, m, h or d; at most {limit}");
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err(wrong()),
    };
    let duration = number.checked_mul(milliseconds).map(Duration::from_millis);
    duration.filter(|it| !it.is_zero() && *it <= most).ok_or_else(wrong)
}
