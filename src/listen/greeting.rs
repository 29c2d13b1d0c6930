//! Before HTTP: what was connected to what, which protocol is spoken, and the TLS handshake.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{Accept, LazyConfigAcceptor, TlsAcceptor};

use super::activity::Activity;
use super::connection::{Connection, Door, Ended};
use super::detect::{self, Protocol, detect};
use super::handler::Service;
use super::proxy_protocol;
use super::rewind::Rewind;
use super::wire::{Line, Wire};
use crate::tls::Certificates;

/// How long a client that is being refused may take to read why.
const REFUSAL: Duration = Duration::from_secs(1);

impl<S: Service> Door<S> {
    /// The stages that the deadline for the first bytes covers, and the TLS handshake; `None` when the client left.
    pub(super) async fn greet(
        &self,
        mut stream: TcpStream,
        mut connection: Box<Connection>,
        activity: &Activity,
        silence: Instant,
    ) -> Result<Option<(Protocol, Line, Box<Connection>)>, Ended> {
        let beginning = tokio::select! {
            biased;
            beginning = timeout_at(silence, self.beginning(&mut stream, &mut connection)) =>
                beginning.map_err(|_| Ended::Silent)?,
            () = self.drain.hurried() => return Err(Ended::Drained),
            () = activity.shed() => return Err(Ended::Shed),
        };
        let Some((protocol, prefix)) = beginning? else {
            return Ok(None);
        };
        match (protocol, &self.tls) {
            (Protocol::Tls, Some(certificates)) => {
                let stream = Rewind::new(prefix, Wire::Socket(stream));
                let secured = if certificates.challenges().awaits_handshakes() {
                    Box::pin(self.handshake_or_challenge(stream, certificates, activity)).await?
                } else {
                    let tls = certificates.server_config();
                    Some(Box::pin(self.handshake(stream, tls, activity)).await?)
                };
                connection.secure = true;
                Ok(secured.map(|(protocol, stream)| (protocol, stream, connection)))
            }
            (Protocol::Tls, None) => {
                // docker 28's containerd store, podman and crane probe TLS first and fall back to HTTP only when the
                // answer looks like HTTP.
                refuse(&mut stream, "this port speaks plain HTTP, not TLS: use http://").await;
                Err(Ended::TlsOnPlain)
            }
            (_, Some(_)) => {
                refuse(&mut stream, "this port speaks TLS, not plain HTTP: use https://").await;
                Err(Ended::PlainOnTls)
            }
            (_, None) => {
                let stream = Box::new(Rewind::new(prefix, Wire::Socket(stream)));
                Ok(Some((protocol, stream, connection)))
            }
        }
    }

    /// Reads the PROXY header, where one is required, and enough of what follows to tell the protocol; `None` when the
    /// client left.
    async fn beginning(
        &self,
        stream: &mut TcpStream,
        connection: &mut Connection,
    ) -> Result<Option<(Protocol, Bytes)>, Ended> {
        let mut bytes = BytesMut::new();
        if self.proxy_protocol {
            let peer = connection.peer;
            if !self
                .config
                .trusted_proxies
                .iter()
                .any(|network| network.contains(&peer.ip()))
            {
                return Err(Ended::Untrusted { peer });
            }
            let (addresses, rest) = proxy_protocol::read(stream).await?;
            if let Some(ends) = addresses {
                connection.peer = ends.peer;
                connection.local = ends.local;
            }
            bytes.extend_from_slice(&rest);
        }
        loop {
            if let Some(protocol) = detect(&bytes) {
                return Ok(Some((protocol, bytes.freeze())));
            }
            bytes.reserve(detect::ENOUGH);
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        }
    }

    pub(super) async fn handshake(
        &self,
        stream: Rewind<Wire>,
        tls: Arc<ServerConfig>,
        activity: &Activity,
    ) -> Result<(Protocol, Line), Ended> {
        self.accept(TlsAcceptor::from(tls).accept(stream), activity).await
    }

    /// While an authority may come to see whether a name leads here: it is shown what it was promised, and nothing else
    /// (RFC 8737, section 3); everybody else has the usual handshake.
    async fn handshake_or_challenge(
        &self,
        stream: Rewind<Wire>,
        certificates: &Certificates,
        activity: &Activity,
    ) -> Result<Option<(Protocol, Line)>, Ended> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let begun = tokio::select! {
            begun = timeout(self.config.handshake_timeout, hello) =>
                begun.map_err(|_| Ended::SlowHandshake)?.map_err(Ended::of_handshake)?,
            () = activity.shed() => return Err(Ended::Shed),
        };
        let challenge = certificates.challenges().handshake(&begun.client_hello());
        let Some(challenge) = challenge else {
            let accept = begun.into_stream(certificates.server_config());
            return self.accept(accept, activity).await.map(Some);
        };
        let shown = async {
            let mut stream = begun.into_stream(challenge).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
        };
        // It has seen what it came for, or it comes again.
        let _ = timeout(self.config.handshake_timeout, shown).await;
        Ok(None)
    }

    async fn accept(
        &self,
        accept: Accept<Rewind<Wire>>,
        activity: &Activity,
    ) -> Result<(Protocol, Line), Ended> {
        let accepted = tokio::select! {
            accepted = timeout(self.config.handshake_timeout, accept.into_fallible()) =>
                accepted.map_err(|_| Ended::SlowHandshake)?,
            () = activity.shed() => return Err(Ended::Shed),
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err((error, mut stream)) => {
                let ended = Ended::of_handshake(error);
                if matches!(ended, Ended::Uncertified(_)) {
                    // It was told why; closing with its request unread would be a reset, which it might see first.
                    let heard = async {
                        stream.shutdown().await?;
                        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
                    };
                    let _ = timeout(REFUSAL, heard).await;
                }
                return Err(ended);
            }
        };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let stream = Rewind::new(Bytes::new(), Wire::Tls(Box::new(stream)));
        Ok((protocol, Box::new(stream)))
    }
}

/// Tells a client in HTTP/1 words why it is at the wrong port, and gives it a moment to read them.
async fn refuse(stream: &mut TcpStream, reason: &str) {
    let length = reason.len() + 1;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{reason}\n"
    );
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // What is still unread would turn the close into a reset, which can overtake the answer.
        tokio::io::copy(stream, &mut tokio::io::sink()).await
    };
    // Whether the client heard it or not, there is nothing more to say.
    let _ = timeout(REFUSAL, said).await;
}
