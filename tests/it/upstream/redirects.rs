//! Redirects are followed by hand, ten of them, and never to where they must not lead (P5, S1, S2).

use docxy::upstream::{Failure, Method, Right};
use http_body_util::BodyExt;

use super::stub::{Setup, Stub, TAGS, answer, ask, bearer, get};
use super::tls;

fn to(status: u16, location: &str) -> Vec<super::stub::Step> {
    answer(status, &[("Location", location)], "moved")
}

#[tokio::test]
async fn every_kind_of_redirect_is_followed_with_fresh_headers() {
    // Blobs come from storages behind redirects; a storage that sees an Authorization answers 400.
    let storage = Stub::start(|seen| answer(200, &[], if seen.method == "HEAD" { "" } else { "blob" })).await;
    for status in [301, 302, 303, 307, 308] {
        for method in [Method::Get, Method::Head] {
            let target = storage.url("/blob?sig=1");
            let registry = Stub::start(move |_| to(status, &target)).await;
            let upstream = Setup::at(&registry.url("")).build();
            let mut question = ask(method, TAGS);
            question.headers.insert("range", "bytes=0-".parse().unwrap());
            let answer = upstream.send(&question, &bearer()).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.redirects), (200, 1));
            let at_storage = storage.seen().pop().unwrap();
            assert_eq!(at_storage.target, "/blob?sig=1");
            assert_eq!(
                at_storage.method,
                if method == Method::Get { "GET" } else { "HEAD" }
            );
            assert_eq!(at_storage.header("range"), Some("bytes=0-"));
            assert_eq!(at_storage.header("authorization"), None);
            assert_eq!(at_storage.header("referer"), None);
            assert!(registry.seen()[0].header("authorization").is_some());
        }
    }
}

#[tokio::test]
async fn a_relative_redirect_on_the_same_origin_keeps_the_token() {
    // gcr.io redirects to itself with a relative Location and wants the token there too.
    let registry = Stub::start(|seen| match seen.target.as_str() {
        TAGS => to(302, "../elsewhere?x=1"),
        "/v2/a/b/elsewhere?x=1" => answer(200, &[], "here"),
        other => panic!("{other}"),
    })
    .await;
    let answer = Setup::at(&registry.url(""))
        .build()
        .send(&get(TAGS), &bearer())
        .await
        .unwrap();
    assert_eq!(answer.body.collect().await.unwrap().to_bytes(), "here");
    assert_eq!(
        registry.seen()[1].header("authorization"),
        Some("Bearer CANARY-token")
    );
}

#[tokio::test]
async fn a_loop_ends_at_the_tenth_redirect() {
    // A client must get an error, not wait for ever.
    let registry = Stub::start(|_| to(302, TAGS)).await;
    let failure = Setup::at(&registry.url(""))
        .build()
        .send(&get(TAGS), &bearer())
        .await
        .unwrap_err();
    assert!(
        matches!(failure, Failure::TooManyRedirects { limit: 10, .. }),
        "{failure:?}"
    );
    assert_eq!(registry.seen().len(), 11);
}

#[tokio::test]
async fn a_bad_location_is_refused_and_not_printed() {
    // The message says why; a signature in a Location never gets into it (S12).
    for location in [
        "",
        "http://",
        "ftp://127.0.0.1/CANARY",
        "file:///etc/passwd",
        "javascript:CANARY",
        "http://user@127.0.0.1/CANARY",
        "http://user:CANARY@127.0.0.1/",
        "http://[::1/CANARY",
    ] {
        let registry = Stub::start(move |_| {
            if location.is_empty() {
                answer(302, &[], "")
            } else {
                to(302, location)
            }
        })
        .await;
        let failure = Setup::at(&registry.url(""))
            .build()
            .send(&get(TAGS), &bearer())
            .await
            .unwrap_err();
        assert!(
            matches!(failure, Failure::BadRedirect { .. }),
            "{location}: {failure:?}"
        );
        assert!(
            !format!("{failure} {failure:?}").contains("CANARY"),
            "{failure:?}"
        );
        assert_eq!(registry.seen().len(), 1);
    }
}

#[tokio::test]
async fn https_is_never_left_for_http() {
    // A storage over plain HTTP could be replaced by anybody on the way.
    let authority = tls::Authority::new("ours");
    let plain = Stub::start(|_| answer(200, &[], "blob")).await;
    let target = plain.url("/blob");
    let registry = Stub::start_tls(authority.server("127.0.0.1"), move |_| to(307, &target)).await;
    let mut setup = Setup::at(&registry.url(""));
    setup.transport.tls = tls::trusting(&[&authority]);
    let failure = setup.build().send(&get(TAGS), &bearer()).await.unwrap_err();
    assert!(matches!(failure, Failure::BadRedirect { .. }), "{failure:?}");
    assert_eq!(plain.seen().len(), 0);
}

#[tokio::test]
async fn a_refusal_of_the_storage_is_not_a_denial_of_the_registry() {
    // An expired signed URL says nothing about the client's rights: it must not be asked to sign in (P9).
    for status in [400, 401, 403] {
        let storage =
            Stub::start(move |_| answer(status, &[("WWW-Authenticate", "Basic realm=\"x\"")], "")).await;
        let target = storage.url("/blob?sig=CANARY");
        let registry = Stub::start(move |_| to(307, &target)).await;
        let upstream = Setup::at(&registry.url("")).build();
        let failure = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap_err();
        assert!(matches!(failure, Failure::StorageRefused { .. }), "{failure:?}");
        assert!(!format!("{failure} {failure:?}").contains("CANARY"));
        let failure = upstream
            .send(&ask(Method::Head, TAGS), &Right::Anonymous)
            .await
            .unwrap_err();
        assert!(matches!(failure, Failure::HeadRefused { .. }), "{failure:?}");
        assert_eq!(storage.seen().len(), 2);
    }
}

#[tokio::test]
async fn the_registry_denies_with_401_and_403() {
    // Only a denial makes docxy ask the client to sign in.
    for status in [401, 403] {
        let registry = Stub::start(move |_| answer(status, &[], "")).await;
        let failure = Setup::at(&registry.url(""))
            .build()
            .send(&get(TAGS), &Right::Anonymous)
            .await
            .unwrap_err();
        assert!(
            matches!(failure, Failure::Denied { status: s, .. } if s == status),
            "{failure:?}"
        );
    }
    let registry = Stub::start(|_| answer(429, &[("Retry-After", "7")], "")).await;
    let answer = Setup::at(&registry.url(""))
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap();
    assert_eq!(answer.status, 429);
    assert_eq!(answer.headers["retry-after"], "7");
}
