use std::borrow::Cow;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;

/// Prepares a username, realm or password by the OpaqueString profile (RFC 8265 §4.2), as
/// RFC 8489 §9.2.2 asks. `None` when the profile forbids the text.
pub fn prepare(text: &str) -> Option<Cow<'_, str>> {
    // The profile leaves printable ASCII alone: no tables for the usual case.
    if !text.is_empty() && text.bytes().all(|b| (0x20..0x7F).contains(&b)) {
        return Some(Cow::Borrowed(text));
    }
    OpaqueString::enforce(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_compositions_are_unified_and_controls_refused() {
        // RFC 8265 §4.3, table 3
        assert_eq!(prepare("correct horse").unwrap(), "correct horse");
        assert_eq!(prepare("foo\u{1680}bar").unwrap(), "foo bar");
        assert_eq!(prepare("e\u{301}").unwrap(), "\u{e9}");
        assert_eq!(prepare("a\u{7}"), None);
        assert_eq!(prepare(""), None);
    }
}
