//! The other side: docxy as the client of a registry, and as the gateway that passes its answers on.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::must;
use crate::support::{
    app::TestApp,
    client::{Request, Response},
    within,
};

const TAGS: &str = "/v2/library/redis/tags/list";
const JSON: &str = "{\"name\":\"library/redis\",\"tags\":[\"7\"]}";
const OTHER: &str = "{\"name\":\"library/redis\",\"tags\":[\"smuggled\"]}";

/// A registry that answers with exactly these bytes, in the order in which requests come, and then with sound ones.
struct Raw {
    address: SocketAddr,
    script: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Step {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Keep,
    Close,
}

#[derive(Clone, Debug)]
struct Seen {
    connection: usize,
    head: String,
}

impl Seen {
    fn has(&self, text: &str) -> bool {
        self.head.to_ascii_lowercase().contains(text)
    }
}

impl Raw {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let raw = Self {
            address: listener.local_addr().unwrap(),
            script: Arc::default(),
            seen: Arc::default(),
        };
        let (script, seen) = (Arc::clone(&raw.script), Arc::clone(&raw.seen));
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                connection += 1;
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut buffer = Vec::new();
                    loop {
                        let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") else {
                            match stream.read_buf(&mut buffer).await {
                                Ok(0) | Err(_) => return,
                                Ok(_) => continue,
                            }
                        };
                        let head: Vec<u8> = buffer.drain(..end + 4).collect();
                        let head = String::from_utf8_lossy(&head).into_owned();
                        let step = script.lock().unwrap().pop_front();
                        let step = step.unwrap_or_else(|| keep(sound(JSON)));
                        seen.lock().unwrap().push(Seen { connection, head });
                        if stream.write_all(&step.bytes).await.is_err() || step.then == Then::Close {
                            return;
                        }
                    }
                });
            }
        });
        raw
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn keep(bytes: impl Into<Vec<u8>>) -> Step {
    Step {
        bytes: bytes.into(),
        then: Then::Keep,
    }
}

fn close(bytes: impl Into<Vec<u8>>) -> Step {
    Step {
        bytes: bytes.into(),
        then: Then::Close,
    }
}

fn sound(body: &str) -> String {
    with("", body)
}

fn with(headers: &str, body: &str) -> String {
    framed(&format!("{headers}Content-Length: {}\r\n", body.len()), body)
}

/// With these header lines and no others that frame the body.
fn framed(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

struct Case {
    rule: &'static str,
    request: Request,
    script: Vec<Step>,
    check: fn(&Outcome) -> Result<(), String>,
}

/// What a client got of the case's request and of a second one, and what the registry saw.
struct Outcome {
    first: Response,
    second: Response,
    seen: Vec<Seen>,
}

fn case(
    rule: &'static str,
    script: impl IntoIterator<Item = Step>,
    check: fn(&Outcome) -> Result<(), String>,
) -> Case {
    asked(rule, Request::get(TAGS), script, check)
}

fn asked(
    rule: &'static str,
    request: Request,
    script: impl IntoIterator<Item = Step>,
    check: fn(&Outcome) -> Result<(), String>,
) -> Case {
    Case {
        rule,
        request,
        script: script.into_iter().collect(),
        check,
    }
}

#[tokio::test]
async fn what_a_gateway_must_do_with_a_registrys_answers() {
    // A registry that frames its answers oddly must not be able to answer the next client's request (S10).
    let mut cases = framing();
    cases.extend(passing());
    cases.extend(connections());
    cases.extend(requests());
    let all = cases.len();
    let mut failed = Vec::new();
    for case in cases {
        let raw = Raw::start().await;
        raw.script.lock().unwrap().extend(case.script);
        let app = TestApp::builder()
            .config(&format!(
                "[registries.\"docker.io\"]\nurls = [\"http://{}\"]\nallow_private_addresses = true\n\
                 [timeouts]\nheaders = \"3s\"\nidle = \"3s\"",
                raw.address
            ))
            .start()
            .await;
        let ask = async |request: Request| within(case.rule, answer(&request, app.addr())).await;
        let outcome = Outcome {
            first: ask(case.request).await,
            second: ask(Request::get(TAGS)).await,
            seen: raw.seen(),
        };
        if let Err(why) = always(&outcome).and_then(|()| (case.check)(&outcome)) {
            failed.push(format!(
                "{}: {why}\n  first {}\n  second {}\n  {:?}",
                case.rule,
                outcome.first.everything(),
                outcome.second.everything(),
                outcome.seen
            ));
        }
    }
    println!(
        "S10: {} of {all} MUST cases of RFC 9110 and 9112 for a gateway and client hold",
        all - failed.len()
    );
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// Status 0: the connection ended before there was a head. So an answer ends whose body broke before any of it was sent.
async fn answer(request: &Request, to: SocketAddr) -> Response {
    match request.try_open(to).await {
        Ok(mut open) => {
            let body = open.rest().await;
            open.into_response(body)
        }
        Err(_) => Response {
            status: 0,
            headers: http::HeaderMap::new(),
            body: Vec::new(),
            complete: false,
        },
    }
}

/// Whatever the registry did to the first request, the second is not answered with it.
fn always(outcome: &Outcome) -> Result<(), String> {
    must(
        !outcome.second.text().contains("smuggled"),
        "the second request got what was left of the first",
    )?;
    for response in [&outcome.first, &outcome.second] {
        let both =
            response.header("content-length").is_some() && response.header("transfer-encoding").is_some();
        must(!both, "both framings")?;
    }
    Ok(())
}

fn right(outcome: &Outcome) -> Result<(), String> {
    must(
        outcome.first.status == 200 && outcome.first.complete && outcome.first.text() == JSON,
        "not the registry's answer",
    )?;
    must(outcome.second.text() == JSON, "the second is not right")
}

fn bad_gateway(outcome: &Outcome) -> Result<(), String> {
    must(outcome.first.status == 502, format!("{}", outcome.first.status))?;
    let connections: Vec<usize> = outcome.seen.iter().map(|seen| seen.connection).collect();
    let again = connections.iter().filter(|own| **own == connections[0]).count();
    must(again == 1, "the connection was used again")
}

fn incomplete(outcome: &Outcome) -> Result<(), String> {
    must(
        outcome.first.status >= 500 || !outcome.first.complete,
        "passed on as complete",
    )
}

fn framing() -> Vec<Case> {
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

fn passing() -> Vec<Case> {
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

fn connections() -> Vec<Case> {
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

fn requests() -> Vec<Case> {
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
