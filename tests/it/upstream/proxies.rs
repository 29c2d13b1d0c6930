//! Outbound proxies (T5): every kind, with authentication, and what they may be asked for.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use docxy::upstream::failure::Cause;
use docxy::upstream::transport::proxy::{Environment, NoProxy, Proxy, ProxyConfig};
use docxy::upstream::{Failure, Right};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::stub::{Setup, Stub, TAGS, answer, get, read_request};
use super::tls;

/// A proxy for HTTP, CONNECT and SOCKS5 on one port that leads everything to one place and writes down what it was asked.
pub struct Outer {
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Outer {
    pub async fn start(target: SocketAddr) -> Self {
        Self::refusing(target, None).await
    }

    async fn refusing(target: SocketAddr, refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outer = Self {
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
        };
        let log = outer.log.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut first = [0; 1];
                    client.peek(&mut first).await.ok()?;
                    if first[0] == 5 {
                        socks(client, target, &log).await
                    } else {
                        http(client, target, &log, refusal).await
                    }
                });
            }
        });
        outer
    }

    /// A proxy that is itself spoken to over TLS.
    async fn over_tls(target: SocketAddr, tls: rustls::ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outer = Self {
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
        };
        let (log, tls) = (outer.log.clone(), tokio_rustls::TlsAcceptor::from(Arc::new(tls)));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (log, tls) = (log.clone(), tls.clone());
                tokio::spawn(async move { http(tls.accept(client).await.ok()?, target, &log, None).await });
            }
        });
        outer
    }

    /// `userinfo` is empty or ends with an @.
    pub fn config(&self, scheme: &str, userinfo: &str) -> ProxyConfig {
        ProxyConfig::only(self.proxy(scheme, userinfo))
    }

    fn proxy(&self, scheme: &str, userinfo: &str) -> Proxy {
        Proxy::parse(&format!("{scheme}://{userinfo}{}", self.address)).unwrap()
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    target: SocketAddr,
    log: &Mutex<Vec<String>>,
    refusal: Option<&str>,
) -> Option<()> {
    let mut buffer = Vec::new();
    let request = read_request(&mut client, &mut buffer).await?;
    let authorization = request.header("proxy-authorization").unwrap_or("-");
    log.lock()
        .unwrap()
        .push(format!("{} {} {authorization}", request.method, request.target));
    if let Some(refusal) = refusal {
        client.write_all(refusal.as_bytes()).await.ok()?;
        return None;
    }
    let mut upstream = TcpStream::connect(target).await.ok()?;
    if request.method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    } else {
        let (_, rest) = request.target.split_once("://")?;
        let path = &rest[rest.find('/')?..];
        let mut head = format!("{} {path} HTTP/1.1\r\nconnection: close\r\n", request.method);
        for (name, value) in request
            .headers
            .iter()
            .filter(|(name, _)| name != "proxy-authorization")
        {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        upstream.write_all(format!("{head}\r\n").as_bytes()).await.ok()?;
    }
    tokio::io::copy_bidirectional(&mut client, &mut upstream)
        .await
        .ok()?;
    Some(())
}

/// RFC 1928 and RFC 1929, the happy path.
async fn socks(mut client: TcpStream, target: SocketAddr, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut two = [0; 2];
    client.read_exact(&mut two).await.ok()?;
    let mut methods = vec![0; two[1].into()];
    client.read_exact(&mut methods).await.ok()?;
    let mut who = "-".to_owned();
    if methods.contains(&2) {
        client.write_all(&[5, 2]).await.ok()?;
        client.read_u8().await.ok()?;
        let mut parts = Vec::new();
        for _ in 0..2 {
            let mut part = vec![0; client.read_u8().await.ok()?.into()];
            client.read_exact(&mut part).await.ok()?;
            parts.push(String::from_utf8(part).ok()?);
        }
        who = parts.join(":");
        client.write_all(&[1, 0]).await.ok()?;
    } else {
        client.write_all(&[5, 0]).await.ok()?;
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await.ok()?;
    let length = match request[3] {
        1 => 4,
        3 => client.read_u8().await.ok()?.into(),
        _ => 16,
    };
    let mut host = vec![0; length];
    client.read_exact(&mut host).await.ok()?;
    client.read_u16().await.ok()?;
    let host = if request[3] == 3 {
        String::from_utf8(host).ok()?
    } else {
        format!("{host:?}")
    };
    log.lock().unwrap().push(format!("{host} {who}"));
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    let mut upstream = TcpStream::connect(target).await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream)
        .await
        .ok()?;
    Some(())
}

async fn registry() -> Stub {
    Stub::start(|_| answer(200, &[], "ok")).await
}

