//! The lines of a `turnserver.conf`, as coturn itself reads them.

/// coturn reads so many bytes at once; what follows on the line is another line to it.
const LONGEST: usize = 1023;

/// A line with an option on it; or, without a number, a row of coturn's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// Its number in the file, from 1; 0 for a row.
    pub(super) number: usize,
    /// Everything up to the first blank or `=`; the name of a table.
    pub(super) name: &'t str,
    /// The rest without the separator, the quotes and the blanks at the end; empty for none.
    pub(super) value: &'t str,
    /// Why the value may not be what its writer meant.
    pub(super) doubt: Option<&'static str>,
}

/// Every line that is neither empty nor a comment.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let numbered = text.split('\n').zip(1..);
    numbered.filter_map(|(line, number)| one(line.trim_start_matches(is_blank), number))
}

fn one(line: &str, number: usize) -> Option<Line<'_>> {
    // Only the first character makes a comment: elsewhere a `#` belongs to the value.
    if line.starts_with('#') {
        return None;
    }
    let whole = line.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == '\x0B');
    if whole.is_empty() {
        return None;
    }
    let separator = |c: char| is_blank(c) || c == '=';
    let (name, value) = match whole.find(separator) {
        Some(end) => (&whole[..end], whole[end..].trim_start_matches(separator)),
        None => (whole, ""),
    };
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted),
        None => value,
    };
    Some(Line { number, name, value, doubt: doubt(line, value) })
}

fn doubt(line: &str, value: &str) -> Option<&'static str> {
    if line.contains('\u{FFFD}') {
        return Some("the line is not UTF-8 text");
    }
    if value.chars().any(char::is_control) {
        return Some("there is a control character in the value");
    }
    if line.len() > LONGEST {
        return Some("coturn cuts a line this long in two");
    }
    if value.contains(" #") || value.contains("\t#") {
        return Some("coturn takes what follows # here as a part of the value, and so does this");
    }
    value
        .ends_with(';')
        .then_some("coturn takes the semicolon as a part of the value, and so does this")
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// A yes or no; `None` for what coturn refuses to start with.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value.chars().next() {
        None => Some(true),
        Some('0' | 'n' | 'N' | 'f' | 'F') => Some(false),
        Some('1'..='9' | 'y' | 'Y' | 't' | 'T') => Some(true),
        Some(_) => match value {
            "off" | "OFF" | "Off" => Some(false),
            "on" | "ON" | "On" => Some(true),
            _ => None,
        },
    }
}

/// A number as C's `atoi` reads it: the digits in front, and 0 without any or below. The flag says
/// whether that was all of the value.
pub(super) fn number(value: &str) -> (u64, bool) {
    let (sign, digits) = match value.strip_prefix(['+', '-']) {
        Some(digits) => (value.starts_with('-'), digits),
        None => (false, value),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits[..end].parse::<u64>();
    match number {
        Ok(number) if !sign => (number, end == digits.len()),
        _ => (0, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, &str, &str)> {
        lines(text).map(|line| (line.number, line.name, line.value)).collect()
    }

    #[test]
    fn blanks_and_equals_signs_separate_and_only_a_first_hash_comments() {
        let text = "# a comment\n\n  \t# one more\nlistening-port=3478\nrealm example.org \r\n\
                    \tmin-port\t=  =49152\t\nfingerprint\nuser=al=ice:won=der\n";
        let expected = [
            (4, "listening-port", "3478"),
            (5, "realm", "example.org"),
            (6, "min-port", "49152"),
            (7, "fingerprint", ""),
            (8, "user", "al=ice:won=der"),
        ];
        assert_eq!(read(text), expected);
        assert_eq!(read("=5"), [(1, "", "5")]);
    }

    #[test]
    fn double_quotes_go_and_all_else_stays() {
        let text = "a=\"x y\"\nb=\"x\nc=x\"\nd='x'\ne=\"\"\nf=\"";
        let values: Vec<_> = lines(text).map(|line| line.value).collect();
        assert_eq!(values, ["x y", "x", "x\"", "'x'", "", ""]);
    }

    #[test]
    fn what_may_not_be_meant_is_doubted() {
        let doubted = |text: &str| lines(text).next().unwrap().doubt.is_some();
        assert!(doubted("listening-port=3478 # the usual"));
        assert!(doubted("realm=example.org;"));
        assert!(doubted("realm=\u{FFFD}"));
        assert!(doubted("realm=a\u{7}b"));
        assert!(doubted(&format!("realm={}", "x".repeat(1100))));
        assert!(!doubted("static-auth-secret=a#b"));
    }

    #[test]
    fn booleans_and_numbers_are_read_as_in_c() {
        for yes in ["", "1", "yes", "true", "TRUE", "on", "7up", "Y"] {
            assert_eq!(boolean(yes), Some(true), "{yes}");
        }
        for no in ["0", "no", "false", "off", "Off", "F"] {
            assert_eq!(boolean(no), Some(false), "{no}");
        }
        assert_eq!(boolean("enabled"), None);
        assert_eq!(number("600"), (600, true));
        assert_eq!(number("+600"), (600, true));
        assert_eq!(number("600 s"), (600, false));
        assert_eq!(number("-5"), (0, false));
        assert_eq!(number("many"), (0, false));
        assert_eq!(number("99999999999999999999999"), (0, false));
    }
}
