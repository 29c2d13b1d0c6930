//! Where a message ends, and what a connection is good for after it.

use super::{Answers, Case, Holds, Place, Refused, TAG, case, get, must};

const SMUGGLED: &str = "GET /v2/smuggled/one/manifests/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}\r\n{body}"
    )
}

pub(super) fn cases(_: &Place) -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(codings());
    cases.extend(connections());
    cases
}

fn lengths() -> Vec<Case> {
    let rule = "9112 6.3: an invalid Content-Length is 400, and the end of the connection";
    let mut cases: Vec<Case> = [
        "abc",
        "-1",
        "+5",
        "5 6",
        "5, 6",
        "0x5",
        "",
        "5;",
        "5.0",
        "1e1",
        "99999999999999999999",
        "\u{665}",
        "5,",
    ]
    .iter()
    .map(|value| {
        case(
            rule,
            post(&format!("Content-Length: {value}\r\n"), ""),
            Refused(&[400]),
        )
    })
    .collect();
    cases.extend([
        case(
            rule,
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "a=b&cd"),
            Refused(&[400]),
        ),
        case(
            rule,
            post("Content-Length: 0\r\nContent-Length: 44\r\n", SMUGGLED),
            Refused(&[400]),
        ),
        case(
            "9110 8.6: a large Content-Length does not overflow",
            post("Content-Length: 18446744073709551616\r\n", ""),
            Refused(&[400, 413]),
        ),
    ]);
    cases
}

fn codings() -> Vec<Case> {
    let last = "9112 6.3: a request whose last coding is not chunked is 400, and the end";
    let mut cases: Vec<Case> = [
        "gzip",
        "chunked, gzip",
        "identity",
        "xchunked",
        "chunked;x=y",
        "chunked, identity",
        "\"chunked\"",
        "\u{b}chunked",
    ]
    .iter()
    .map(|coding| {
        let wire = post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n");
        case(last, wire, Refused(&[400, 501]))
    })
    .collect();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let both = "9112 6.1: with Content-Length and Transfer-Encoding the connection ends after the answer";
    cases.extend([
        case(
            last,
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
                "0\r\n\r\n",
            ),
            Refused(&[400, 501]),
        ),
        case(
            both,
            post(
                &format!("Content-Length: 5\r\n{chunked}"),
                &format!("0\r\n\r\n{SMUGGLED}"),
            ),
            Holds(only_one),
        ),
        case(
            both,
            post(
                &format!("{chunked}Content-Length: 0\r\n"),
                &format!("3\r\na=b\r\n0\r\n\r\n{SMUGGLED}"),
            ),
            Holds(only_one),
        ),
        case(
            "9112 6.1: Transfer-Encoding in HTTP/1.0 is faulty framing, and the end of the connection",
            post(chunked, &format!("0\r\n\r\n{SMUGGLED}"))
                .replacen("HTTP/1.1", "HTTP/1.0", 1)
                .replacen("Host:", "Connection: keep-alive\r\nHost:", 1),
            Holds(only_one),
        ),
        case(
            "9112 7: names of codings are case-insensitive",
            post("Transfer-Encoding: ChUnKeD\r\n", "3\r\na=b\r\n0\r\n\r\n"),
            Holds(two),
        ),
        case(
            "9112 7.1: chunked is decoded",
            post(chunked, "3\r\na=b\r\n2\r\n&c\r\n0\r\n\r\n"),
            Holds(two),
        ),
        case(
            "9112 7.1.1: unknown chunk extensions are ignored",
            post(chunked, "3;x=y;z=\"1\"\r\na=b\r\n0;w\r\n\r\n"),
            Holds(two),
        ),
        case(
            "9112 7.1: a chunk size does not overflow",
            post(
                chunked,
                &format!("10000000000000003\r\na=b\r\n0\r\n\r\n{SMUGGLED}"),
            ),
            Holds(only_one),
        ),
        case(
            "9112 7.1: a chunk size is hexadecimal digits and nothing else",
            post(chunked, &format!("0x3\r\na=b\r\n0\r\n\r\n{SMUGGLED}")),
            Holds(only_one),
        ),
        case(
            "9112 7.1: a chunk size has no sign",
            post(chunked, &format!("-3\r\na=b\r\n0\r\n\r\n{SMUGGLED}")),
            Holds(only_one),
        ),
        case(
            "9112 7.1: chunk data ends with CRLF",
            post(chunked, &format!("3\r\na=bXX0\r\n\r\n{SMUGGLED}")),
            Holds(only_one),
        ),
        case(
            "9110 6.5.1: trailers are not merged into the head",
            post(
                chunked,
                "3\r\na=b\r\n0\r\nHost: evil.test\r\nContent-Length: 50\r\nAuthorization: Basic YTpi\r\n\r\n",
            ),
            Holds(two),
        ),
    ]);
    cases
}

