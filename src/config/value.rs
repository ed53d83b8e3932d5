//! Text to values, the same for the file and for the flags.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::nearest::nearest;
use super::{AdminSocket, External};
use crate::auth::{Secret, User, can_separate};
use crate::turn::{InvalidPrefix, PortRange, Prefix};

/// A value that cannot be used: what is wrong, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// With the hint of another.
    pub(super) fn hint_of(self, other: Self) -> Self {
        Self { hint: other.hint, ..self }
    }
}

/// An address with a port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = Wrong::new(format!("{text:?} is not an address with a port"));
    let meant = |address: SocketAddr| format!("did you mean \"{address}\"?");
    let text = text.trim();
    let (before, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse::<u16>().ok();
    // An IPv6 address without its brackets, or one without a port: a number this large is a port.
    if let (Ok(ip), Some(port)) = (before.parse::<IpAddr>(), port.filter(|port| *port >= 1000)) {
        return Err(wrong.hint(meant(SocketAddr::new(ip, port))));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Err(wrong.hint(meant(SocketAddr::new(ip, 3478))));
    }
    match port.filter(|_| matches!(before, "" | "*")) {
        Some(port) => Err(wrong.hint(format!(
            "\"0.0.0.0:{port}\" and \"[::]:{port}\" are this port on every address"
        ))),
        None => Err(wrong.hint("write it like \"192.0.2.1:3478\" or \"[2001:db8::1]:3478\"")),
    }
}

/// An address without a port.
pub(super) fn ip_address(text: &str) -> Result<IpAddr, Wrong> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    let wrong = Wrong::new(format!("{text:?} is not an IP address"));
    match text.parse::<SocketAddr>() {
        Ok(address) => Err(wrong.hint(format!("without a port: \"{}\"", address.ip()))),
        Err(_) => Err(wrong.hint("write it like \"192.0.2.1\" or \"2001:db8::1\"")),
    }
}

/// `PUBLIC` or `PUBLIC/PRIVATE`.
pub(super) fn external(text: &str) -> Result<External, Wrong> {
    let (public, private) = match text.split_once('/') {
        Some((public, private)) => (public, Some(private)),
        None => (text, None),
    };
    let form = "write it like \"203.0.113.5\" or \"203.0.113.5/10.0.0.5\" (outside/inside)";
    let address = |text: &str| ip_address(text.trim()).map_err(|wrong| wrong.hint(form));
    Ok(External { public: address(public)?, private: private.map(address).transpose()? })
}

/// A prefix in CIDR notation.
pub(super) fn prefix(text: &str) -> Result<Prefix, Wrong> {
    text.parse().map_err(|why| match why {
        InvalidPrefix::HostBits(prefix) => {
            Wrong::new(format!("{text:?} has bits set behind the prefix"))
                .hint(format!("did you mean \"{prefix}\"?"))
        }
        _ => Wrong::new(format!("{text:?} is not a prefix")).hint(why.to_string()),
    })
}

/// `A-B`, both included.
pub(super) fn ports(text: &str) -> Result<PortRange, Wrong> {
    let form = "write it like \"49152-65535\"";
    let broken = || Wrong::new(format!("{text:?} is not a range of ports")).hint(form);
    let (first, last) = text.split_once('-').ok_or_else(broken)?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| broken());
    let range = PortRange { first: port(first)?, last: port(last)? };
    if range.is_empty() {
        return Err(Wrong::new(format!("the range {text:?} is empty"))
            .hint(format!("did you mean \"{}-{}\"?", range.last, range.first)));
    }
    if range.first < 1024 {
        return Err(Wrong::new(format!("the range {text:?} begins below 1024")).hint(
            "the ports 0-1023 belong to well-known services, RFC 8656 §7.2 advises against them",
        ));
    }
    Ok(range)
}

/// A number, as a flag has it.
pub(super) fn number<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, Wrong> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
        let (low, high) = range.into_inner();
        Wrong::new(format!("expected a whole number from {low} to {high}, found {text}"))
    })
}

/// `30s`, `10m`, `1h`, `1d`, or seconds alone.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let (count, unit) = split_unit(text);
    let unit = match unit {
        "" | "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86400),
        _ => None,
    };
    let seconds = unit.zip(count).map(|(unit, count)| count.saturating_mul(unit));
    let Some(seconds) = seconds else {
        return Err(Wrong::new(format!("{text:?} is not a duration"))
            .hint("write it like \"30s\", \"10m\" or \"1h\""));
    };
    let duration = Duration::from_secs(seconds);
    if !range.contains(&duration) {
        let (low, high) = (show_duration(*range.start()), show_duration(*range.end()));
        return Err(Wrong::new(format!("{text} is out of range"))
            .hint(format!("it must be {low} to {high}")));
    }
    Ok(duration)
}

