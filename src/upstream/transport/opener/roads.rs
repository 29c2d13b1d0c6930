//! Through an outbound proxy: by CONNECT or by SOCKS, which hyper-util speaks.

use std::error::Error;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{Service, ServiceExt, service_fn};

use crate::upstream::transport::proxy::Proxy;
use crate::upstream::transport::resolver::Resolver;

/// A connection to `authority` (`HOST:PORT`) through this proxy, or why there is none. `names` finds the proxy itself:
/// whoever configures one means its address.
pub(super) async fn through(proxy: &Proxy, names: &Resolver, authority: &str) -> Result<TcpStream, String> {
    if proxy.is_encrypted() {
        return Err("an https:// proxy carries requests to registries only; list an http:// or socks5:// one beside it".into());
    }
    let (host, port) = proxy.address();
    let at = uri(&format!("http://{host}:{port}"))?;
    let to = uri(&format!("https://{authority}"))?;
    let names = names.clone();
    let dial = service_fn(move |_: Uri| {
        let (names, host) = (names.clone(), host.to_string());
        async move {
            let found = names.addresses(&host).await.map_err(io::Error::other)?;
            let targets: Vec<_> = found.into_iter().map(|address| (address, port).into()).collect();
            TcpStream::connect(&targets[..]).await.map(TokioIo::new)
        }
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if proxy.is_socks() {
        let mut socks = SocksV5::new(at, dial);
        if let Some(credential) = proxy.credential() {
            socks = socks.with_auth(credential.username.clone(), text(credential.password.expose()));
        }
        return led(socks, to).await;
    }
    let mut tunnel = Tunnel::new(at, dial);
    if let Some(credential) = proxy.credential() {
        let both = [credential.username.as_bytes(), b":", credential.password.expose()].concat();
        let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(both)));
        tunnel = tunnel.with_auth(basic.map_err(|error| error.to_string())?);
    }
    led(tunnel, to).await
}

async fn led<S>(road: S, to: Uri) -> Result<TcpStream, String>
where
    S: Service<Uri, Response = TokioIo<TcpStream>, Error: Error>,
{
    let led = road.oneshot(to).await;
    led.map(TokioIo::into_inner).map_err(|error| chain(&error))
}

fn uri(text: &str) -> Result<Uri, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// With its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
