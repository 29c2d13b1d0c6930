//! Redirects, followed by hand: the client never sees them, the CDN never sees a credential (P5, S1).

use std::time::Duration;

use crate::support::{
    client::Request,
    image::Image,
    single::{MANIFEST, Single},
    stub::{Auth, Cdn, Door, Fault, On, StubRegistry},
};

#[tokio::test]
async fn every_code_and_every_form_of_location_is_followed() {
    // 301, 302, 303, 307 and 308, absolute and relative, one hop and ten.
    for cdn in [Cdn::on("127.0.0.2"), Cdn::relative()] {
        for code in [301, 302, 303, 307, 308] {
            let one = Single::with(StubRegistry::builder().cdn(cdn.clone().code(code))).await;
            let (layer, path) = one.layer();
            let answer = one.get(&path).await;
            answer.assert_is(&layer, &one.stub);
            assert_eq!(answer.header("location"), None, "{code}");
        }
    }
    let one = Single::with(StubRegistry::builder().cdn(Cdn::on("127.0.0.2").hops(10))).await;
    let (layer, path) = one.layer();
    one.get(&path).await.assert_is(&layer, &one.stub);
    assert_eq!(one.stub.at(Door::Cdn).len(), 10);
}

#[tokio::test]
async fn the_eleventh_hop_and_loops_are_errors() {
    // A loop must end, and say why.
    let one = Single::with(StubRegistry::builder().cdn(Cdn::on("127.0.0.2").hops(11))).await;
    let answer = one.get(&one.layer().1).await;
    answer.assert_refused(502, &["UNAVAILABLE", "UNKNOWN"], "docker.io", &one.stub);
    let one = Single::sound().await;
    let (_, path) = one.layer();
    for location in [
        path.clone(),
        format!("{}{path}", one.stub.url()),
        "?again".to_owned(),
    ] {
        one.stub.clear_faults();
        one.stub.forget();
        one.stub
            .fault(On::path("*/blobs/*"), Fault::redirect(307, location));
        let answer = one.get(&path).await;
        answer.assert_refused(502, &["UNAVAILABLE", "UNKNOWN"], "docker.io", &one.stub);
        assert!(one.stub.requests().len() <= 11, "{}", one.stub.story());
    }
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_error() {
    // No Location, an empty one, one that is no URL: 502, and the client does not get the 3xx.
    let one = Single::sound().await;
    let (_, path) = one.layer();
    let vectors = [
        Fault::Answer {
            status: 307,
            headers: vec![],
            body: String::new(),
        },
        Fault::redirect(307, ""),
        Fault::redirect(307, "http://"),
        Fault::redirect(307, "http://[::"),
        Fault::redirect(307, "ftp://127.0.0.2/x"),
        Fault::redirect(307, "file:///etc/passwd"),
        Fault::redirect(307, "http://127.0.0.2:99999/"),
        Fault::redirect(304, "http://127.0.0.2/"),
        Fault::Answer {
            status: 300,
            headers: vec![],
            body: String::new(),
        },
        Fault::Answer {
            status: 305,
            headers: vec![("location", "http://127.0.0.2/".into())],
            body: String::new(),
        },
    ];
    for fault in vectors {
        one.stub.clear_faults();
        one.stub.fault(On::path("*/blobs/*"), fault.clone());
        let answer = one.get(&path).await;
        assert_eq!(answer.status, 502, "{fault:?}: {}", answer.everything());
        answer.oci_error();
    }
}

#[tokio::test]
async fn at_each_hop_the_headers_are_made_afresh() {
    // A CDN answers 400 to a token; a signed URL in a Referer is a leak; the Range must arrive.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1))
        .cdn(Cdn::on("127.0.0.2").hops(3).manifests());
    let one = Single::start(stub, "").await;
    let layer = one.stub.image("acme/app", "1").layer_blobs()[0].clone();
    let path = format!("/v2/acme/app/blobs/{}", layer.digest);
    let client = one.client().login("alice", "alice-password");
    client.get(&path).await.assert_is(&layer, &one.stub);
    let token =
        crate::support::puller::token_in(&client.token(&one.realm(), &["repository:acme/app:pull"]).await);
    let part = one
        .send(
            Request::get(&*path)
                .bearer(&token)
                .header("Range", "bytes=5-9")
                .header("Cookie", "a=b"),
        )
        .await;
    part.assert_status(&[206], &one.stub);
    client
        .get("/v2/acme/app/manifests/1")
        .await
        .assert_is(&one.stub.image("acme/app", "1").root, &one.stub);

    let hops = one.stub.at(Door::Cdn);
    assert!(hops.len() >= 9, "{}", one.stub.story());
    for seen in hops {
        assert_eq!(seen.secrets(), Vec::<String>::new(), "{seen}");
        assert_eq!(seen.header("referer"), None, "{seen}");
        assert_eq!(
            seen.header("host"),
            Some(&*one.stub.cdn_addr().to_string()),
            "{seen}"
        );
    }
    let ranged = one
        .stub
        .at(Door::Cdn)
        .into_iter()
        .filter(|seen| seen.header("range") == Some("bytes=5-9"))
        .count();
    assert_eq!(ranged, 3, "{}", one.stub.story());
}

#[tokio::test]
async fn manifests_may_be_redirected_too() {
    // registry.k8s.io sends manifests to regional hosts.
    let one = Single::with(StubRegistry::builder().cdn(Cdn::on("127.0.0.2").manifests().hops(2))).await;
    one.get(MANIFEST).await.assert_is(&one.image().root, &one.stub);
    let head = one.head(MANIFEST).await;
    head.assert_status(&[200], &one.stub);
    assert_eq!(head.header("docker-content-digest"), Some(one.image().digest()));
}

#[tokio::test]
async fn a_redirect_is_never_remembered() {
    // Signatures expire: the second pull must ask the registry for a fresh link.
    let one = Single::with(
        StubRegistry::builder().cdn(Cdn::on("127.0.0.2").code(301).life(Duration::from_secs(30))),
    )
    .await;
    let (layer, path) = one.layer();
    for _ in 0..2 {
        one.get(&path).await.assert_is(&layer, &one.stub);
        one.stub.advance(Duration::from_secs(31));
    }
    assert_eq!(one.stub.gets("/v2/*/blobs/*").len(), 2, "{}", one.stub.story());
}

#[tokio::test]
async fn a_refusal_of_the_cdn_is_not_shown_with_its_signature() {
    // The CDN's own error is XML with a signed URL in it; the client gets ours (P9).
    let one = Single::with(StubRegistry::builder().cdn(Cdn::on("127.0.0.2"))).await;
    let (_, path) = one.layer();
    for status in [400, 403, 404, 410, 500, 503] {
        one.stub.clear_faults();
        one.stub.fault(
            On::cdn("*"),
            Fault::Answer {
                status,
                headers: vec![],
                body: "<Error><Code>X</Code><Url>X-Amz-Signature</Url></Error>".into(),
            },
        );
        let answer = one.get(&path).await;
        answer.assert_status(&[404, 502, 504], &one.stub);
        let (_, message) = answer.oci_error();
        assert!(message.contains("docker.io"), "{message}");
        assert!(!answer.everything().contains("X-Amz"), "{}", answer.everything());
        for signature in one.stub.signatures() {
            assert!(
                !answer.everything().contains(&signature),
                "{}",
                answer.everything()
            );
        }
    }
}