/// A duration in its largest whole unit.
pub(super) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        s if s > 0 && s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s > 0 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// `4MiB`, `256KiB`, `10MB`, or bytes alone. A rate is a size each second.
pub(super) fn size<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, Wrong> {
    let (count, unit) = split_unit(text);
    let unit: Option<u64> = match unit {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.zip(count).map(|(unit, count)| count.saturating_mul(unit));
    let Some(bytes) = bytes else {
        let wrong = Wrong::new(format!("{text:?} is not a number of bytes"));
        return Err(wrong.hint(if text.to_lowercase().contains("bit") {
            "it counts bytes, not bits: 8 Mbit is \"1MB\""
        } else {
            "write it like \"256KiB\", \"4MiB\" or \"10MB\""
        }));
    };
    let size =
        Some(bytes).filter(|bytes| range.contains(bytes)).and_then(|it| T::try_from(it).ok());
    size.ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        Wrong::new(format!("{text} is out of range"))
            .hint(format!("it must be {low} to {high} bytes"))
    })
}

/// One of a few words.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&'static str, T)]) -> Result<T, Wrong> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names = || choices.iter().map(|(name, _)| *name);
    let hint = match nearest(text, names()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!(
            "choose {}",
            names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ")
        ),
    };
    Err(Wrong::new(format!("{text:?} is unknown here")).hint(hint))
}

/// What stands between expiry and user in an ephemeral username.
pub(super) fn separator(text: &str) -> Result<char, Wrong> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if can_separate(c) => Ok(c),
        _ => Err(Wrong::new(format!("{text:?} cannot separate expiry and user"))
            .hint("write one character that is not a digit, like \":\"")),
    }
}

/// The value of SOFTWARE; empty means none.
pub(super) fn software(text: &str) -> Result<Option<String>, Wrong> {
    // RFC 8489 §14.14
    if text.chars().count() > 127 || text.chars().any(char::is_control) {
        return Err(Wrong::new("must have at most 127 characters and no control characters"));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// `host:port`.
pub(super) fn host_and_port(text: &str) -> Result<String, Wrong> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    let literal = bracketed && text.parse::<SocketAddr>().is_ok();
    if (plain || literal) && port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("{text:?} is not a host with a port"))
        .hint("write it like \"stun.example.org:3478\""))
}

/// The path of a file or directory.
pub(super) fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return Err(Wrong::new(format!("{text:?} is not a path")));
    }
    Ok(PathBuf::from(text))
}

/// What nobody guesses, and what can stand in a header; never shown.
pub(super) fn admin_token(text: &str) -> Result<Secret, Wrong> {
    if text.len() < 16 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let wrong =
            Wrong::new("a token must have at least 16 characters, all of them ASCII and no spaces");
        return Err(wrong.hint("make one with: openssl rand -hex 32"));
    }
    Ok(Secret::new(text))
}

/// `auto`, `off` or a path.
pub(super) fn admin_socket(text: &str) -> Result<AdminSocket, Wrong> {
    match text {
        "auto" => Ok(AdminSocket::Auto),
        "off" => Ok(AdminSocket::Off),
        text => {
            let hint = "write the path of a socket to be made, \"auto\" or \"off\"";
            path(text).map(AdminSocket::At).map_err(|wrong| wrong.hint(hint))
        }
    }
}

/// Any text at all; what it may be is checked where it is used.
pub(super) fn text(text: &str) -> Result<String, Wrong> {
    Ok(text.to_owned())
}

/// `NAME:PASSWORD`, never shown.
pub(super) fn name_and_password(text: &str) -> Result<User, Wrong> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok(User { name: name.to_owned(), password: Secret::new(password) })
        }
        _ => Err(Wrong::new("must be a name and a password with a colon between them")),
    }
}

/// Text that is never shown.
pub(super) fn secret(text: &str) -> Result<Secret, Wrong> {
    Ok(Secret::new(text))
}

/// The number in front and the unit behind it.
fn split_unit(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    (count.parse().ok(), unit.trim_start())
}
