//! What an operator asks over the socket and at `metrics_listen`.

mod browse;
mod configuration;
mod description;
mod figures;
mod guard;
mod listener;
pub mod metrics;
mod requests;
mod socket;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use self::metrics::Metrics;
use crate::cache::support::Cached;
use crate::support::{app::TestApp, within};

/// Where a test's docxy answers its operator.
pub fn socket(app: &TestApp) -> PathBuf {
    app.dir().join("state/docxy.sock")
}

/// One request, and the whole answer.
pub async fn ask(socket: &Path, method: &str, target: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("Host", "docxy")
        .body(Full::new(body.into()))
        .unwrap();
    within(&format!("the answer to {method} {target}"), async {
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    })
    .await
}

#[track_caller]
pub fn json(answer: &Response<Bytes>) -> Value {
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_slice(answer.body()).unwrap()
}

/// Its figures.
pub async fn scraped(docxy: &Cached) -> Metrics {
    let answer = ask(&socket(&docxy.app), "GET", "/metrics", "").await;
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    Metrics::parse(std::str::from_utf8(answer.body()).unwrap())
}
