//! How a stranger's text is shown in an error message.

/// Longest excerpt, in characters of the original.
const MAX: usize = 64;

/// At most 64 characters of `text`; whatever is not printable ASCII is escaped, so that a message stays one line of
/// bounded length wherever it ends up: a log, a terminal, a client's screen.
pub(super) fn excerpt(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX));
    for (i, c) in text.chars().enumerate() {
        if i == MAX {
            shown.push_str("...");
            break;
        }
        if c.is_ascii_graphic() || c == ' ' {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_cuts() {
        // An operator who greps logs must get one bounded line, whatever a client sent.
        assert_eq!(excerpt("a\nb\u{202e}c"), "a\\u{a}b\\u{202e}c");
        assert_eq!(excerpt(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(excerpt(&"x".repeat(65)), format!("{}...", "x".repeat(64)));
    }
}
