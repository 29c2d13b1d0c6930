//! A URL for logs.

use std::fmt;
use url::Url;

/// Longest path that is shown.
const SHOWN: usize = 48;

/// Prints scheme, host and the beginning of a path that docxy made itself: no user, no query, no fragment, and nothing
/// that a redirect named (signed URLs, threat S12).
pub(super) struct RedactedUrl<'a> {
    pub url: &'a Url,
    pub from_redirect: bool,
}

impl fmt::Display for RedactedUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = super::transport::host_and_port(self.url);
        let path = if self.from_redirect {
            "/..."
        } else {
            self.url.path()
        };
        let shown = path.get(..SHOWN).unwrap_or(path);
        let more = if shown.len() < path.len() { "..." } else { "" };
        write!(f, "{}://{host}{shown}{more}", self.url.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signature_is_printed() {
        // An operator's log must not hold what opens somebody's blob (S12).
        let long = "x".repeat(100);
        let url = Url::parse(&format!(
            "https://user:CANARY@cdn.test:8443/blobs/{long}CANARY?sig=CANARY#CANARY"
        ))
        .unwrap();
        let shown = |from_redirect| {
            RedactedUrl {
                url: &url,
                from_redirect,
            }
            .to_string()
        };
        assert!(
            shown(false).starts_with("https://cdn.test:8443/blobs/xxx"),
            "{}",
            shown(false)
        );
        assert!(!shown(false).contains("CANARY"), "{}", shown(false));
        // Some storages sign in the path.
        assert_eq!(shown(true), "https://cdn.test:8443/...");
    }
}
