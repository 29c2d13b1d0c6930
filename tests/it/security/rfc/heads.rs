//! Request line, Host, and field lines.

use super::{Answers, Case, Holds, Place, Refused, TAG, case, get, must};

const OK: &str = "GET /v2/library/redis/manifests/7 HTTP/1.1\r\n";

pub(super) fn cases(_: &Place) -> Vec<Case> {
    let mut cases = request_lines();
    cases.extend(hosts());
    cases.extend(fields());
    cases
}

fn request_lines() -> Vec<Case> {
    let line = |line: &str| format!("{line}\r\nHost: 127.0.0.1\r\n\r\n");
    vec![
        case(
            "9112 2.3: HTTP-version is case-sensitive",
            line(&format!("GET {TAG} http/1.1")),
            Refused(&[400, 505]),
        ),
        case(
            "9112 2.2: whitespace before the first field line: reject or drop the line",
            format!("GET {TAG} HTTP/1.1\r\n Host: evil.test\r\nHost: 127.0.0.1\r\n\r\n"),
            Refused(&[400]),
        ),
        case(
            "9112 2.2: a tab before the first field line: reject or drop the line",
            format!("GET {TAG} HTTP/1.1\r\n\tHost: evil.test\r\nHost: 127.0.0.1\r\n\r\n"),
            Refused(&[400]),
        ),
        case(
            "9112 2.2: a bare CR in the request line is invalid",
            line(&format!("GET {TAG}\r HTTP/1.1")),
            Refused(&[400]),
        ),
        case(
            "9112 2.2: a bare CR in a field line is invalid or a space",
            get(TAG, "X-A: b\rX-B: c\r\n"),
            Refused(&[400]),
        ),
        case(
            "9112 2.2: a message is octets: obs-text does not stop the reader",
            [
                format!("GET {TAG} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ").into_bytes(),
                vec![0xe9, 0xff, b'\r', b'\n', b'\r', b'\n'],
            ]
            .concat(),
            Answers(&[200, 200]),
        ),
        case(
            "9112 3: a target longer than is read is answered with 414",
            line(&format!("GET /v2/{} HTTP/1.1", "a/".repeat(40_000))),
            Refused(&[414, 431]),
        ),
        case(
            "9110 9.1: methods are case-sensitive",
            line(&format!("get {TAG} HTTP/1.1")),
            Holds(|heard| must(matches!(heard.first()?.status, 400 | 405 | 501), "served")),
        ),
        case("9110 9.1: GET is supported", get(TAG, ""), Answers(&[200, 200])),
        case(
            "9110 9.1: HEAD is supported",
            get(TAG, "").replacen("GET", "HEAD", 1),
            Answers(&[200, 200]),
        ),
        case(
            "9110 15.5.6: 405 says what is allowed (the API)",
            line(&format!("DELETE {TAG} HTTP/1.1")),
            Answers(&[405, 200]),
        ),
        case(
            "9110 15.5.6: 405 says what is allowed (tokens)",
            line("PUT /auth/token HTTP/1.1"),
            Answers(&[405, 200]),
        ),
        case(
            "9110 15.5.6: 405 says what is allowed (health)",
            line("POST /livez HTTP/1.1"),
            Answers(&[405, 200]),
        ),
        case(
            "9110 9.3.6: CONNECT to no port is refused",
            "CONNECT ghcr.io HTTP/1.1\r\nHost: ghcr.io\r\n\r\n",
            Holds(|heard| must((400..500).contains(&heard.first()?.status), "not refused")),
        ),
        case(
            "9110 9.3.6: CONNECT to an empty port is refused",
            "CONNECT ghcr.io: HTTP/1.1\r\nHost: ghcr.io:\r\n\r\n",
            Holds(|heard| must((400..500).contains(&heard.first()?.status), "not refused")),
        ),
        case(
            "9110 9.3.6: CONNECT to a port that is none is refused",
            "CONNECT ghcr.io:99999 HTTP/1.1\r\nHost: ghcr.io:99999\r\n\r\n",
            Holds(|heard| must((400..500).contains(&heard.first()?.status), "not refused")),
        ),
        case(
            "9110 7.6.2: OPTIONS with Max-Forwards: 0 is not forwarded",
            format!("OPTIONS {TAG} HTTP/1.1\r\nHost: 127.0.0.1\r\nMax-Forwards: 0\r\n\r\n"),
            Answers(&[405, 200]),
        ),
        case(
            "9110 7.6.2: TRACE with Max-Forwards: 0 is not forwarded",
            format!("TRACE {TAG} HTTP/1.1\r\nHost: 127.0.0.1\r\nMax-Forwards: 0\r\n\r\n"),
            Answers(&[405, 200]),
        ),
    ]
}

