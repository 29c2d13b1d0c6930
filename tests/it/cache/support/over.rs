//! The same request over HTTP/1 and HTTP/2, and what came of it before it broke.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{
    client::{Request, Response},
    within,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Http1,
    Http2,
}

impl Over {
    /// GET; the status is 0 where not even a head came.
    pub async fn get(self, to: SocketAddr, path: &str, range: Option<&str>) -> Response {
        let answer = match self {
            Self::Http1 => within(&format!("GET {path}"), http1(to, path, range)).await,
            Self::Http2 => within(&format!("GET {path} over HTTP/2"), http2(to, path, range)).await,
        };
        answer.unwrap_or_else(|| Response {
            status: 0,
            headers: http::HeaderMap::new(),
            body: Vec::new(),
            complete: false,
        })
    }
}

async fn http1(to: SocketAddr, path: &str, range: Option<&str>) -> Option<Response> {
    let mut request = Request::get(path);
    if let Some(range) = range {
        request = request.header("Range", range);
    }
    let mut open = request.try_open(to).await.ok()?;
    let body = open.rest().await;
    Some(open.into_response(body))
}

async fn http2(to: SocketAddr, path: &str, range: Option<&str>) -> Option<Response> {
    let stream = TcpStream::connect(to).await.ok()?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .ok()?;
    tokio::spawn(connection);
    let mut request = http::Request::get(format!("http://{to}{path}"));
    if let Some(range) = range {
        request = request.header("Range", range);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let answer = sender.send_request(request).await.ok()?;
    let (head, mut incoming) = answer.into_parts();
    let (mut body, mut complete) = (Vec::new(), true);
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => complete = false,
        }
        if !complete {
            break;
        }
    }
    Some(Response {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        complete,
    })
}
