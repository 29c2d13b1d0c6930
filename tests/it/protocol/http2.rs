//! What a broken pull looks like over HTTP/2.

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{
    single::Single,
    stub::{Fault, On},
    within,
};

#[tokio::test]
async fn a_body_that_breaks_is_reset_and_never_ended() {
    // Over HTTP/1 the connection closes early; here only a stream error can say it, and END_STREAM would be a lie.
    let one = Single::sound().await;
    let (blob, path) = one.layer();
    one.stub.fault(On::get("*/blobs/*"), Fault::CutAt(1000));
    let stream = tokio::net::TcpStream::connect(one.app.addr()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}{path}", one.app.addr()))
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = within("the head", sender.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-length"], blob.bytes.len().to_string());
    let broken = within("the body", answer.into_body().collect()).await;
    let error = broken.expect_err("a body that was cut looked whole");
    let reset = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(reset.contains("stream error"), "{error}: {reset}");
    // The connection is as good as before.
    one.stub.clear_faults();
    let request = http::Request::get(format!("http://{}{path}", one.app.addr()))
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = within("the head", sender.send_request(request)).await.unwrap();
    let body = within("the body", answer.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), blob.bytes);
}