fn hosts() -> Vec<Case> {
    let with = |lines: &str| format!("{OK}{lines}\r\n");
    let none = "9112 3.2: no Host in HTTP/1.1 is 400";
    let twice = "9112 3.2: more than one Host line is 400";
    let invalid = "9112 3.2: a Host that is invalid is 400";
    let mut cases = vec![
        case(none, with(""), Holds(bad)),
        case(none, "GET /livez HTTP/1.1\r\n\r\n", Holds(bad)),
        case(
            none,
            "POST /auth/token HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            Holds(bad),
        ),
        case(twice, with("Host: 127.0.0.1\r\nHost: evil.test\r\n"), Holds(bad)),
        case(twice, with("Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"), Holds(bad)),
        case(twice, with("Host: 127.0.0.1\r\nhost:\r\n"), Holds(bad)),
        case(
            "9112 3.2.2: the absolute form is accepted",
            "GET http://127.0.0.1/v2/library/redis/manifests/7 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            Answers(&[200, 200]),
        ),
        case(
            "9112 3.2.2: with the absolute form the target's host counts, not Host's",
            "GET http://127.0.0.1/v2/library/redis/manifests/7 HTTP/1.1\r\nHost: evil.test\r\n\r\n",
            Answers(&[200, 200]),
        ),
        case(
            "9110 4.2.1: an http target without a host is invalid",
            "GET http:///v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            Holds(bad),
        ),
        case(
            "9110 4.2.1: an http target with a port and no host is invalid",
            "GET http://:80/v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            Holds(bad),
        ),
        case(
            "9110 7.4: a target of https over an unsecured connection is rejected",
            "GET https://127.0.0.1/v2/library/redis/manifests/7 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            Holds(|heard| {
                must(
                    matches!(heard.first()?.status, 400 | 421),
                    format!("{:?}", heard.statuses()),
                )
            }),
        ),
    ];
    for value in [
        "a b", "a/b", "a@b", "a,b", "a:b", "[::1", "a:99999", "a?b", "\"a\"", "a\\b", "<a>",
    ] {
        cases.push(case(invalid, with(&format!("Host: {value}\r\n")), Holds(bad)));
    }
    cases
}

fn bad(heard: &super::Heard) -> Result<(), String> {
    let status = heard.first()?.status;
    must(status == 400, format!("answered {status}"))
}

fn fields() -> Vec<Case> {
    let space = "9112 5.1: whitespace before a field's colon is 400";
    let fold = "9112 5.2: obs-fold is 400, or spaces";
    let nul = "9110 5.5: NUL, CR or LF in a field value is refused or replaced";
    let mut cases = vec![
        case(space, format!("{OK}Host : 127.0.0.1\r\n\r\n"), Refused(&[400])),
        case(space, get(TAG, "Content-Length : 5\r\n"), Refused(&[400])),
        case(
            space,
            get(TAG, "Transfer-Encoding\t: chunked\r\n"),
            Refused(&[400]),
        ),
        case(space, get(TAG, "X-A : b\r\n"), Refused(&[400])),
        case(fold, get(TAG, "X-A: b\r\n c\r\n"), Refused(&[400])),
        case(fold, get(TAG, "X-A: b\r\n\tc\r\n"), Refused(&[400])),
        case(
            fold,
            get(TAG, "Transfer-Encoding:\r\n chunked\r\n"),
            Refused(&[400]),
        ),
        case(nul, get(TAG, "X-A: b\0c\r\n"), Refused(&[400])),
        case(nul, get(TAG, "X-A: b\rc\r\n"), Refused(&[400])),
        case(
            nul,
            format!("{OK}Host: 127.0.0.1\0.evil.test\r\n\r\n"),
            Refused(&[400]),
        ),
        case(
            "9110 5.1: field names are case-insensitive",
            format!("{OK}hOsT: 127.0.0.1\r\n\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 5.5: whitespace around a value is no part of it",
            format!("{OK}Host: \t 127.0.0.1 \t\r\n\r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 5.5: whitespace around a value is no part of it (Content-Length)",
            get(TAG, "Content-Length: \t0 \r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 5.6.1.2: empty list elements are ignored (Accept)",
            get(TAG, "Accept: , application/vnd.oci.image.manifest.v1+json,, \r\n"),
            Answers(&[200, 200]),
        ),
        case(
            "9110 5.6.1.2: empty list elements are ignored (Connection)",
            get(TAG, "Connection: , close ,\r\n"),
            Answers(&[200]),
        ),
        case(
            "9110 5.4: more field lines than are read are a 4xx",
            get(TAG, &"X-A: b\r\n".repeat(2000)),
            Holds(|heard| must((400..500).contains(&heard.first()?.status), "not refused")),
        ),
    ];
    // Not valid as one line by its grammar: a name that is no token.
    for name in ["X A", "X(A", "X\u{7f}", ""] {
        cases.push(case(
            "9112 5: a field line that matches no grammar is never another field",
            get(TAG, &format!("{name}: b\r\n")),
            Refused(&[400]),
        ));
    }
    cases.push(case(
        "9110 5.4: a field line longer than is read is a 4xx",
        get(TAG, &format!("X-A: {}\r\n", "b".repeat(200_000))),
        Holds(|heard| must((400..500).contains(&heard.first()?.status), "not refused")),
    ));
    cases
}
