//! Conditional requests (RFC 9110 section 13) for content that is named by its digest: the digest is the validator.

use http::{HeaderMap, HeaderValue, header};

use crate::oci::Digest;

/// `"sha256:..."`: strong, because the digest is of the very bytes.
pub fn etag(digest: &Digest) -> HeaderValue {
    let text = ["\"", digest.algorithm().as_str(), ":", digest.hex(), "\""].concat();
    // A digest is ASCII by its type.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The client has these bytes: `If-None-Match` names them, or anything (13.1.2; weak comparison).
pub fn has_it(conditions: &HeaderMap, etag: &HeaderValue) -> bool {
    conditions.get_all(header::IF_NONE_MATCH).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|one| {
            let one = one.trim_ascii();
            one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == etag.as_bytes()
        })
    })
}

/// `If-Match` is met by an answer with these headers: there is none, or it names the answer's `ETag`, or anything (13.1.1;
/// strong comparison). Nothing that is read here needs it, but a server that ignores it answers another question.
pub fn matches(conditions: &HeaderMap, answer: &HeaderMap) -> bool {
    let Some(first) = conditions.get(header::IF_MATCH) else {
        return true;
    };
    let etag = answer.get(header::ETAG).map(HeaderValue::as_bytes);
    let more = conditions.get_all(header::IF_MATCH).iter().skip(1);
    [first].into_iter().chain(more).any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|one| {
            let one = one.trim_ascii();
            one == b"*" || (Some(one) == etag && !one.starts_with(b"W/"))
        })
    })
}

/// The range counts: there is no `If-Range`, or it names these bytes (13.1.5; strong comparison). A date never does: what
/// is named by digest has none.
pub fn range_holds(conditions: &HeaderMap, etag: &HeaderValue) -> bool {
    conditions
        .get(header::IF_RANGE)
        .is_none_or(|line| line.as_bytes().trim_ascii() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Algorithm;

    fn conditions(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
    }

    #[test]
    fn a_client_that_has_the_bytes_is_not_sent_them_again() {
        // A client that revalidates by ETag must get 304 for the same bytes, and the bytes for any others.
        let etag = etag(&Digest::of(Algorithm::Sha256, b"x"));
        let own = etag.to_str().expect("ASCII").to_owned();
        for (value, has) in [
            (own.clone(), true),
            (format!("W/{own}"), true),
            (format!("\"a\", {own} ,\"b\""), true),
            ("*".to_owned(), true),
            ("\"sha256:0\"".to_owned(), false),
            (own.trim_matches('"').to_owned(), false),
        ] {
            assert_eq!(
                has_it(&conditions(header::IF_NONE_MATCH, &value), &etag),
                has,
                "{value}"
            );
        }
        assert!(!has_it(&HeaderMap::new(), &etag));
    }

    #[test]
    fn a_range_of_other_bytes_is_not_a_range() {
        // A resume must not join halves of different contents.
        let etag = etag(&Digest::of(Algorithm::Sha256, b"x"));
        let own = etag.to_str().expect("ASCII").to_owned();
        assert!(range_holds(&HeaderMap::new(), &etag));
        assert!(range_holds(&conditions(header::IF_RANGE, &own), &etag));
        for other in [
            format!("W/{own}"),
            "\"x\"".to_owned(),
            "Sun, 22 Nov 2026 08:00:00 GMT".to_owned(),
        ] {
            assert!(
                !range_holds(&conditions(header::IF_RANGE, &other), &etag),
                "{other}"
            );
        }
    }
}
