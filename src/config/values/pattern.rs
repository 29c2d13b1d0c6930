//! Patterns: a glob, or a regular expression between slashes.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// What every pattern of the configuration is.
///
/// - `library/*` is a glob over the whole text; `*` and `?` stop at `/`, `**` as a component of its own does not.
/// - `/-(rc|beta)\d+$/` is a regular expression, searched, not anchored.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    Everything,
    Glob(GlobMatcher),
    Regex(Regex),
}

/// Why a text is no pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a pattern can't be empty: write `*` or `**` for everything")]
    Empty,
    #[error("{text:?} is not a glob: {reason}")]
    Glob { text: String, reason: String },
    #[error("{text:?} is not a regular expression: {reason}")]
    Regex { text: String, reason: String },
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text == "**" {
            return Ok(Self::everything());
        }
        let matcher = match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some("") => return Err(PatternError::Empty),
            Some(expression) => {
                Matcher::Regex(Regex::new(expression).map_err(|error| PatternError::Regex {
                    text: text.to_owned(),
                    reason: last_line(&error.to_string()),
                })?)
            }
            None => {
                let glob = GlobBuilder::new(text).literal_separator(true).build();
                let glob = glob.map_err(|error| PatternError::Glob {
                    text: text.to_owned(),
                    reason: error.kind().to_string(),
                })?;
                Matcher::Glob(glob.compile_matcher())
            }
        };
        Ok(Self {
            text: text.to_owned(),
            matcher,
        })
    }

    /// The same pattern for names in which a slash is a letter like any other.
    #[must_use]
    pub fn across_slashes(self) -> Self {
        let across = match &self.matcher {
            Matcher::Glob(_) => GlobBuilder::new(&self.text).literal_separator(false).build().ok(),
            Matcher::Everything | Matcher::Regex(_) => None,
        };
        match across {
            Some(glob) => Self {
                matcher: Matcher::Glob(glob.compile_matcher()),
                ..self
            },
            None => self,
        }
    }

    /// `**`
    pub fn everything() -> Self {
        Self {
            text: "**".to_owned(),
            matcher: Matcher::Everything,
        }
    }

    /// Is it `**`? Others may match everything too.
    pub fn is_everything(&self) -> bool {
        matches!(self.matcher, Matcher::Everything)
    }

    /// The only text that a glob without wildcards matches.
    pub fn literal(&self) -> Option<&str> {
        let glob = matches!(self.matcher, Matcher::Glob(_));
        (glob && !self.text.contains(['*', '?', '[', ']', '{', '}', '\\'])).then_some(&self.text)
    }

    pub fn matches(&self, candidate: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::Glob(glob) => glob.is_match(candidate),
            Matcher::Regex(regex) => regex.is_match(candidate),
        }
    }

    /// As the person wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The regex crate draws the expression over several lines; its last line is the reason.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message);
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts_and_stop_at_slashes() {
        // An operator who allows `library/*` has not allowed `library/a/b`.
        for (pattern, candidate, expected) in [
            ("library/*", "library/redis", true),
            ("library/*", "library/redis/extra", false),
            ("library/**", "library/redis/extra", true),
            ("*", "redis", true),
            ("*", "library/redis", false),
            ("v1.?", "v1.2", true),
            ("v1.?", "v1.22", false),
            ("{stable,nightly}", "nightly", true),
            ("[0-9]*", "9-alpine", true),
            ("redis", "redis-stack", false),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(candidate), expected, "{pattern} on {candidate}");
        }
    }

    #[test]
    fn a_star_among_people_is_everybody() {
        // Who denies `*` means `corp/ann` too: names have no folders.
        for (pattern, name, expected) in [
            ("*", "corp/ann", true),
            ("*", "token:ci", true),
            ("corp/*", "corp/eu/ann", true),
            ("a?n", "a/n", true),
            ("corp/*", "ann", false),
            ("**", "corp/ann", true),
            ("/^corp/", "corp/ann", true),
        ] {
            let parsed = Pattern::parse(pattern).unwrap().across_slashes();
            assert_eq!(parsed.matches(name), expected, "{pattern} on {name}");
            assert_eq!(parsed.as_str(), pattern);
        }
    }

    #[test]
    fn regular_expressions_are_searched() {
        // The old tools' tag rules are unanchored expressions; they must keep their meaning.
        let pattern = Pattern::parse(r"/(stable|nightly)/").unwrap();
        assert!(pattern.matches("nightly-2026"));
        assert!(!pattern.matches("latest"));
        assert!(Pattern::parse("/^v1$/").unwrap().matches("v1"));
        assert!(!Pattern::parse("/^v1$/").unwrap().matches("v10"));
    }

    #[test]
    fn bad_patterns_say_why() {
        // A rule that silently matches nothing is worse than a start that fails.
        let message = |text| Pattern::parse(text).unwrap_err().to_string();
        assert_eq!(
            message("/(/"),
            "\"/(/\" is not a regular expression: unclosed group"
        );
        assert!(message("[a").starts_with("\"[a\" is not a glob: unclosed character class"));
        assert_eq!(
            message(""),
            "a pattern can't be empty: write `*` or `**` for everything"
        );
        assert_eq!(
            message("//"),
            "a pattern can't be empty: write `*` or `**` for everything"
        );
    }
}
