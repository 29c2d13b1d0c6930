//! A client that keeps connections as Go's `http.Transport` does: a request on a connection that was used before and is
//! closed before the first byte of the answer is asked again, on another one; anything else that breaks is a loss.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::cache::support::REPOSITORY;
use crate::support::image::{OCI_INDEX, OCI_MANIFEST};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One connection, request after request.
    KeepAlive,
    /// A connection for each.
    Afresh,
    /// One HTTP/2 connection.
    Http2,
}

/// What came of a request.
#[derive(Debug)]
pub enum Got {
    Answer(u16, Bytes),
    /// As Go would have said it.
    Lost(String),
}

pub struct Visitor {
    to: SocketAddr,
    manner: Manner,
    connection: Option<Connection>,
    /// Requests that were asked again.
    pub again: usize,
}

enum Connection {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

impl Visitor {
    pub fn new(to: SocketAddr, manner: Manner) -> Self {
        Self {
            to,
            manner,
            connection: None,
            again: 0,
        }
    }

    pub async fn get(&mut self, path: &str) -> Got {
        loop {
            let kept = self.connection.take();
            let is_reused = kept.is_some();
            let mut connection = match kept {
                Some(kept) => kept,
                None => match self.connect().await {
                    Ok(made) => made,
                    Err(why) => return Got::Lost(format!("no connection: {why}")),
                },
            };
            let request = http::Request::get(format!("http://{}{path}", self.to))
                .header("Host", self.to.to_string())
                .header("Accept", format!("{OCI_MANIFEST}, {OCI_INDEX}"))
                .body(Empty::new())
                .unwrap();
            let answer = match &mut connection {
                Connection::One(sender) => match sender.ready().await {
                    Ok(()) => sender.send_request(request).await,
                    Err(error) => Err(error),
                },
                Connection::Two(sender) => match sender.ready().await {
                    Ok(()) => sender.send_request(request).await,
                    Err(error) => Err(error),
                },
            };
            match answer {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    return match answer.into_body().collect().await {
                        Ok(body) => {
                            if self.manner != Manner::Afresh {
                                self.connection = Some(connection);
                            }
                            Got::Answer(status, body.to_bytes())
                        }
                        Err(error) => Got::Lost(format!("a broken body: {error:?}")),
                    };
                }
                Err(_) if is_reused => {
                    self.again += 1;
                }
                Err(error) => return Got::Lost(format!("on a new connection: {error:?}")),
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let stream = TcpStream::connect(self.to)
            .await
            .map_err(|error| error.to_string())?;
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        if self.manner == Manner::Http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(|error| format!("{error:?}"))?;
            tokio::spawn(connection);
            return Ok(Connection::Two(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(|error| format!("{error:?}"))?;
        tokio::spawn(connection);
        Ok(Connection::One(sender))
    }
}

/// A manifest by this tag or digest.
pub fn manifest(reference: &str) -> String {
    format!("/v2/{REPOSITORY}/manifests/{reference}")
}
