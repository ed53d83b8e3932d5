//! Where requests go: what an operator may write, and nothing more of RFC 3986.

use std::fmt;
use std::path::{Path, PathBuf};

use hyper::Uri;
use hyper::header::HeaderValue;

/// What the address of a Unix socket has room for (unix(7)).
const UNIX_MAX: usize = 107;
/// How a URL of a Unix socket begins.
const UNIX: &str = "http://unix:";

/// Where a request goes. It is shown without its query, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    pub(super) origin: Origin,
    /// The Host header.
    pub(super) host: HeaderValue,
    /// The path, and the query behind it.
    target: Uri,
}

/// Who is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A name or an address, without brackets, and its port.
    Tcp {
        secure: bool,
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// Why a text is no URL that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is no URL at all.
    #[error("it is not a URL like \"https://app.example.org/path\"")]
    Form,
    /// Another scheme, or none.
    #[error("it begins neither with https:// nor with http://")]
    Scheme,
    /// Somebody's name or password.
    #[error("a name or password in it would be seen in logs")]
    Credentials,
    /// The port is 0.
    #[error("the port is 0")]
    Port,
    /// The path of a Unix socket.
    #[error(
        "a Unix socket is written like \"http://unix:/run/app.sock:/path\", with an absolute path \
         of at most {UNIX_MAX} bytes"
    )]
    Unix,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// See [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if let Some(rest) = text.strip_prefix(UNIX) {
            return Self::unix(rest);
        }
        if !text.starts_with("https://") && !text.starts_with("http://") {
            return Err(InvalidUrl::Scheme);
        }
        let whole: Uri = text.parse().map_err(|_| InvalidUrl::Form)?;
        let authority = whole.authority().ok_or(InvalidUrl::Form)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::Credentials);
        }
        let secure = whole.scheme_str() == Some("https");
        let usual = if secure { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority
                .as_str()
                .ends_with(|c: char| c == ']' || c.is_ascii_alphanumeric()) =>
            {
                usual
            }
            // `http://host:70000/` has a colon and no port that could be read.
            None => return Err(InvalidUrl::Form),
        };
        if authority.as_str() != authority.host() && authority.port().is_none() {
            return Err(InvalidUrl::Form);
        }
        if port == 0 {
            return Err(InvalidUrl::Port);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(InvalidUrl::Form);
        }
        let named = HeaderValue::from_str(authority.as_str()).map_err(|_| InvalidUrl::Form)?;
        let target = whole.path_and_query().map_or("/", |it| it.as_str());
        let target = target_of(target)?;
        Ok(Self { origin: Origin::Tcp { secure, host, port }, host: named, target })
    }

    fn unix(rest: &str) -> Result<Self, InvalidUrl> {
        let (socket, target) = rest.split_once(':').unwrap_or((rest, "/"));
        let path = Path::new(socket);
        if !path.is_absolute() || socket.len() > UNIX_MAX || socket.contains('\0') {
            return Err(InvalidUrl::Unix);
        }
        let origin = Origin::Unix(path.to_owned());
        Ok(Self { origin, host: HeaderValue::from_static("localhost"), target: target_of(target)? })
    }

    /// Whether it is spoken to in TLS.
    pub const fn is_secure(&self) -> bool {
        matches!(self.origin, Origin::Tcp { secure: true, .. })
    }

    /// Whether there is a query, in which tokens are used to stand.
    pub fn has_query(&self) -> bool {
        self.target.query().is_some()
    }

    /// The request's target, with more of a query behind it: `name=value&...`, percent-encoded.
    pub(super) fn target(&self, query: Option<&str>) -> Result<Uri, InvalidUrl> {
        let Some(query) = query else {
            return Ok(self.target.clone());
        };
        let between = if self.target.query().is_some() { '&' } else { '?' };
        format!("{}{between}{query}", self.target).parse().map_err(|_| InvalidUrl::Form)
    }
}

fn target_of(text: &str) -> Result<Uri, InvalidUrl> {
    if !text.starts_with('/') {
        return Err(InvalidUrl::Form);
    }
    text.parse().map_err(|_| InvalidUrl::Form)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Unix(path) => write!(f, "{UNIX}{}:", path.display())?,
            Origin::Tcp { secure, .. } => {
                let scheme = if *secure { "https" } else { "http" };
                write!(f, "{scheme}://{}", self.host.to_str().unwrap_or_default())?;
            }
        }
        f.write_str(self.target.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> (bool, String, u16, String) {
        let url = Url::parse(text).unwrap();
        let target = url.target(None).unwrap().to_string();
        match url.origin {
            Origin::Tcp { secure, host, port } => (secure, host, port, target),
            Origin::Unix(_) => panic!("{text} is TCP"),
        }
    }

    #[test]
    fn urls_say_who_is_spoken_to() {
        let is = |secure, host: &str, port, target: &str| {
            (secure, host.to_owned(), port, target.to_owned())
        };
        assert_eq!(tcp("https://a.example"), is(true, "a.example", 443, "/"));
        assert_eq!(tcp("http://a.example/x?y=1"), is(false, "a.example", 80, "/x?y=1"));
        assert_eq!(tcp("http://127.0.0.1:8080/"), is(false, "127.0.0.1", 8080, "/"));
        assert_eq!(tcp("https://[::1]:8443/a"), is(true, "::1", 8443, "/a"));
        assert_eq!(tcp("https://[::1]/a"), is(true, "::1", 443, "/a"));
        let url = Url::parse("http://unix:/run/app.sock:/hook?x=1").unwrap();
        assert_eq!(url.origin, Origin::Unix("/run/app.sock".into()));
        assert_eq!(url.target(Some("y=2")).unwrap().to_string(), "/hook?x=1&y=2");
        let url = Url::parse("http://unix:/run/app.sock").unwrap();
        assert_eq!(url.target(Some("y=2")).unwrap().to_string(), "/?y=2");
    }

    #[test]
    fn what_is_no_url_is_told_apart() {
        for (text, wrong) in [
            ("", InvalidUrl::Scheme),
            ("a.example/x", InvalidUrl::Scheme),
            ("ftp://a.example", InvalidUrl::Scheme),
            ("https://", InvalidUrl::Form),
            ("https:///x", InvalidUrl::Form),
            ("https://a b/", InvalidUrl::Form),
            ("https://a:70000/", InvalidUrl::Form),
            ("https://a:/", InvalidUrl::Form),
            ("https://a:0/", InvalidUrl::Port),
            ("https://me:pass@a/", InvalidUrl::Credentials),
            ("http://unix:run/app.sock", InvalidUrl::Unix),
            ("http://unix:/run/app.sock:x", InvalidUrl::Form),
        ] {
            assert_eq!(Url::parse(text), Err(wrong), "{text:?}");
        }
        let long = format!("http://unix:/{}", "a".repeat(UNIX_MAX));
        assert_eq!(Url::parse(&long), Err(InvalidUrl::Unix));
    }

    #[test]
    fn the_query_is_never_shown() {
        let url = Url::parse("https://a.example:8443/x?token=hush").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://a.example:8443/x Url(https://a.example:8443/x)"
        );
        let url = Url::parse("http://unix:/run/a.sock:/x?token=hush").unwrap();
        assert_eq!(url.to_string(), "http://unix:/run/a.sock:/x");
    }
}
