//! What counts as a whole answer.

use docxy::upstream::{Failure, Method, Right};
use http::header::{CONTENT_ENCODING, RANGE};
use http_body_util::BodyExt;

use super::stub::{Setup, Step, Stub, TAGS, ask, get, raw};

async fn serving(bytes: &'static str, close: bool) -> (Stub, docxy::upstream::Upstream) {
    let stub = Stub::start(move |_| {
        let mut steps = raw(bytes);
        if close {
            steps.push(Step::Close);
        }
        steps
    })
    .await;
    let upstream = Setup::at(&stub.url("")).build();
    (stub, upstream)
}

#[tokio::test]
async fn a_short_body_is_a_broken_one() {
    // A truncated layer must never look complete to a client.
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nshort",
    ] {
        let (_stub, upstream) = serving(bytes, true).await;
        let answer = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
        assert!(answer.length_known);
        let failure = answer.body.collect().await.unwrap_err();
        assert!(matches!(failure, Failure::Broken { .. }), "{bytes}: {failure:?}");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_marked() {
    // Without a length nobody can tell a cut from the end; the caller must be able to refuse such a blob.
    let (_stub, upstream) = serving("HTTP/1.1 200 OK\r\n\r\nwho knows", true).await;
    let answer = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    assert!(!answer.length_known);
    assert_eq!(answer.body.collect().await.unwrap().to_bytes(), "who knows");
}

#[tokio::test]
async fn an_encoded_answer_is_refused_but_an_encoded_error_keeps_its_status() {
    // The bytes are the digest: a gzipped manifest must not be passed on as if it were one (I9).
    let (_stub, upstream) = serving(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        false,
    )
    .await;
    let failure = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap_err();
    assert!(matches!(failure, Failure::BadAnswer { .. }), "{failure:?}");
    let (_stub, upstream) = serving(
        "HTTP/1.1 404 No\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        false,
    )
    .await;
    let answer = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    assert_eq!(answer.status, 404);
    assert!(!answer.headers.contains_key(CONTENT_ENCODING));
    assert!(answer.body.collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn garbage_and_giant_headers_are_bad_answers() {
    // An upstream that speaks something else must be named, and must not fill the memory.
    let (_stub, upstream) = serving("SSH-2.0-OpenSSH_9.9\r\n\r\n", false).await;
    let failure = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap_err();
    assert!(matches!(failure, Failure::BadAnswer { .. }), "{failure:?}");
    let stub = Stub::start(|_| {
        let value = "x".repeat(70_000);
        super::stub::answer(200, &[("x-large", &value)], "ok")
    })
    .await;
    let failure = Setup::at(&stub.url(""))
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap_err();
    assert!(matches!(failure, Failure::BadAnswer { .. }), "{failure:?}");
}

#[tokio::test]
async fn the_request_is_made_anew() {
    // Nothing of a client reaches the upstream but what the registry needs (S10, S12).
    let stub = Stub::start(|_| super::stub::answer(206, &[], "ok")).await;
    let mut question = ask(Method::Head, TAGS);
    question.query = Some("n=2&last=a%2Fb".to_owned());
    for (name, value) in [
        ("range", "bytes=1-2"),
        ("accept", "a/b"),
        ("if-none-match", "\"e\""),
        ("cookie", "CANARY"),
        ("authorization", "CANARY"),
        ("x-forwarded-for", "CANARY"),
        ("referer", "CANARY"),
        ("accept-encoding", "gzip"),
    ] {
        question.headers.append(name, value.parse().unwrap());
    }
    question.headers.append("accept", "c/d".parse().unwrap());
    let answer = Setup::at(&stub.url(""))
        .build()
        .send(&question, &Right::Anonymous)
        .await
        .unwrap();
    assert!(answer.anonymous && answer.length_known);
    let seen = &stub.seen()[0];
    assert_eq!(seen.method, "HEAD");
    assert_eq!(seen.target, format!("{TAGS}?n=2&last=a%2Fb"));
    assert_eq!(seen.header(RANGE.as_str()), Some("bytes=1-2"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert!(seen.header("user-agent").unwrap().starts_with("docxy/"));
    assert_eq!(
        seen.headers.iter().filter(|(name, _)| name == "accept").count(),
        2
    );
    assert!(!format!("{seen:?}").contains("CANARY"), "{seen:?}");
}
