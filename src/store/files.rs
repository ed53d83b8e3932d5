//! The files that the URL of a store names: certificates and keys for its TLS.

use std::path::PathBuf;

use super::Kind;
use crate::auth::Secret;

/// What the drivers know them by. Each driver knows some of these.
const NAMES: [&str; 8] =
    ["sslrootcert", "ssl-root-cert", "sslca", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
/// What a certificate begins with that stands in the URL itself.
const INLINE: &str = "-----BEGIN";

/// Those that the URL of a store of this kind has in it, as they are named there.
pub fn files_named(kind: Kind, url: &Secret) -> Vec<PathBuf> {
    let query = url.expose().split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let named = pairs.filter(|(name, _)| NAMES.contains(name));
    let files = named.filter_map(|(_, file)| match kind {
        // Its file is taken as it stands there.
        Kind::Redis => Some(file.to_owned()),
        _ => decode(file.split('#').next()?),
    });
    let files = files.filter(|file| !file.is_empty() && !file.trim().starts_with(INLINE));
    files.map(PathBuf::from).collect()
}

/// As in the query of a URL. `None` when it is no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let coded = digits.filter(hex).filter(|_| *first == b'%');
        match coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_tells_its_files_as_its_driver_reads_them() {
        let files = |kind, url: &str| {
            let files = files_named(kind, &Secret::new(url));
            files.iter().map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let url =
            "postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fpki%2Fca+1.pem&ssl-key=/k%zz%";
        assert_eq!(files(Kind::Postgresql, url), ["/pki/ca 1.pem", "/k%zz%"]);
        assert_eq!(
            files(Kind::Mysql, "mysql://h/d?ssl-ca=/ca.pem&sslcert=/c#f"),
            ["/ca.pem", "/c"]
        );
        assert_eq!(files(Kind::Redis, "rediss://h/0?sslrootcert=/a%2Fb"), ["/a%2Fb"]);
        let inline = "postgresql://h/d?sslcert=-----BEGIN+CERTIFICATE-----&sslkey=&host=/run";
        assert!(files(Kind::Postgresql, inline).is_empty());
        assert!(files(Kind::Mysql, "mysql://sslkey=a@h/d").is_empty());
    }
}
