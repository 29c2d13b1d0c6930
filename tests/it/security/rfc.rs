//! S10: what RFC 9110 and RFC 9112 say that a server, a gateway and its client MUST do, on raw sockets. Each case names the
//! section and says the sentence in short; where one sentence has several vectors, each is a case. Which sentences do not
//! apply (no proxy for arbitrary hosts, no upgrade, no partial PUT, nothing a user agent does) is left out, not counted.

mod conditions;
mod content;
mod framing;
mod heads;
mod upstream;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cache::support::{Cached, TAG, image_of};
use crate::support::within;

/// Comes after every case's bytes: whether it is answered tells where docxy thinks that the case's request ends.
const LAST: &str = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

struct Case {
    rule: &'static str,
    wire: Vec<u8>,
    check: Check,
}

enum Check {
    /// One answer of these, and the connection is closed without looking at the rest.
    Refused(&'static [u16]),
    /// Exactly these, in this order, the last request's among them.
    Answers(&'static [u16]),
    Holds(fn(&Heard) -> Result<(), String>),
}

use Check::{Answers, Holds, Refused};

fn case(rule: &'static str, wire: impl Into<Vec<u8>>, check: Check) -> Case {
    Case {
        rule,
        wire: wire.into(),
        check,
    }
}

/// Everything that came until docxy closed.
#[derive(Debug)]
struct Heard {
    answers: Vec<Answer>,
    /// What was no answer: it must be nothing.
    rest: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    line: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Heard {
    fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).collect()
    }

    fn first(&self) -> Result<&Answer, String> {
        self.answers.first().ok_or_else(|| "no answer".to_owned())
    }
}

/// What is there to be asked for.
struct Place {
    blob: String,
    etag: String,
    length: usize,
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n")
}

fn head(path: &str, headers: &str) -> String {
    get(path, headers).replacen("GET", "HEAD", 1)
}

fn must(holds: bool, what: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}

#[tokio::test]
async fn what_a_server_must_do_with_bytes_on_the_wire() {
    // Two programs that read one stream of bytes differently are how requests are smuggled past the first of them (S10).
    let docxy = Cached::of(image_of(91, &[5000]), "").await;
    docxy.warm().await;
    let (layer, blob) = docxy.layer();
    let place = Place {
        etag: format!("\"{}\"", layer.digest),
        length: layer.bytes.len(),
        blob,
    };
    let mut cases = heads::cases(&place);
    cases.extend(framing::cases(&place));
    cases.extend(content::cases(&place));
    cases.extend(conditions::cases(&place));
    let all = cases.len();
    let mut failed = Vec::new();
    for case in cases {
        let heard = talk(docxy.app.addr(), &case.wire).await;
        if let Err(why) = always(&heard).and_then(|()| judge(&case.check, &heard)) {
            failed.push(format!(
                "{}: {why}\n  sent {:?}\n  heard {:?}",
                case.rule,
                String::from_utf8_lossy(&case.wire),
                heard
                    .answers
                    .iter()
                    .map(|a| (&a.line, &a.headers))
                    .collect::<Vec<_>>(),
            ));
        }
    }
    let strange: Vec<String> = docxy
        .stub
        .requests()
        .iter()
        .filter(|seen| seen.path.contains("smuggled"))
        .map(ToString::to_string)
        .collect();
    println!(
        "S10: {} of {all} MUST cases of RFC 9110 and 9112 for a server and gateway hold, {} smuggled requests upstream",
        all - failed.len(),
        strange.len()
    );
    assert!(strange.is_empty(), "{}", strange.join("\n"));
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// Says it, and listens until docxy closes.
async fn talk(to: std::net::SocketAddr, wire: &[u8]) -> Heard {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    // A refusal may close while the rest is still being written.
    let _ = stream.write_all(&[wire, LAST.as_bytes()].concat()).await;
    let mut raw = Vec::new();
    let what = format!("the end after {:?}", String::from_utf8_lossy(wire));
    let _ = within(&what, stream.read_to_end(&mut raw)).await;
    let mut heads = String::from_utf8_lossy(wire)
        .split("\r\n")
        .map(|line| line.starts_with("HEAD "))
        .next()
        .unwrap_or(false);
    let mut heard = Heard {
        answers: Vec::new(),
        rest: Vec::new(),
    };
    let mut rest = raw.as_slice();
    while let Some((answer, more)) = take(rest, std::mem::take(&mut heads)) {
        heard.answers.push(answer);
        rest = more;
    }
    heard.rest = rest.to_vec();
    heard
}

/// The first answer of these bytes, and what follows it. Interim answers are answers.
fn take(raw: &[u8], to_head: bool) -> Option<(Answer, &[u8])> {
    let end = raw.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&raw[..end - 4]).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next()?.to_owned();
    let status = line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut answer = Answer {
        line,
        status,
        headers,
        body: Vec::new(),
    };
    let mut rest = &raw[end..];
    if to_head || status < 200 || matches!(status, 204 | 304) {
        return Some((answer, rest));
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let line = rest.windows(2).position(|part| part == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
            answer
                .body
                .extend_from_slice(rest.get(line + 2..line + 2 + size)?);
            rest = rest.get(line + 4 + size..)?;
            if size == 0 {
                return Some((answer, rest));
            }
        }
    }
    let length = match answer.header("content-length") {
        Some(length) => length.parse().ok()?,
        None => rest.len(),
    };
    answer.body = rest.get(..length)?.to_vec();
    rest = &rest[length..];
    Some((answer, rest))
}

/// What every answer must be, whatever was asked.
fn always(heard: &Heard) -> Result<(), String> {
    must(
        heard.rest.is_empty(),
        format!("no answer: {:?}", String::from_utf8_lossy(&heard.rest)),
    )?;
    for answer in &heard.answers {
        let (status, line) = (answer.status, &answer.line);
        must(
            line.len() > 12 && line.starts_with("HTTP/1.") && line.as_bytes()[12] == b' ',
            format!("9112 4: the space after the status code: {line:?}"),
        )?;
        let both = answer.header("content-length").is_some() && answer.header("transfer-encoding").is_some();
        must(!both, "9112 6.2: both Content-Length and Transfer-Encoding")?;
        // An answer to what could not be read comes before any clock is asked; hyper adds the date all the same.
        must(
            !(200..500).contains(&status) || answer.header("date").is_some(),
            format!("9110 6.6.1: no Date in {status}"),
        )?;
        must(
            status != 401 || answer.header("www-authenticate").is_some(),
            "9110 15.5.2: 401 without a challenge",
        )?;
        must(
            status != 405 || answer.header("allow").is_some(),
            "9110 15.5.6: 405 without Allow",
        )?;
        must(
            !(status < 200 || status == 204) || answer.header("content-length").is_none(),
            format!("9110 8.6: Content-Length in {status}"),
        )?;
        must(
            status != 206
                || answer.header("content-range").is_some()
                || answer
                    .header("content-type")
                    .is_some_and(|kind| kind.starts_with("multipart/byteranges")),
            "9110 15.3.7.1: 206 without Content-Range",
        )?;
    }
    Ok(())
}

fn judge(check: &Check, heard: &Heard) -> Result<(), String> {
    let statuses = heard.statuses();
    match check {
        Refused(codes) => must(
            statuses.len() == 1 && codes.contains(&statuses[0]),
            format!("expected one of {codes:?} and the end, got {statuses:?}"),
        ),
        Answers(expected) => must(
            statuses == *expected,
            format!("expected {expected:?}, got {statuses:?}"),
        ),
        Holds(holds) => holds(heard),
    }
}
