//! HEAD, content and what the status says about it.

use super::{Answer, Answers, Case, Heard, Holds, Place, TAG, case, get, head, must};

pub(super) fn cases(place: &Place) -> Vec<Case> {
    let blob = &place.blob;
    let no_content = "9110 9.3.2: HEAD has no content";
    let mut cases = vec![
        case(no_content, head(TAG, ""), Answers(&[200, 200])),
        case(no_content, head(blob, ""), Answers(&[200, 200])),
        case(
            no_content,
            head("/v2/library/redis/tags/list", ""),
            Answers(&[200, 200]),
        ),
        case(
            no_content,
            head("/v2/library/redis/manifests/none", ""),
            Answers(&[404, 200]),
        ),
        case(no_content, head("/v2/A/manifests/x", ""), Answers(&[400, 200])),
        case(no_content, head("/nothing", ""), Answers(&[404, 200])),
        case(no_content, head("/livez", ""), Answers(&[200, 200])),
        case(
            no_content,
            head("/v2/", ""),
            Holds(|heard| two_answers(heard).map(|_| ())),
        ),
        case(
            no_content,
            head(&format!("{blob}/x"), ""),
            Holds(|heard| two_answers(heard).map(|_| ())),
        ),
        case(
            "9110 8.6: 204 has no Content-Length, and no content",
            get("/generate_204", ""),
            Answers(&[204, 200]),
        ),
        case(
            "9110 15.5.2: 401 has a challenge",
            get("/v2/", "Authorization: Bearer x\r\n"),
            Holds(|heard| {
                let first = two_answers(heard)?;
                must(
                    first.status != 401 || first.header("www-authenticate").is_some(),
                    "no challenge",
                )
            }),
        ),
        case(
            "9110 5.6.7: dates are written in the one form",
            get(TAG, ""),
            Holds(|heard| {
                let date = two_answers(heard)?.header("date").unwrap_or_default();
                must(date.len() == 29 && date.ends_with(" GMT"), date)
            }),
        ),
        case(
            "9110 7.7: nothing is transformed under no-transform",
            get(
                blob,
                "Cache-Control: no-transform\r\nAccept-Encoding: gzip, br, zstd\r\n",
            ),
            Holds(untouched),
        ),
        case(
            "9112 6.1: no Transfer-Encoding to HTTP/1.0",
            get(blob, "").replacen("HTTP/1.1", "HTTP/1.0", 1),
            Holds(|heard| must(heard.first()?.header("transfer-encoding").is_none(), "chunked")),
        ),
        case(
            "9112 2.3: the version sent is docxy's own",
            get(TAG, "Connection: close\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1),
            Holds(|heard| must(heard.first()?.line.starts_with("HTTP/1."), &*heard.first()?.line)),
        ),
        case(
            "9110 15.2: no interim answer to HTTP/1.0",
            get(TAG, "Expect: 100-continue\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1),
            Holds(|heard| must(heard.first()?.status >= 200, "an interim answer")),
        ),
    ];
    // The same fields as GET, but for what only content decides.
    for path in [TAG, blob.as_str(), "/v2/library/redis/manifests/none"] {
        cases.push(case(
            "9110 8.6: Content-Length of HEAD is that of GET",
            head(path, "") + &get(path, ""),
            Holds(|heard| {
                let [head, get, _] = heard.answers.as_slice() else {
                    return Err(format!("{:?}", heard.statuses()));
                };
                must(
                    head.header("content-length")
                        .is_none_or(|length| length == get.body.len().to_string()),
                    "another length",
                )
            }),
        ));
    }
    cases
}

fn two_answers(heard: &Heard) -> Result<&Answer, String> {
    must(heard.answers.len() == 2, format!("{:?}", heard.statuses()))?;
    heard.first()
}

fn untouched(heard: &Heard) -> Result<(), String> {
    let first = two_answers(heard)?;
    let whole = first.header("content-length") == Some(&*first.body.len().to_string());
    must(whole && first.header("content-encoding").is_none(), "transformed")
}
