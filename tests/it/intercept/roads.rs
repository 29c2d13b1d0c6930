//! What is passed on through an outbound proxy (S3): the places are judged all the same, whoever resolves the names.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{app::TestApp, proxy::Outbound, through::Proxy, within};

/// A docxy that may be asked for anything, and for what is listed, through `outbound`, which resolves names itself.
async fn docxy(outbound: &Outbound, scheme: &str) -> TestApp {
    let url = outbound.url(scheme, "");
    TestApp::builder()
        .config(&format!(
            "[intercept]\nenabled = true\ntunnel = \"all\"\npassthrough = [\"only-there.invalid\", \"*.corp.test\", \"*.corp.invalid\"]\n\
             [network]\nproxy = {{ url = {url:?}, remote_dns = true }}\n[timeouts]\nconnect = \"5s\"\n\
             [network.hosts]\n\"public.test\" = [\"8.8.8.8\"]\n\"inner.test\" = [\"10.0.0.1\"]\n\"here.test\" = [\"127.0.0.1\"]\n\
             \"meta.test\" = [\"169.254.169.254\"]\n\"inner.corp.test\" = [\"10.0.0.1\"]\n\"public.corp.test\" = [\"8.8.4.4\"]\n"
        ))
        .start()
        .await
}

#[tokio::test]
async fn a_proxy_that_resolves_names_is_told_no_place_that_was_not_judged() {
    // An operator whose proxy stands in an inner network: a stranger's name must not lead there, and the hosts that he listed
    // by name are the proxy's to find.
    for scheme in ["http", "socks5"] {
        let end = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outbound = Outbound::leading_to(end.local_addr().unwrap()).await;
        let app = docxy(&outbound, scheme).await;
        let proxy = Proxy::of(&app).await;
        for place in [
            "inner.test:443",
            "here.test:443",
            "meta.test:443",
            "10.0.0.1:443",
            "127.0.0.1:443",
            "[::1]:443",
            "inner.corp.test:443",
            "unknown.invalid:443",
            "unknown.corp.invalid:443",
        ] {
            let answer = proxy.refused(place).await;
            assert_eq!(answer.status, 403, "{scheme} {place}: {}", answer.everything());
            let (_, message) = answer.oci_error();
            let named = outbound.address().to_string();
            assert!(!message.contains(&named), "where the proxy is: {message}");
        }
        app.logged("why", |line| {
            line.to_string().contains("add it to intercept.passthrough")
        })
        .await;
        assert_eq!(outbound.asked(), [""; 0], "{scheme}");
        let granted = [
            "public.test:443",
            "public.corp.test:443",
            "only-there.invalid:443",
        ];
        for place in granted {
            let mut tunnel = proxy.tunnel(place).await;
            let (mut server, _) = within("the other end", end.accept()).await.unwrap();
            tunnel.write_all(b"hello").await.unwrap();
            let mut heard = [0; 5];
            within("hello", server.read_exact(&mut heard)).await.unwrap();
            assert_eq!(&heard, b"hello");
        }
        let told = match scheme {
            "http" => granted.map(|place| format!("connect {place}")),
            // What was judged, where the proxy takes addresses as well as names.
            _ => {
                ["8.8.8.8:443", "8.8.4.4:443", "only-there.invalid:443"].map(|place| format!("socks {place}"))
            }
        };
        assert_eq!(outbound.asked(), told);
    }
}
