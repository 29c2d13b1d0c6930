//! Conditions and ranges.

use super::{Answers, Case, Heard, Holds, Place, TAG, case, get, head, must};

pub(super) fn cases(place: &Place) -> Vec<Case> {
    let mut cases = conditions(place);
    cases.extend(ranges(place));
    cases
}

fn conditions(place: &Place) -> Vec<Case> {
    let (blob, etag) = (&*place.blob, &*place.etag);
    let old = "If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n";
    let same = "9110 13.1.2: If-None-Match that names it: 304 to GET and HEAD";
    vec![
        case(
            same,
            get(blob, &format!("If-None-Match: {etag}\r\n")),
            Answers(&[304, 200]),
        ),
        case(
            same,
            head(blob, &format!("If-None-Match: {etag}\r\n")),
            Answers(&[304, 200]),
        ),
        case(
            same,
            get(blob, &format!("If-None-Match: \"x\", {etag}\r\n")),
            Answers(&[304, 200]),
        ),
        case(
            same,
            get(
                blob,
                &format!("If-None-Match: \"x\"\r\nIf-None-Match: {etag}\r\n"),
            ),
            Answers(&[304, 200]),
        ),
        case(
            "9110 13.1.2: * is any",
            get(blob, "If-None-Match: *\r\n"),
            Answers(&[304, 200]),
        ),
        case(
            "9110 13.1.2: the comparison is weak",
            get(blob, &format!("If-None-Match: W/{etag}\r\n")),
            Answers(&[304, 200]),
        ),
        case(
            "9110 13.1.2: another tag is no match",
            get(blob, "If-None-Match: \"x\"\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 5.6.1.2: empty list elements are ignored (If-None-Match)",
            get(blob, &format!("If-None-Match: , {etag} ,\r\n")),
            Answers(&[304, 200]),
        ),
        case(
            "9110 13.2.1: conditions are ignored where the answer would be no success",
            get("/v2/library/redis/manifests/none", "If-None-Match: *\r\n"),
            Answers(&[404, 200]),
        ),
        case(
            "9110 13.2.1: conditions are ignored where the method is refused",
            format!("DELETE {TAG} HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: *\r\n\r\n"),
            Answers(&[405, 200]),
        ),
        case(
            "9110 13.1.3: If-Modified-Since is ignored beside If-None-Match",
            get(
                blob,
                &format!("If-None-Match: \"x\"\r\n{}", old.replace("1994", "2094")),
            ),
            Answers(&[200, 200]),
        ),
        case(
            "9110 13.1.3: a date that is none is ignored",
            get(blob, "If-Modified-Since: yesterday\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 13.1.4: a date that is none is ignored (If-Unmodified-Since)",
            get(blob, "If-Unmodified-Since: yesterday\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 15.4.5: 304 has the ETag that 200 would have",
            get(blob, &format!("If-None-Match: {etag}\r\n")),
            Holds(|heard| must(heard.first()?.header("etag").is_some(), "no ETag")),
        ),
        case(
            "9110 13.1.1: If-Match that names it is met",
            get(blob, &format!("If-Match: {etag}\r\n")),
            Answers(&[200, 200]),
        ),
        case(
            "9110 13.1.1: If-Match: * is met",
            get(blob, "If-Match: *\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 13.1.1: If-Match that is not met: nothing is performed",
            get(blob, "If-Match: \"x\"\r\n"),
            Answers(&[412, 200]),
        ),
        case(
            "9110 13.1.1: the comparison is strong",
            get(blob, &format!("If-Match: W/{etag}\r\n")),
            Answers(&[412, 200]),
        ),
    ]
}

fn ranges(place: &Place) -> Vec<Case> {
    let (blob, etag, length) = (&*place.blob, &*place.etag, place.length);
    vec![
        case(
            "9110 14.2: Range is for GET only",
            head(blob, "Range: bytes=0-9\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 14.2: an unknown unit is ignored",
            get(blob, "Range: items=0-9\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 14.1: units are case-insensitive",
            get(blob, "Range: BYTES=0-9\r\n"),
            Answers(&[206, 200]),
        ),
        case(
            "9110 14.1.2: an end beyond the end is the end",
            get(blob, &format!("Range: bytes={}-999999999\r\n", length - 5)),
            Holds(five_bytes),
        ),
        case(
            "9110 14.1.2: a suffix is the last bytes",
            get(blob, "Range: bytes=-5\r\n"),
            Holds(five_bytes),
        ),
        case(
            "9110 14.1.2: a suffix longer than all is all",
            get(blob, "Range: bytes=-999999999\r\n"),
            Answers(&[206, 200]),
        ),
        case(
            "9110 14.1.2: large numbers do not overflow",
            get(blob, "Range: bytes=0-99999999999999999999999999\r\n"),
            Holds(|heard| must(matches!(heard.first()?.status, 200 | 206 | 416), "neither")),
        ),
        case(
            "9110 15.3.7.1: one part says which it is",
            get(blob, "Range: bytes=0-4\r\n"),
            Holds(five_bytes),
        ),
        case(
            "9110 15.3.7.2: no multipart for one range",
            get(blob, "Range: bytes=0-4\r\n"),
            Holds(|heard| {
                let kind = heard.first()?.header("content-type").unwrap_or_default();
                must(!kind.starts_with("multipart/"), kind)
            }),
        ),
        case(
            "9110 15.3.7.2: several parts have no Content-Range in the head",
            get(blob, "Range: bytes=0-4,10-14\r\n"),
            Holds(|heard| {
                let first = heard.first()?;
                let kind = first.header("content-type").unwrap_or_default();
                must(
                    !kind.starts_with("multipart/") || first.header("content-range").is_none(),
                    "both",
                )
            }),
        ),
        case(
            "9110 15.3.7: 206 has the fields that 200 would have",
            get(blob, "Range: bytes=0-4\r\n") + &get(blob, ""),
            Holds(|heard| {
                let [part, whole, _] = heard.answers.as_slice() else {
                    return Err(format!("{:?}", heard.statuses()));
                };
                for name in ["etag", "cache-control", "vary", "expires", "content-location"] {
                    must(part.header(name) == whole.header(name), name)?;
                }
                Ok(())
            }),
        ),
        case(
            "9110 13.1.5: If-Range that names it: the part",
            get(blob, &format!("Range: bytes=0-4\r\nIf-Range: {etag}\r\n")),
            Answers(&[206, 200]),
        ),
        case(
            "9110 13.1.5: If-Range that does not: Range is ignored",
            get(blob, "Range: bytes=0-4\r\nIf-Range: \"x\"\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 13.1.5: the comparison is strong",
            get(blob, &format!("Range: bytes=0-4\r\nIf-Range: W/{etag}\r\n")),
            Answers(&[200, 200]),
        ),
        case(
            "9110 13.1.5: If-Range without Range is ignored",
            get(blob, "If-Range: \"x\"\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 13.2.2: If-None-Match comes before Range",
            get(blob, &format!("Range: bytes=0-4\r\nIf-None-Match: {etag}\r\n")),
            Answers(&[304, 200]),
        ),
    ]
}

fn five_bytes(heard: &Heard) -> Result<(), String> {
    let first = heard.first()?;
    must(
        first.status == 206 && first.body.len() == 5 && first.header("content-range").is_some(),
        format!("{} {:?}", first.line, first.headers),
    )
}
