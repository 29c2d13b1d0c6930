//! Challenges, tokens, passwords: what is asked of whom, how often, and what the outcome is called (A2, A3, A5).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use docxy::config::values::Secret;
use docxy::oci::RegistryName;
use docxy::upstream::{CredentialSource, Failure, Right, Upstream};
use http::StatusCode;

use super::stub::{Seen, Setup, Step, Stub, TAGS, account, answer, basic, bearer, credential, get};

/// `CANARY-user:CANARY-password`
pub const BASIC: &str = "Basic Q0FOQVJZLXVzZXI6Q0FOQVJZLXBhc3N3b3Jk";

/// A registry with its token service at /token; `service` answers there, and a content request is answered if its token is
/// in `good`.
pub async fn registry(
    service: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    good: &'static [&'static str],
) -> Stub {
    Stub::start(move |seen| {
        if seen.target.starts_with("/token") {
            return service(seen);
        }
        let token = seen
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if token.is_some_and(|token| good.contains(&token)) {
            return answer(200, &[], "content");
        }
        let realm = format!(
            r#"Bearer realm="http://{}/token",service="the service",scope="repository:other:push""#,
            seen.header("host").unwrap()
        );
        answer(401, &[("WWW-Authenticate", &realm)], "{}")
    })
    .await
}

pub fn grants(json: &'static str) -> impl Fn(&Seen) -> Vec<Step> {
    move |_| answer(200, &[], json)
}

fn targets(stub: &Stub) -> Vec<String> {
    stub.seen().into_iter().map(|seen| seen.target).collect()
}

pub fn asked_for_tokens(stub: &Stub) -> Vec<Seen> {
    stub.seen()
        .into_iter()
        .filter(|seen| seen.target.starts_with("/token"))
        .collect()
}

fn configured(stub: &Stub) -> Upstream {
    let mut setup = Setup::at(&stub.url(""));
    setup.config.credentials = vec![account(CredentialSource::Fixed(credential()))];
    setup.build()
}

