//! The cases, by what a registry's answer or docxy's request has to do with.

use super::{
    Case, JSON, OTHER, Outcome, TAGS, asked, bad_gateway, case, chunked, close, framed, incomplete, keep,
    right, sound, with,
};
use crate::security::rfc::must;
use crate::support::client::Request;

pub(super) fn framing() -> Vec<Case> {
    let invalid = "9112 6.3: a response with an invalid Content-Length: 502, and the connection closed";
    let mut cases: Vec<Case> = [
        "abc",
        "-5",
        "+38",
        "38 38",
        "38, 5",
        "0x26",
        "38;",
        "99999999999999999999999",
    ]
    .iter()
    .map(|length| {
        case(
            invalid,
            [keep(framed(&format!("Content-Length: {length}\r\n"), JSON))],
            bad_gateway,
        )
    })
    .collect();
    cases.extend([
        case(
            invalid,
            [keep(framed("Content-Length: 38\r\nContent-Length: 5\r\n", JSON))],
            bad_gateway,
        ),
        case(
            "9112 6.3: Transfer-Encoding overrides Content-Length in a response",
            [close(framed("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &chunked(JSON)))],
            |outcome| must(outcome.first.status == 502 || outcome.first.text() == JSON, "Content-Length counted"),
        ),
        case(
            "9112 7.1: chunked is decoded",
            [keep(framed("Transfer-Encoding: chunked\r\n", &chunked(JSON)))],
            right,
        ),
        case(
            "9112 7: names of codings are case-insensitive",
            [keep(framed("Transfer-Encoding: CHUNKED\r\n", &chunked(JSON)))],
            right,
        ),
        case(
            "9112 7.1.1: unknown chunk extensions are ignored",
            [keep(framed("Transfer-Encoding: chunked\r\n", &chunked(JSON).replacen("\r\n", ";x=\"y\"\r\n", 1)))],
            right,
        ),
        case(
            "9112 7.1: a chunk size does not overflow",
            [close(framed("Transfer-Encoding: chunked\r\n", &format!("10000000000000026\r\n{JSON}\r\n0\r\n\r\n")))],
            incomplete,
        ),
        case(
            "9112 8: chunks without their end are incomplete",
            [close(framed("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{JSON}\r\n", JSON.len())))],
            incomplete,
        ),
        case(
            "9112 8: fewer bytes than Content-Length says are incomplete",
            [close(framed("Content-Length: 100\r\n", JSON))],
            incomplete,
        ),
        case(
            "9112 6.3: without framing the body ends with the connection",
            [close(framed("", JSON))],
            right,
        ),
        case(
            "9110 6.5.1: trailers are not merged into the head",
            [keep(framed(
                "Trailer: X-Cache\r\nTransfer-Encoding: chunked\r\n",
                &format!("{:x}\r\n{JSON}\r\n0\r\nContent-Type: text/html\r\nEtag: \"smuggled\"\r\n\r\n", JSON.len()),
            ))],
            |outcome| {
                right(outcome)?;
                must(outcome.first.header("content-type") == Some("application/json"), "merged")?;
                must(outcome.first.header("etag").is_none(), "merged")
            },
        ),
        case(
            "9112 6.3: what follows an answer is never another answer",
            [keep(sound(JSON) + &sound(OTHER))],
            right,
        ),
        case(
            "9112 6.3: 304 has no body: what follows is never an answer",
            [keep(format!("HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n{}", sound(OTHER)))],
            |outcome| must(outcome.second.text() == JSON, "not right"),
        ),
        case(
            "9112 6.3: 204 has no body: what follows is never an answer",
            [keep(format!("HTTP/1.1 204 No Content\r\n\r\n{}", sound(OTHER)))],
            |outcome| must(outcome.second.text() == JSON, "not right"),
        ),
        asked(
            "9112 6.3: an answer to HEAD has no body, whatever its length says: what follows is never an answer",
            Request::head(TAGS),
            [keep(sound(JSON) + &sound(OTHER))],
            |outcome| must(outcome.second.text() == JSON, "not right"),
        ),
    ]);
    cases
}

pub(super) fn passing() -> Vec<Case> {
    let space = "9112 5.1: whitespace before a colon is removed, or the answer refused";
    let fold = "9112 5.2: obs-fold in an answer is replaced, or 502";
    let interim = "9110 15.2: interim answers come before the final one, and are not it";
    let class = "9110 15: an unknown status is that of its class";
    let status = |line: &str| keep(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"));
    vec![
        case(space, [keep(with("Warning : 299 - \"x\"\r\n", JSON))], one_or_502),
        case(space, [keep(with("X-A : b\r\n", JSON))], one_or_502),
        case(
            fold,
            [keep(with("Warning: 299 -\r\n \"x\"\r\n", JSON))],
            one_or_502,
        ),
        case(
            fold,
            [keep(with("X-A: b\r\n\tSet-Cookie: c\r\n", JSON))],
            one_or_502,
        ),
        case(
            "9112 2.2: a bare CR in an answer is invalid or a space",
            [keep(with("Warning: 299 - \"x\rSet-Cookie: smuggled\"\r\n", JSON))],
            one_or_502,
        ),
        case(
            "9110 5.5: NUL in a value is refused or replaced",
            [keep(with("Warning: 299 - \"x\0y\"\r\n", JSON))],
            one_or_502,
        ),
        case(
            "9112 2.2: a line before the first field that begins with a space is no field",
            [keep(format!(
                "HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{JSON}",
                JSON.len()
            ))],
            one_or_502,
        ),
        case(
            interim,
            [keep(format!("HTTP/1.1 100 Continue\r\n\r\n{}", sound(JSON)))],
            right,
        ),
        case(
            interim,
            [keep(format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{}",
                sound(JSON)
            ))],
            right,
        ),
        case(
            "9110 7.8: a switch of protocols that nobody asked for is no answer",
            [keep(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            )],
            |outcome| must(outcome.first.status >= 500, format!("{}", outcome.first.status)),
        ),
        case(class, [status("499 Odd")], |outcome| {
            must(outcome.first.status >= 400, "no error")
        }),
        case(class, [status("599 Odd")], |outcome| {
            must(outcome.first.status >= 500, "no fault")
        }),
        case(class, [status("399 Odd")], |outcome| {
            must(outcome.first.status >= 400, "passed on")
        }),
        case(
            "9110 7.6.1: fields that Connection names are not passed on",
            [keep(with(
                "Connection: warning, oci-canary\r\nWarning: 299 - \"canary\"\r\nOci-Canary: canary\r\n",
                JSON,
            ))],
            |outcome| {
                right(outcome)?;
                must(
                    !format!("{:?}", outcome.first.headers).contains("canary"),
                    "passed on",
                )
            },
        ),
        case(
            "9110 7.6.1: fields of one connection are not passed on",
            [keep(with(
                "Keep-Alive: timeout=canary\r\nProxy-Connection: canary\r\nProxy-Authenticate: canary\r\nUpgrade: canary\r\nTE: canary\r\n",
                JSON,
            ))],
            |outcome| {
                right(outcome)?;
                must(
                    !format!("{:?}", outcome.first.headers).contains("canary"),
                    "passed on",
                )
            },
        ),
        case(
            "9112 2.3: docxy's version is its own, not the registry's",
            [close(sound(JSON).replacen("HTTP/1.1", "HTTP/1.0", 1))],
            right,
        ),
        case(
            "9110 5.6.4: a quoted pair is the character it quotes",
            [keep(with(
                "Docker-Distribution-Api-Version: registry/2.0\r\nWarning: 299 - \"a\\\"b\"\r\n",
                JSON,
            ))],
            right,
        ),
        case(
            "9110 15.5.2: 401 is passed on with a challenge",
            [
                keep(
                    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
                ),
                keep(
                    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
                ),
            ],
            |outcome| {
                must(
                    outcome.first.status != 401 || outcome.first.header("www-authenticate").is_some(),
                    "no challenge",
                )
            },
        ),
        case(
            "9110 15.5.6: 405 is passed on with Allow",
            [status("405 Method Not Allowed")],
            |outcome| {
                must(
                    outcome.first.status != 405 || outcome.first.header("allow").is_some(),
                    "no Allow",
                )
            },
        ),
    ]
}

fn one_or_502(outcome: &Outcome) -> Result<(), String> {
    must(
        outcome.first.status == 502 || outcome.first.text() == JSON,
        format!("{}", outcome.first.status),
    )?;
    must(
        outcome.first.header("set-cookie").is_none(),
        "a field was made of a value",
    )
}

pub(super) fn connections() -> Vec<Case> {
    vec![
        case(
            "9112 9.6: after close nothing more is asked on a connection",
            [keep(with("Connection: close\r\n", JSON))],
            other_connection,
        ),
        case(
            "9112 9.6: close is an option whatever its case, and beside others",
            [keep(with("Connection: x-a, CLOSE\r\n", JSON))],
            other_connection,
        ),
        case(
            "9112 9.3: HTTP/1.0 without keep-alive is not asked again",
            [keep(sound(JSON).replacen("HTTP/1.1", "HTTP/1.0", 1))],
            other_connection,
        ),
        case(
            "9112 9.3: a connection that persists may be used again",
            [keep(sound(JSON))],
            right,
        ),
    ]
}

fn other_connection(outcome: &Outcome) -> Result<(), String> {
    right(outcome)?;
    let [first, second] = outcome.seen.as_slice() else {
        return Err(format!("{} requests", outcome.seen.len()));
    };
    must(first.connection != second.connection, "asked again")
}

pub(super) fn requests() -> Vec<Case> {
    let hop = Request::get(TAGS)
        .header("Connection", "x-canary, keep-alive")
        .header("X-Canary", "canary")
        .header("Keep-Alive", "canary")
        .header("Proxy-Connection", "canary")
        .header("TE", "trailers, canary")
        .header("Upgrade", "canary")
        .header("Proxy-Authorization", "Basic canary");
    vec![
        asked(
            "9110 7.6.1: a client's fields of one connection go no further",
            hop,
            [],
            |outcome| must(!outcome.seen.iter().any(|seen| seen.has("canary")), "forwarded"),
        ),
        case("9110 7.6.3: a gateway's requests have Via", [], |outcome| {
            must(
                outcome.seen.iter().all(|seen| seen.has("\r\nvia: 1.1 ")),
                "no Via",
            )
        }),
        asked(
            "9110 7.6.3: Via keeps what was there, in its order",
            Request::get(TAGS).header("Via", "1.0 fred"),
            [],
            |outcome| must(outcome.seen[0].has("via: 1."), "no Via"),
        ),
        case(
            "9112 3.2: Host is sent, once, and is the authority",
            [],
            |outcome| {
                let head = outcome.seen[0].head.to_ascii_lowercase();
                let hosts: Vec<&str> = head
                    .split("\r\n")
                    .filter(|line| line.starts_with("host:"))
                    .collect();
                must(
                    hosts.len() == 1 && hosts[0].starts_with("host: 127.0.0.1:"),
                    format!("{hosts:?}"),
                )
            },
        ),
        case("9112 3.2.1: the target is path and query alone", [], |outcome| {
            must(
                outcome.seen[0]
                    .head
                    .starts_with("GET /v2/library/redis/tags/list HTTP/1.1\r\n"),
                "another form",
            )
        }),
        case(
            "9112 6: a request without content is framed as one",
            [],
            |outcome| {
                must(
                    !outcome.seen[0].has("\r\ntransfer-encoding:")
                        && !outcome.seen[0].has("\r\ncontent-length: 1"),
                    "framed",
                )
            },
        ),
        asked(
            "9112 2.3: the version is docxy's own, not the client's",
            Request::get(TAGS).header("X-A", "b"),
            [],
            |outcome| must(outcome.seen[0].head.contains(" HTTP/1.1\r\n"), "another version"),
        ),
        asked(
            "9110 7.7: content of a request is not made of what a pull brings",
            Request::form(TAGS, &[("a", "smuggled")]),
            [],
            |outcome| {
                must(
                    !outcome
                        .seen
                        .iter()
                        .any(|seen| seen.has("smuggled") || seen.has("post ")),
                    "forwarded",
                )
            },
        ),
        asked(
            "9110 4.2.4: no userinfo in what is sent on",
            Request::get(TAGS).header("Host", "127.0.0.1"),
            [keep(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://canary:canary@127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n",
            )],
            |outcome| {
                let told = format!("{:?}{}", outcome.first.headers, outcome.first.text());
                must(
                    !told.contains("canary") && outcome.first.status >= 400,
                    "passed on",
                )
            },
        ),
        asked(
            "9110 7.6: what comes back to docxy itself is not sent on for ever",
            Request::get(TAGS).header("Max-Forwards", "0"),
            [],
            |outcome| {
                must(
                    outcome.seen.len() <= 2,
                    format!("{} requests", outcome.seen.len()),
                )
            },
        ),
        asked(
            "9110 10.1.1: an expectation of the client's is docxy's to meet",
            Request::get(TAGS).header("Expect", "100-continue"),
            [],
            |outcome| must(!outcome.seen[0].has("\r\nexpect:"), "forwarded"),
        ),
    ]
}
