//! What a registry's own hosts are shown and asked for in TLS (T4): a certificate of ours, and another name than the url's.

use std::sync::Arc;

use docxy::tls::trust::{Roots, Trust};
use docxy::tls::{CertificateFiles, Identity};
use docxy::upstream::failure::Cause;
use docxy::upstream::transport::OwnTls;
use docxy::upstream::transport::proxy::{NoProxy, Proxy, ProxyConfig, Step};
use docxy::upstream::{Failure, Right};
use url::Url;

use super::stub::{Setup, Stub, TAGS, answer, get};
use super::tls::{Authority, trusting};
use crate::support::proxy::Outbound;

/// Trusts `ours` and shows `of`'s certificate for a client.
fn showing(folder: &std::path::Path, ours: &Authority, of: &Authority) -> rustls::ClientConfig {
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, ours.pem()).unwrap();
    let files = CertificateFiles {
        cert: folder.join("client.crt"),
        key: folder.join("client.key"),
    };
    let (cert, key) = of.client("docxy at home");
    std::fs::write(&files.cert, cert).unwrap();
    std::fs::write(&files.key, key).unwrap();
    let trust = Trust {
        ca_file: Some(ca),
        verify: true,
    };
    let identity = Identity::load(&files).unwrap();
    Roots::load().client_config_of(&trust, identity).unwrap()
}

async fn status(setup: Setup) -> Result<u16, Failure> {
    let answer = setup.build().send(&get(TAGS), &Right::Anonymous).await?;
    Ok(answer.status.as_u16())
}

fn own(url: &str, tls: rustls::ClientConfig, server_name: Option<&str>) -> Vec<OwnTls> {
    vec![OwnTls {
        url: Url::parse(url).unwrap(),
        tls,
        server_name: server_name.map(str::to_owned),
    }]
}