#[tokio::test]
async fn an_anonymous_pull_learns_the_challenge_once() {
    // The first pull takes one more round trip, all later ones none (P6, A5).
    let stub = registry(grants(r#"{"token":"t1"}"#), &["t1"]).await;
    let mut setup = Setup::at(&stub.url(""));
    setup.config.library_prefix = true;
    let upstream = setup.build();
    for _ in 0..3 {
        let answer = upstream
            .send(&get("/v2/redis/tags/list"), &Right::Anonymous)
            .await
            .unwrap();
        assert!(answer.anonymous);
    }
    let content = "/v2/library/redis/tags/list";
    let token = "/token?service=the+service&scope=repository%3Alibrary%2Fredis%3Apull";
    assert_eq!(targets(&stub), [content, token, content, content, content]);
    assert!(
        asked_for_tokens(&stub)
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    // Another repository: the challenge is known, so the token comes first.
    upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    assert!(targets(&stub)[5].starts_with("/token?"));
    assert_eq!(stub.seen().len(), 7);
}

#[tokio::test]
async fn access_token_is_as_good_as_token() {
    // Some services name it one way, some the other, some both.
    for json in [
        r#"{"access_token":"t1","expires_in":"300"}"#,
        r#"{"token":"","access_token":"t1"}"#,
        r#"{"token":"t1","access_token":"no"}"#,
    ] {
        let stub = registry(grants(json), &["t1"]).await;
        assert!(
            Setup::at(&stub.url(""))
                .build()
                .send(&get(TAGS), &Right::Anonymous)
                .await
                .is_ok(),
            "{json}"
        );
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    // A token revoked before its time must not fail pulls until it expires, nor loop for ever.
    let counter = Arc::new(AtomicUsize::new(0));
    let count = counter.clone();
    let stub = registry(
        move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            answer(
                200,
                &[],
                if n == 0 {
                    r#"{"token":"t1"}"#
                } else {
                    r#"{"token":"t2"}"#
                },
            )
        },
        &["t1"],
    )
    .await;
    let upstream = Setup::at(&stub.url("")).build();
    upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    // From here on every token is refused.
    let stub_2 = registry(grants(r#"{"token":"never"}"#), &[]).await;
    let failure = Setup::at(&stub_2.url(""))
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap_err();
    assert!(
        matches!(
            failure,
            Failure::Denied {
                status: StatusCode::UNAUTHORIZED,
                ..
            }
        ),
        "{failure:?}"
    );
    assert_eq!(stub_2.seen().len(), 3);
    // A known scheme and a stale token: dropped, fetched anew, asked once more.
    let rotating = Arc::new(AtomicUsize::new(1));
    let (issue, accept) = (rotating.clone(), rotating.clone());
    let stub_3 = Stub::start(move |seen| {
        let current = format!("t{}", accept.load(Ordering::SeqCst));
        if seen.target.starts_with("/token") {
            return answer(
                200,
                &[],
                &format!(r#"{{"token":"t{}"}}"#, issue.load(Ordering::SeqCst)),
            );
        }
        if seen.header("authorization") == Some(&format!("Bearer {current}")) {
            return answer(200, &[], "");
        }
        let realm = format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap());
        answer(401, &[("WWW-Authenticate", &realm)], "")
    })
    .await;
    let upstream = Setup::at(&stub_3.url("")).build();
    upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    rotating.store(2, Ordering::SeqCst);
    upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    assert_eq!(asked_for_tokens(&stub_3).len(), 2);
}

#[tokio::test]
async fn what_a_token_service_says_keeps_its_meaning() {
    // "Denied" makes a client sign in, "limited" makes it wait, "broken" makes docxy try later: they must not be mixed up.
    type Check = fn(&Failure) -> bool;
    let table: [(Vec<(u16, &str)>, Check); 5] = [
        (vec![(401, "{}"), (403, "{}")], |f| {
            matches!(f, Failure::Denied { .. })
        }),
        (
            vec![(429, "{}")],
            |f| matches!(f, Failure::RateLimited { retry_after: Some(r), .. } if r == "9"),
        ),
        (vec![(500, ""), (503, ""), (404, ""), (302, ""), (400, "")], |f| {
            matches!(f, Failure::TokenService { .. })
        }),
        (
            vec![
                (200, ""),
                (200, "{}"),
                (200, "[]"),
                (200, "CANARY"),
                (200, r#"{"token":"CANARY \n x"}"#),
                (200, r#"{"token":1}"#),
            ],
            |f| matches!(f, Failure::BadAnswer { .. }),
        ),
        (vec![(504, "")], Failure::timed_out),
    ];
    for (answers, right) in table {
        for (status, body) in answers {
            let stub = registry(
                move |_| {
                    answer(
                        status,
                        &[("Retry-After", "9"), ("Location", "http://evil.test/")],
                        body,
                    )
                },
                &[],
            )
            .await;
            let failure = Setup::at(&stub.url(""))
                .build()
                .send(&get(TAGS), &Right::Anonymous)
                .await
                .unwrap_err();
            assert!(right(&failure), "{status} {body}: {failure:?}");
            assert!(!format!("{failure}{failure:?}").contains("CANARY"), "{failure:?}");
        }
    }
    let giant = format!(r#"{{"token":"{}"}}"#, "x".repeat(70_000));
    let stub = registry(move |_| answer(200, &[], &giant), &[]).await;
    let failure = Setup::at(&stub.url(""))
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap_err();
    assert!(matches!(failure, Failure::BadAnswer { .. }), "{failure:?}");
}

#[tokio::test]
async fn a_password_fetches_a_token_and_never_goes_to_the_content() {
    // At a Bearer registry the password is for the token service alone (A2, A3).
    for configured_right in [false, true] {
        let stub = registry(
            |seen| {
                let good = seen.header("authorization") == Some(BASIC);
                answer(
                    200,
                    &[],
                    if good {
                        r#"{"token":"mine"}"#
                    } else {
                        r#"{"token":"anonymous"}"#
                    },
                )
            },
            &["mine"],
        )
        .await;
        let (upstream, right) = if configured_right {
            (configured(&stub), Right::Configured)
        } else {
            (Setup::at(&stub.url("")).build(), basic())
        };
        let answer = upstream.send(&get(TAGS), &right).await.unwrap();
        assert!(!answer.anonymous);
        // The same upstream asked anonymously must not profit from it.
        let denied = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap_err();
        assert!(matches!(denied, Failure::Denied { .. }));
        for seen in stub
            .seen()
            .iter()
            .filter(|seen| !seen.target.starts_with("/token"))
        {
            assert_ne!(seen.header("authorization"), Some(BASIC));
        }
    }
}

#[tokio::test]
async fn configured_without_a_credential_is_anonymous() {
    // `auth = "configured"` for a registry that needs nothing is no mistake.
    let stub = registry(grants(r#"{"token":"t1"}"#), &["t1"]).await;
    let answer = Setup::at(&stub.url(""))
        .build()
        .send(&get(TAGS), &Right::Configured)
        .await
        .unwrap();
    assert!(answer.anonymous);
}

pub fn basic_registry(seen: &Seen) -> Vec<Step> {
    match seen.header("authorization") {
        Some(BASIC) => answer(200, &[], "content"),
        _ => answer(401, &[("WWW-Authenticate", r#"Basic realm="registry""#)], ""),
    }
}

#[tokio::test]
async fn a_basic_registry_gets_the_password_itself() {
    // Registries with htpasswd know no tokens (A5).
    let stub = Stub::start(basic_registry).await;
    let upstream = Setup::at(&stub.url("")).build();
    assert!(matches!(
        upstream.send(&get(TAGS), &Right::Anonymous).await,
        Err(Failure::Denied { .. })
    ));
    assert!(!upstream.send(&get(TAGS), &basic()).await.unwrap().anonymous);
    let mut wrong = credential();
    wrong.username = "other".to_owned();
    let right = Right::Basic {
        registry: RegistryName::parse(super::stub::REGISTRY).unwrap(),
        credential: wrong,
    };
    let before = stub.seen().len();
    assert!(matches!(
        upstream.send(&get(TAGS), &right).await,
        Err(Failure::Denied { .. })
    ));
    assert_eq!(
        stub.seen().len(),
        before + 1,
        "a refused password is not tried twice"
    );
}

#[tokio::test]
async fn an_open_registry_never_sees_the_password() {
    // What is not asked for is not shown, and what was got without it is public.
    let stub = Stub::start(|_| answer(200, &[], "content")).await;
    let upstream = configured(&stub);
    for _ in 0..2 {
        assert!(
            upstream
                .send(&get(TAGS), &Right::Configured)
                .await
                .unwrap()
                .anonymous
        );
    }
    assert!(
        stub.seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    assert_eq!(targets(&stub), ["/v2/", TAGS, TAGS]);
}

#[tokio::test]
async fn a_rotated_password_is_taken_up() {
    // An operator who changes the password file must not have to restart (A3).
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for bearer in [false, true] {
        std::fs::write(&path, "old").unwrap();
        let stub = if bearer {
            registry(
                |seen| match seen.header("authorization") {
                    Some(BASIC) => answer(200, &[], r#"{"token":"mine"}"#),
                    _ => answer(401, &[], ""),
                },
                &["mine"],
            )
            .await
        } else {
            Stub::start(basic_registry).await
        };
        let mut setup = Setup::at(&stub.url(""));
        setup.config.credentials = vec![account(CredentialSource::PasswordFile {
            username: "CANARY-user".to_owned(),
            path: path.clone(),
        })];
        let upstream = setup.build();
        let denied = upstream.send(&get(TAGS), &Right::Configured).await.unwrap_err();
        assert!(matches!(denied, Failure::Denied { .. }), "{denied:?}");
        std::fs::write(&path, super::stub::PASSWORD).unwrap();
        upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
    }
}

#[tokio::test]
async fn a_clients_token_goes_out_as_it_is_and_its_denial_comes_back() {
    // A client's token is its own proof; docxy must not replace it by a right of its own.
    let stub = registry(grants(r#"{"token":"t1"}"#), &["CANARY-token"]).await;
    let answer = configured(&stub).send(&get(TAGS), &bearer()).await.unwrap();
    assert!(!answer.anonymous);
    assert_eq!(stub.seen().len(), 1);
    let other = registry(grants(r#"{"token":"t1"}"#), &["t1"]).await;
    let denied = configured(&other).send(&get(TAGS), &bearer()).await.unwrap_err();
    assert!(matches!(denied, Failure::Denied { .. }));
    assert_eq!(other.seen().len(), 1);
}

#[tokio::test]
async fn a_credential_for_another_registry_never_leaves() {
    // S1: whatever a caller mixes up, the registry's name in the credential decides.
    let stub = Stub::start(|_| answer(200, &[], "")).await;
    let other = RegistryName::parse("other.test").unwrap();
    for right in [
        Right::Bearer {
            registry: other.clone(),
            token: Secret::new("CANARY".into()),
        },
        Right::Basic {
            registry: other.clone(),
            credential: credential(),
        },
    ] {
        let upstream = Setup::at(&stub.url("")).build();
        for failure in [
            upstream.send(&get(TAGS), &right).await.unwrap_err(),
            upstream.ping(&right).await.unwrap_err(),
        ] {
            assert!(
                matches!(failure, Failure::ForeignCredential { .. }),
                "{failure:?}"
            );
        }
    }
    assert_eq!(stub.seen().len(), 0);
}

#[tokio::test]
async fn a_ping_reports_the_status_whatever_it_is() {
    // gcr.io answers 401 at /v2/ to a good token without a scope: a status, not a failure.
    let stub = registry(grants(r#"{"token":"t1"}"#), &["t1", "CANARY-token"]).await;
    let upstream = Setup::at(&stub.url("")).build();
    assert_eq!(upstream.ping(&bearer()).await.unwrap(), 200);
    assert_eq!(upstream.ping(&Right::Anonymous).await.unwrap(), 200);
    let denying = registry(|_| answer(403, &[], ""), &[]).await;
    assert_eq!(
        Setup::at(&denying.url(""))
            .build()
            .ping(&Right::Anonymous)
            .await
            .unwrap(),
        403
    );
}

#[tokio::test]
async fn a_herd_shares_one_token() {
    // 50 clients that start at once must not ask the token service 50 times.
    let stub = registry(grants(r#"{"token":"t1"}"#), &["t1"]).await;
    let upstream = Setup::at(&stub.url("")).build();
    let pulls = (0..50).map(|_| {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.send(&get(TAGS), &Right::Anonymous).await.is_ok() })
    });
    for pull in futures_util::future::join_all(pulls).await {
        assert!(pull.unwrap());
    }
    assert_eq!(asked_for_tokens(&stub).len(), 1);
}

#[tokio::test]
async fn a_stale_token_is_replaced_even_without_a_new_challenge() {
    // Some registries answer a bare 401 to an expired token; pulls must not fail until docxy's copy expires too.
    let rotating = Arc::new(AtomicUsize::new(1));
    let round = rotating.clone();
    let stub = Stub::start(move |seen| {
        let current = round.load(Ordering::SeqCst);
        if seen.target.starts_with("/token") {
            return answer(200, &[], &format!(r#"{{"token":"t{current}"}}"#));
        }
        match seen.header("authorization") {
            Some(shown) if shown == format!("Bearer t{current}") => answer(200, &[], ""),
            Some(_) => answer(401, &[], ""),
            None => {
                let realm = format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap());
                answer(401, &[("WWW-Authenticate", &realm)], "")
            }
        }
    })
    .await;
    let upstream = Setup::at(&stub.url("")).build();
    upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    rotating.store(2, Ordering::SeqCst);
    upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
}

#[tokio::test]
async fn a_denied_repository_costs_one_token_and_one_request() {
    // Private images asked for anonymously are everyday traffic; each must not cost the upstream four requests.
    let stub = registry(grants(r#"{"token":"weak"}"#), &[]).await;
    let upstream = Setup::at(&stub.url("")).build();
    for expected in [3, 5] {
        let denied = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap_err();
        assert!(matches!(denied, Failure::Denied { .. }));
        assert_eq!(stub.seen().len(), expected);
    }
}

#[tokio::test]
async fn nothing_that_can_be_printed_holds_a_secret() {
    // A developer who logs `{upstream:?}` must not log a password or a token (S12).
    let stub = registry(grants(r#"{"token":"CANARY-issued"}"#), &["CANARY-issued"]).await;
    let mut setup = Setup::at(&stub.url(""));
    setup.config.credentials = vec![account(CredentialSource::Fixed(credential()))];
    setup.transport.proxy = Some(docxy::upstream::transport::proxy::ProxyConfig::Environment(
        Box::new(docxy::upstream::transport::proxy::Environment {
            https: Some(
                docxy::upstream::transport::proxy::Proxy::parse("http://u:CANARY@proxy.test").unwrap(),
            ),
            ..Default::default()
        }),
    ));
    let printed = format!("{:?} {:?}", setup.config, setup.transport);
    let upstream = setup.build();
    let answer = upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
    let printed = format!("{printed} {upstream:?} {answer:?} {:?} {:?}", bearer(), basic());
    let without_name = printed.replace("CANARY-user", "");
    assert!(!without_name.contains("CANARY"), "{without_name}");
}
