//! What others have written (clients, servers, databases), made fit for a line that people read.

/// Whether a character would steer a terminal, begin a line of its own, or show what stands around it in another order.
///
/// These are the controls of ASCII and Latin-1, the separators of lines and paragraphs, and all that directs the
/// bidirectional algorithm (UAX #9 §2).
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line, with what [steers] in the form of Rust's escapes: `\u{1b}`. Such a character comes out as at
/// most eight.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal_begins_a_line_or_turns_it_round() {
        let all = "\n\u{1B}\u{7F}\u{9B}\u{61C}\u{200E}\u{200F}\u{2028}\u{2029}\u{202A}\u{202E}\u{2066}\u{2069}";
        assert!(all.chars().all(steers));
        assert!(!printable(all).contains(steers));
        assert_eq!(printable("al\u{1B}[31m\u{202E}ecila"), "al\\u{1b}[31m\\u{202e}ecila");
        // Names in any script, the joiners that some need, and what only looks like an escape.
        let harmless = "Åsa עברית می\u{200C}خواهم 👩\u{200D}🚀 \\n";
        assert_eq!(printable(harmless), harmless);
    }
}
