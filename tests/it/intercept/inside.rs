//! Host = SNI = the target of CONNECT (S3), in both versions of HTTP.

use std::sync::Arc;

use http::Request;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::world::{BASIC, OPEN, REDIS, TRUSTING, World, intercepting};
use crate::support::{
    ca::TestCa,
    client::Request as Raw,
    image::Image,
    stub::StubRegistry,
    through::{Http, Proxy, secured},
};

#[tokio::test]
async fn a_request_inside_is_for_the_tunnels_host_or_for_nobody() {
    // A tunnel that was granted for one registry must not become a way to another's answers, or to docxy's own (S3).
    let world = World::start("trusted_proxies = [\"127.0.0.0/8\"]\n").await;
    let redis = world.open.image("library/redis", "7").root;
    let (mut same, mut others) = (0, 0);
    for host in [
        "open.test",
        "OPEN.test",
        "open.test:443",
        "open.test.",
        "Open.Test.:443",
    ] {
        let mut one = world.proxy.http1(OPEN).await;
        one.get(host, REDIS).await.assert_is(&redis, &world.open);
        let mut two = world.proxy.http2(OPEN).await;
        two.get(host, REDIS).await.assert_is(&redis, &world.open);
        same += 2;
    }
    let port = world.app.addr().port();
    let elsewhere = [
        "hub.test".to_owned(),
        "basic.test".to_owned(),
        "auth.hub.test".to_owned(),
        "open.test:8443".to_owned(),
        "open.test:80".to_owned(),
        "open.test.evil.test".to_owned(),
        "xopen.test".to_owned(),
        "test".to_owned(),
        "docker.io".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
        "localhost".to_owned(),
        format!("127.0.0.1:{port}"),
    ];
    let mut one = world.proxy.http1(OPEN).await;
    let mut two = world.proxy.http2(OPEN).await;
    for host in &elsewhere {
        for path in [
            REDIS,
            "/v2/",
            "/ca.crt",
            "/livez",
            "/token?scope=repository:a/b:pull&service=x",
        ] {
            for http in [&mut one, &mut two] {
                let answer = http.get(host, path).await;
                assert_eq!(answer.status, 421, "{host}{path}: {}", answer.everything());
                answer.oci_error();
                others += 1;
            }
        }
        // The absolute form counts, and not what stands beside it (RFC 9112 section 3.2.2).
        let request = Request::get(format!("https://{host}{REDIS}")).header("host", "open.test");
        assert_eq!(one.send(request).await.unwrap().status, 421, "{host}");
        let request = Request::get(REDIS)
            .header("host", "open.test")
            .header("x-forwarded-host", host)
            .header("forwarded", format!("host={host}"));
        one.send(request).await.unwrap().assert_is(&redis, &world.open);
        let request = Request::get(REDIS)
            .header("host", host)
            .header("x-forwarded-host", "open.test");
        assert_eq!(one.send(request).await.unwrap().status, 421, "{host}");
        let request = Request::get(format!("https://open.test{REDIS}")).header("host", host);
        let answer = two.send(request).await.unwrap();
        assert_eq!(answer.status, 400, "two hosts in HTTP/2: {}", answer.everything());
        others += 3;
    }
    let request = Request::get(format!("https://open.test{REDIS}")).header("host", "hub.test");
    one.send(request).await.unwrap().assert_is(&redis, &world.open);
    let empty = one.send(Request::get(REDIS).header("host", "")).await.unwrap();
    assert_eq!(empty.status, 421, "{}", empty.everything());
    for stub in [&world.hub, &world.basic] {
        assert_eq!(stub.requests().len(), 0, "{}", stub.story());
    }
    println!(
        "S3 inside a tunnel: {same} of the same host served, {others} of other hosts refused, 0 requests elsewhere"
    );
}

