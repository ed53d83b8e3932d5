//! What several of the tools' flags have in common.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use crate::auth::Secret;

/// A file that is longer holds something else than a secret.
const SECRET_MAX: u64 = 4096;

/// What is wrong with a secret is told without showing it: there is nothing that could be wrong.
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// The secret that is alone in a file, or on standard input for `-`.
pub(super) fn secret_in(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().take(SECRET_MAX + 1).read_to_string(&mut text),
        _ => File::open(path).and_then(|it| it.take(SECRET_MAX + 1).read_to_string(&mut text)),
    };
    read.map_err(|error| format!("the secret cannot be read from {}: {error}", path.display()))?;
    if text.len() as u64 > SECRET_MAX {
        return Err(format!("{} is longer than any secret", path.display()));
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
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