fn connections() -> Vec<Case> {
    let length = SMUGGLED.len();
    let unread = "9112 9.3: a body is read to its end, or the connection closed: it is never a request";
    vec![
        case(
            unread,
            get(TAG, &format!("Content-Length: {length}\r\n")) + SMUGGLED,
            Holds(not_smuggled),
        ),
        case(
            unread,
            get("/livez", &format!("Content-Length: {length}\r\n")) + SMUGGLED,
            Holds(not_smuggled),
        ),
        case(
            unread,
            format!("DELETE {TAG} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
            Holds(not_smuggled),
        ),
        case(
            unread,
            format!("PUT /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
            Holds(not_smuggled),
        ),
        case(
            unread,
            get(TAG, "Transfer-Encoding: chunked\r\n") + &format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
            Holds(not_smuggled),
        ),
        case(
            "9112 9.3.2: pipelined requests are answered in their order",
            get(TAG, "") + &get("/v2/library/redis/manifests/none", "") + &get("/livez", ""),
            Answers(&[200, 404, 200, 200]),
        ),
        case(
            "9112 9.6: after close the connection ends, and later requests are not read",
            get(TAG, "Connection: close\r\n") + SMUGGLED,
            Answers(&[200]),
        ),
        case(
            "9112 9.6: close is an option whatever its case",
            get(TAG, "Connection: CLOSE\r\n") + SMUGGLED,
            Answers(&[200]),
        ),
        case(
            "9112 9.6: close beside another option counts",
            get(TAG, "Connection: x-a, close\r\n") + SMUGGLED,
            Answers(&[200]),
        ),
        case(
            "9110 7.8: no protocol is switched to that nobody asked for (Upgrade in HTTP/1.0)",
            get(TAG, "Connection: upgrade\r\nUpgrade: websocket\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1),
            Holds(|heard| must(heard.first()?.status == 200, "not served")),
        ),
        case(
            "9110 7.8: no protocol is switched to that is not spoken (websocket)",
            get(TAG, "Connection: upgrade\r\nUpgrade: websocket\r\n"),
            Holds(|heard| must(heard.first()?.status != 101, "101")),
        ),
        case(
            "9110 7.8: no protocol is switched to that is not spoken (h2c)",
            get(
                TAG,
                "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            ),
            Holds(|heard| must(heard.first()?.status != 101, "101")),
        ),
        case(
            "9110 10.1.1: 100-continue in HTTP/1.0 is ignored",
            post("Expect: 100-continue\r\nContent-Length: 3\r\n", "a=b").replacen("HTTP/1.1", "HTTP/1.0", 1),
            Holds(|heard| must(heard.first()?.status >= 200, "an interim answer")),
        ),
        case(
            "9110 10.1.1: 100-continue is answered with 100 or a final status",
            post("Expect: 100-continue\r\nContent-Length: 3\r\n", "a=b"),
            Holds(|heard| must(matches!(heard.first()?.status, 100 | 200..), "silence")),
        ),
    ]
}

/// One answer, or none, and then the end: what follows is not read.
fn only_one(heard: &super::Heard) -> Result<(), String> {
    must(heard.answers.len() <= 1, format!("{:?}", heard.statuses()))
}

/// The body was understood, and what follows it too.
fn two(heard: &super::Heard) -> Result<(), String> {
    let statuses = heard.statuses();
    must(statuses.len() == 2 && statuses[1] == 200, format!("{statuses:?}"))
}

/// The request, perhaps the last one, and nothing between.
fn not_smuggled(heard: &super::Heard) -> Result<(), String> {
    must(heard.answers.len() <= 2, format!("{:?}", heard.statuses()))
}