/// An upstream whose name looks public.
fn public(mut setup: Setup) -> Setup {
    setup.transport.allow_private = false;
    for name in ["public.test", "cdn.test"] {
        setup
            .transport
            .static_hosts
            .insert(name.to_owned(), vec!["8.8.8.8".parse().unwrap()]);
    }
    setup
}

async fn status(setup: Setup) -> Result<u16, Failure> {
    let answer = setup.build().send(&get(TAGS), &Right::Anonymous).await?;
    Ok(answer.status.as_u16())
}

#[tokio::test]
async fn an_http_proxy_gets_its_password_and_the_registry_does_not() {
    // Companies let nothing out but through a proxy that wants a password, and that password is not the registry's.
    let registry = registry().await;
    let outer = Outer::start(registry.address).await;
    let mut setup = public(Setup::at("http://public.test"));
    setup.transport.proxy = Some(outer.config("http", "us%40er:p%3Ass@"));
    assert_eq!(status(setup).await.unwrap(), 200);
    // us@er:p:ss
    assert_eq!(
        outer.log(),
        [format!("GET http://public.test{TAGS} Basic dXNAZXI6cDpzcw==")]
    );
    let seen = &registry.seen()[0];
    assert!(seen.header("proxy-authorization").is_none(), "{seen:?}");
    assert_eq!(seen.header("host"), Some("public.test"));
}