#[tokio::test]
async fn the_handshake_names_the_tunnels_host() {
    // A client that says one name to the proxy and another in TLS is confused or hostile: it gets nothing either way.
    let world = World::start("").await;
    let blind = |sni: bool, protocols: &[&str]| {
        let mut config = Blind::client();
        config.enable_sni = sni;
        config.alpn_protocols = protocols.iter().map(|&name| name.into()).collect();
        Arc::new(config)
    };
    let mut refused = 0;
    for (name, sni) in [
        ("basic.test", true),
        ("hub.test", true),
        ("open.test.evil.test", true),
        ("auth.hub.test", true),
        ("open.test", false),
    ] {
        for host in ["open.test", name] {
            let tunnel = world.proxy.tunnel(OPEN).await;
            let mut one = Http::one(secured(tunnel, &blind(sni, &["http/1.1"]), name).await).await;
            let tunnel = world.proxy.tunnel(OPEN).await;
            let mut two = Http::two(secured(tunnel, &blind(sni, &["h2"]), name).await).await;
            for http in [&mut one, &mut two] {
                for path in [REDIS, "/v2/", "/ca.crt"] {
                    let answer = http.get(host, path).await;
                    assert_eq!(answer.status, 421, "{name}, {host}: {}", answer.everything());
                    let (_, message) = answer.oci_error();
                    assert!(message.contains("handshake"), "{message}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(world.open.requests().len(), 0, "{}", world.open.story());
    println!("S3 inside a tunnel: {refused} requests below another SNI, or none, refused");
}

#[tokio::test]
async fn an_address_needs_no_name_in_the_handshake() {
    // A registry that is configured by its address: SNI has no addresses (RFC 6066 section 3), so clients send none.
    let ca = Arc::new(TestCa::new());
    let stub = StubRegistry::builder()
        .tls(&ca)
        .on("127.0.0.3")
        .image("library/redis", "7", Image::layers(1))
        .start()
        .await;
    let name = stub.addr().to_string();
    let app = intercepting(&ca)
        .registry_with(&name, &stub, TRUSTING)
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    let redis = stub.image("library/redis", "7").root;
    proxy
        .http1(&name)
        .await
        .get(&name, REDIS)
        .await
        .assert_is(&redis, &stub);
    proxy
        .http2(&name)
        .await
        .get(&name, REDIS)
        .await
        .assert_is(&redis, &stub);
    let mut config = Blind::client();
    config.alpn_protocols = vec!["http/1.1".into()];
    let other = secured(proxy.tunnel(&name).await, &Arc::new(config), "hub.test").await;
    let answer = Http::one(other).await.get(&name, REDIS).await;
    assert_eq!(answer.status, 421, "{}", answer.everything());
}

#[tokio::test]
async fn a_tunnel_holds_no_further_tunnel() {
    // Whoever is inside asked for one place: a CONNECT there would be a second one that nobody checks.
    let world = World::start("").await;
    let mut one = world.proxy.http1(OPEN).await;
    let request = Request::connect("basic.test:443").header("host", "basic.test:443");
    let answer = one.send(request).await.unwrap();
    assert_eq!(answer.status, 405, "{}", answer.everything());
    answer.oci_error();
    let mut two = world.proxy.http2(OPEN).await;
    for place in [BASIC, OPEN] {
        let answer = two.send(Request::connect(place)).await.unwrap();
        assert_eq!(answer.status, 405, "{}", answer.everything());
        answer.oci_error();
    }
    // A request with a body in a tunnel is as good or bad as anywhere.
    let push = Raw::form("/v2/library/redis/blobs/uploads/", &[("a", "b")]);
    let answer = push.through(&world.proxy, OPEN).send(world.proxy.address).await;
    assert_eq!(answer.status, 405, "{}", answer.everything());
    assert_eq!(world.basic.connections(), 0);
}

/// A client that believes every certificate: to say what no honest client would.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl Blind {
    fn client() -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Self(provider)))
            .with_no_client_auth()
    }
}

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
