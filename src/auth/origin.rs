/// The longest ORIGIN that is looked at, in bytes: a scheme and a host name of 255 characters fit.
const LONGEST: usize = 320;

/// An origin in the one form in which two of them are compared: scheme, host and port, in lower case, as
/// in `https://example.org:443`. A path behind it is dropped. `None` when it is none.
///
/// ORIGIN is of draft-johnston-tram-stun-origin, which never became an RFC; coturn compares in the same form.
pub fn canonical_origin(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let (scheme, rest) = text.trim().split_once("://")?;
    let inner = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(inner) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let colon = match authority.rfind(']') {
        Some(end) => authority[end..].find(':').map(|colon| end + colon),
        None => authority.find(':'),
    };
    let (host, port) = match colon {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
        None => (authority, None),
    };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"@:\\".contains(c);
    let literal = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || !(literal || host.chars().all(plain)) {
        return None;
    }
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_lowercase());
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok()?),
        None => match &*scheme {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        },
    };
    Some(match port {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_has_one_form() {
        let same = ["https://Example.org", "HTTPS://example.org:443/a?b", " https://example.org/ "];
        for text in same {
            assert_eq!(
                canonical_origin(text).as_deref(),
                Some("https://example.org:443"),
                "{text}"
            );
        }
        let others = [
            ("http://example.org", "http://example.org:80"),
            ("https://example.org:8443", "https://example.org:8443"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]:443"),
            ("https://[2001:db8::1]:99", "https://[2001:db8::1]:99"),
            ("app://one", "app://one"),
        ];
        for (text, form) in others {
            assert_eq!(canonical_origin(text).as_deref(), Some(form));
        }
        let long = format!("https://{}", "a".repeat(LONGEST));
        let none = ["", "null", "example.org", "://x", "https://", "https://u@h", "1s://h", &long];
        for text in none {
            assert_eq!(canonical_origin(text), None, "{text}");
        }
        assert_eq!(canonical_origin("https://h:99999"), None);
    }
}
