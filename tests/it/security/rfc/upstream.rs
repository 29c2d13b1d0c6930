//! The other side: docxy as the client of a registry, and as the gateway that passes its answers on.

mod cases;

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
    let mut cases = cases::framing();
    cases.extend(cases::passing());
    cases.extend(cases::connections());
    cases.extend(cases::requests());
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