#[tokio::test]
async fn a_registry_that_demands_a_certificate_gets_the_right_one() {
    // mTLS is how companies, and a docxy abroad, keep strangers out.
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let registry = Stub::start_tls(ours.server_demanding("registry.test", &ours), |_| {
        answer(200, &[], "ok")
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let url = registry.url_at("registry.test", "");
    let with = |tls: Option<rustls::ClientConfig>| {
        let mut setup = Setup::at(&url);
        setup.transport.tls = trusting(&[&ours]);
        setup.transport.own_tls = tls.map(|tls| own(&url, tls, None)).unwrap_or_default();
        setup
    };
    assert_eq!(
        status(with(Some(showing(folder.path(), &ours, &ours))))
            .await
            .unwrap(),
        200
    );
    // What a certificate opened is not for everyone, though nobody's password was shown.
    for certified in [false, true] {
        let mut setup = with(Some(showing(folder.path(), &ours, &ours)));
        setup.config.shows_certificate = certified;
        let answer = setup.build().send(&get(TAGS), &Right::Anonymous).await.unwrap();
        assert_eq!(answer.anonymous, !certified);
    }
    for wrong in [None, Some(showing(folder.path(), &ours, &theirs))] {
        let failure = status(with(wrong)).await.unwrap_err();
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
        assert!(failure.to_string().contains("client_cert"), "{failure}");
    }
    assert_eq!(registry.seen().len(), 3);
    // And through proxies of each kind that tunnel.
    for scheme in ["http", "socks5", "socks5h"] {
        let relay = Outbound::start().await;
        let mut setup = with(Some(showing(folder.path(), &ours, &ours)));
        setup.transport.proxy = Some(ProxyConfig::only(Proxy::parse(&relay.url(scheme, "")).unwrap()));
        assert_eq!(status(setup).await.unwrap(), 200, "{scheme}");
    }
}

#[tokio::test]
async fn nobody_else_sees_the_certificate() {
    // A storage or token service that asks for a certificate is not told who we are (S1).
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    let storage = Stub::start_tls(ours.server_wondering("cdn.test", &ours), |_| {
        answer(200, &[], "ok")
    })
    .await;
    let location = storage.url_at("cdn.test", "/blob");
    let registry = Stub::start_tls(ours.server_demanding("registry.test", &ours), move |_| {
        answer(307, &[("Location", &location), ("Content-Length", "0")], "")
    })
    .await;
    let url = registry.url_at("registry.test", "");
    let mut setup = Setup::at(&url);
    setup.transport.tls = trusting(&[&ours]);
    setup.transport.own_tls = own(&url, showing(folder.path(), &ours, &ours), None);
    assert_eq!(status(setup).await.unwrap(), 200);
    assert_eq!((registry.shown(), storage.shown()), (1, 0));
    assert_eq!(storage.seen().len(), 1);
}

#[tokio::test]
async fn a_certificate_is_replaced_when_its_files_change() {
    // Certificates of a day are the usual ones inside companies; nobody restarts docxy for them.
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let registry = Stub::start_tls(ours.server_demanding("registry.test", &ours), |_| {
        answer(200, &[("Connection", "close")], "ok")
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let write = |of: &Authority| {
        let files = CertificateFiles {
            cert: folder.path().join("client.crt"),
            key: folder.path().join("client.key"),
        };
        let (cert, key) = of.client("docxy");
        std::fs::write(&files.cert, cert).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    };
    let identity = Identity::load(&write(&theirs)).unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, ours.pem()).unwrap();
    let trust = Trust {
        ca_file: Some(ca),
        verify: true,
    };
    let tls = Roots::load()
        .client_config_of(&trust, Arc::clone(&identity))
        .unwrap();
    let url = registry.url_at("registry.test", "");
    let mut setup = Setup::at(&url);
    setup.transport.own_tls = own(&url, tls, None);
    let upstream = setup.build();
    assert!(upstream.send(&get(TAGS), &Right::Anonymous).await.is_err());
    assert_eq!(identity.reload(), 0);
    write(&ours);
    assert_eq!(identity.reload(), 1);
    assert_eq!(
        upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap().status,
        200
    );
    std::fs::write(folder.path().join("client.key"), "torn").unwrap();
    assert_eq!(identity.reload(), 0);
    assert_eq!(
        upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn another_name_is_asked_for_while_host_and_address_stay() {
    // A registry behind a gateway, or at a bare address, whose certificate is for another name than the url's.
    let ours = Authority::new("ours");
    let registry = Stub::start_tls(ours.server("certified.example"), |_| answer(200, &[], "ok")).await;
    for host in ["registry.test", "127.0.0.1"] {
        let url = registry.url_at(host, "");
        let with = |name: Option<&str>| {
            let mut setup = Setup::at(&url);
            setup.transport.tls = trusting(&[&ours]);
            setup.transport.own_tls = own(&url, trusting(&[&ours]), name);
            setup
        };
        let before = registry.seen().len();
        assert_eq!(
            status(with(Some("certified.example"))).await.unwrap(),
            200,
            "{host}"
        );
        let seen = &registry.seen()[before];
        assert_eq!(
            seen.header("host"),
            Some(format!("{host}:{}", registry.port()).as_str())
        );
        assert_eq!(
            registry.names().last().map(String::as_str),
            Some("certified.example")
        );
        // The name is what is verified, too.
        for wrong in [None, Some("other.example")] {
            let failure = status(with(wrong)).await.unwrap_err();
            assert!(failure.to_string().contains("another name"), "{failure}");
        }
        // Its address is judged as ever (S2).
        let mut guarded = with(Some("certified.example"));
        guarded.transport.allow_private = false;
        let failure = status(guarded).await.unwrap_err();
        assert!(matches!(failure, Failure::AddressRefused { .. }), "{failure:?}");
    }
}

#[tokio::test]
async fn another_name_goes_through_socks5_and_is_never_told_to_a_proxy() {
    // A proxy that is told the certificate's name would go where that leads, which is somewhere else.
    let ours = Authority::new("ours");
    let registry = Stub::start_tls(ours.server("certified.example"), |_| answer(200, &[], "ok")).await;
    let url = registry.url_at("registry.test", "");
    for (scheme, works) in [("socks5", true), ("socks5h", false), ("http", false)] {
        let relay = Outbound::start().await;
        let mut setup = Setup::at(&url);
        setup.transport.own_tls = own(&url, trusting(&[&ours]), Some("certified.example"));
        setup.transport.proxy = Some(ProxyConfig::only(Proxy::parse(&relay.url(scheme, "")).unwrap()));
        let outcome = status(setup).await;
        if works {
            assert_eq!(outcome.unwrap(), 200);
            assert_eq!(relay.asked(), [format!("socks 127.0.0.1:{}", registry.port())]);
        } else {
            let message = outcome.unwrap_err().to_string();
            assert!(message.contains("server_name"), "{scheme}: {message}");
            assert_eq!(relay.connections(), 0, "{scheme}");
        }
    }
}

#[tokio::test]
async fn another_name_takes_the_road_of_a_list_that_can_carry_it() {
    // An operator who lists a proxy and then the direct road must not lose the registry with another name altogether.
    let ours = Authority::new("ours");
    let registry = Stub::start_tls(ours.server("certified.example"), |_| answer(200, &[], "ok")).await;
    let url = registry.url_at("registry.test", "");
    let through = |relay: &Outbound, scheme: &str| Step::Through {
        proxy: Proxy::parse(&relay.url(scheme, "")).unwrap(),
        no_proxy: NoProxy::default(),
    };
    let (blind, able) = (Outbound::start().await, Outbound::start().await);
    for (list, carried) in [
        (vec![through(&blind, "http"), Step::Direct], 0),
        (vec![through(&blind, "socks5h"), through(&able, "socks5")], 1),
    ] {
        let mut setup = Setup::at(&url);
        setup.transport.own_tls = own(&url, trusting(&[&ours]), Some("certified.example"));
        setup.transport.proxy = Some(ProxyConfig::List(list));
        assert_eq!(status(setup).await.unwrap(), 200);
        assert_eq!((blind.connections(), able.connections()), (0, carried));
    }
    // But the direct road is taken only where it is written.
    let before = registry.names().len();
    let mut setup = Setup::at(&url);
    setup.transport.own_tls = own(&url, trusting(&[&ours]), Some("certified.example"));
    setup.transport.proxy = Some(ProxyConfig::List(vec![
        through(&blind, "http"),
        through(&blind, "socks5h"),
    ]));
    let message = status(setup).await.unwrap_err().to_string();
    assert!(message.contains("server_name"), "{message}");
    assert_eq!((blind.connections(), registry.names().len()), (0, before));
}
