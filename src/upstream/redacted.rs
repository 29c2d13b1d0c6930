//! A URL for logs.

use std::fmt;
use url::Url;

/// Longest path that is shown; some storages sign in the path.
const SHOWN: usize = 48;

/// Prints scheme, host and the beginning of the path: no user, no query, no fragment (signed URLs, threat S12).
pub(super) struct RedactedUrl<'a>(pub &'a Url);

impl fmt::Display for RedactedUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = super::transport::host_and_port(self.0);
        let path = self.0.path();
        let shown = path.get(..SHOWN).unwrap_or(path);
        let more = if shown.len() < path.len() { "..." } else { "" };
        write!(f, "{}://{host}{shown}{more}", self.0.scheme())
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
        let shown = RedactedUrl(&url).to_string();
        assert!(shown.starts_with("https://cdn.test:8443/blobs/xxx"), "{shown}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}