#[tokio::test]
async fn https_goes_through_connect_and_is_verified_behind_it() {
    // The proxy must not be able to read a pull.
    let authority = tls::Authority::new("ours");
    let registry = Stub::start_tls(authority.server("public.test"), |_| answer(200, &[], "ok")).await;
    let outer = Outer::start(registry.address).await;
    let setup = |authorities: &[&tls::Authority]| {
        let mut setup = public(Setup::at("https://public.test"));
        setup.transport.proxy = Some(outer.config("http", "u:p@"));
        setup.transport.tls = tls::trusting(authorities);
        setup
    };
    assert_eq!(status(setup(&[&authority])).await.unwrap(), 200);
    assert_eq!(outer.log(), ["CONNECT public.test:443 Basic dTpw"]);
    let failure = status(setup(&[])).await.unwrap_err();
    assert!(
        matches!(
            &failure,
            Failure::Unreachable {
                cause: Cause::Tls(_),
                ..
            }
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_proxy_over_tls_is_verified_like_any_server() {
    // The proxy's password must not be readable on the way to it, nor be given to an impostor.
    let authority = tls::Authority::new("ours");
    let registry = Stub::start_tls(authority.server("public.test"), |_| answer(200, &[], "ok")).await;
    let outer = Outer::over_tls(registry.address, authority.server("127.0.0.1")).await;
    let setup = |authorities: &[&tls::Authority]| {
        let mut setup = public(Setup::at("https://public.test"));
        setup.transport.proxy = Some(outer.config("https", "u:p@"));
        setup.transport.tls = tls::trusting(authorities);
        setup
    };
    assert_eq!(status(setup(&[&authority])).await.unwrap(), 200);
    assert!(status(setup(&[])).await.is_err());
    assert_eq!(outer.log(), ["CONNECT public.test:443 Basic dTpw"]);
}

#[tokio::test]
async fn socks5_gets_an_address_and_socks5h_a_name() {
    // The two schemes differ in who resolves; both take a password.
    let registry = registry().await;
    let outer = Outer::start(registry.address).await;
    for scheme in ["socks5", "socks5h"] {
        let mut setup = public(Setup::at("http://public.test"));
        setup.transport.proxy = Some(outer.config(scheme, "me:secret@"));
        assert_eq!(status(setup).await.unwrap(), 200);
    }
    let mut setup = public(Setup::at("http://public.test"));
    setup.transport.proxy = Some(ProxyConfig::only(outer.proxy("socks5", "").with_remote_dns(true)));
    assert_eq!(status(setup).await.unwrap(), 200);
    assert_eq!(
        outer.log(),
        ["[8, 8, 8, 8] me:secret", "public.test me:secret", "public.test -"]
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    // The message must send the operator to the proxy, not to the registry, and must not print the password.
    let registry = registry().await;
    for (refusal, expected) in [
        (
            "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",
            "authorization required",
        ),
        ("HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", "unsuccessful"),
    ] {
        let outer = Outer::refusing(registry.address, Some(refusal)).await;
        let mut setup = public(Setup::at("https://public.test"));
        setup.transport.proxy = Some(outer.config("http", "u:CANARY@"));
        let failure = status(setup).await.unwrap_err();
        let message = failure.to_string();
        assert!(
            matches!(
                &failure,
                Failure::Unreachable {
                    cause: Cause::Proxy { .. },
                    ..
                }
            ),
            "{failure:?}"
        );
        assert!(
            message.contains(expected) && message.contains(&outer.address.to_string()),
            "{message}"
        );
        assert!(!format!("{failure:?}{message}").contains("CANARY"));
    }
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for scheme in ["http", "socks5", "socks5h"] {
        let mut setup = public(Setup::at("https://public.test"));
        setup.transport.proxy = Some(ProxyConfig::only(
            Proxy::parse(&format!("{scheme}://u:CANARY@{gone}")).unwrap(),
        ));
        let failure = status(setup).await.unwrap_err();
        assert!(
            matches!(
                &failure,
                Failure::Unreachable {
                    cause: Cause::Proxy { .. },
                    ..
                }
            ),
            "{scheme} {failure:?}"
        );
        assert!(!format!("{failure:?}{failure}").contains("CANARY"));
    }
}

#[tokio::test]
async fn no_proxy_and_loopback_go_directly() {
    // A registry in the company's network, or on the developer's machine, is not behind the outer proxy.
    let registry = registry().await;
    let outer = Outer::start(registry.address).await;
    let environment = |no_proxy: &str| {
        ProxyConfig::Environment(Box::new(Environment {
            http: Some(outer.proxy("http", "")),
            https: None,
            all: None,
            no_proxy: NoProxy::parse(no_proxy),
        }))
    };
    let mut own = Setup::at(&registry.url(""));
    own.transport.proxy = Some(environment(""));
    assert_eq!(status(own).await.unwrap(), 200);
    let mut inner = Setup::at(&registry.url_at("registry.test", ""));
    inner.transport.proxy = Some(environment(".test"));
    assert_eq!(status(inner).await.unwrap(), 200);
    assert_eq!(outer.log().len(), 0);
    let mut other = Setup::at(&registry.url_at("registry.test", ""));
    other.transport.proxy = Some(environment(""));
    assert_eq!(status(other).await.unwrap(), 200);
    assert_eq!(outer.log().len(), 1);
}

#[tokio::test]
async fn a_private_name_is_not_sent_to_a_proxy() {
    // A proxy inside the company reaches what docxy must not reach: names are checked before they are sent (S2).
    let registry = registry().await;
    let outer = Outer::start(registry.address).await;
    for scheme in ["http", "socks5", "socks5h"] {
        let mut setup = public(Setup::at("http://inner.test"));
        setup
            .transport
            .static_hosts
            .insert("inner.test".to_owned(), vec!["10.0.0.9".parse().unwrap()]);
        setup.transport.proxy = Some(outer.config(scheme, ""));
        let failure = status(setup).await.unwrap_err();
        assert!(
            matches!(failure, Failure::AddressRefused { .. }),
            "{scheme}: {failure:?}"
        );
    }
    assert_eq!(outer.log().len(), 0);
}

#[tokio::test]
async fn remote_dns_sends_only_what_was_configured_and_https_redirects() {
    // Where names resolve only at the proxy, docxy can't check them: a plain redirect could lead anywhere inside (S2).
    for (location, expected) in [
        ("http://cdn.test/blob", 1),
        ("https://cdn.test/blob", 2),
        ("http://10.0.0.1/", 1),
    ] {
        let registry = Stub::start(move |_| answer(307, &[("Location", location)], "")).await;
        let outer = Outer::start(registry.address).await;
        let mut setup = public(Setup::at("http://unresolvable.test"));
        setup.transport.proxy = Some(ProxyConfig::only(outer.proxy("http", "").with_remote_dns(true)));
        // Behind the tunnel waits a stub that speaks no TLS.
        setup.transport.timeouts.connect = std::time::Duration::from_millis(300);
        let failure = status(setup).await.unwrap_err();
        assert_eq!(
            outer.log().len(),
            expected,
            "{location}: {:?} {failure:?}",
            outer.log()
        );
    }
}

#[tokio::test]
async fn the_proxys_own_address_is_exempt_but_only_as_the_proxy() {
    // Proxies live in the inner network; being one does not make a host a registry or a storage.
    let registry = registry().await;
    let outer = Outer::start(registry.address).await;
    let at = |url: &str| {
        let mut setup = public(Setup::at(url));
        setup
            .transport
            .static_hosts
            .insert("proxy.test".to_owned(), vec!["127.0.0.1".parse().unwrap()]);
        setup.transport.proxy = Some(ProxyConfig::only(
            Proxy::parse(&format!("socks5://proxy.test:{}", outer.address.port())).unwrap(),
        ));
        setup
    };
    assert_eq!(status(at("http://public.test")).await.unwrap(), 200);
    let failure = status(at("http://proxy.test")).await.unwrap_err();
    assert!(matches!(failure, Failure::AddressRefused { .. }), "{failure:?}");
    assert_eq!(outer.log().len(), 1);
}
