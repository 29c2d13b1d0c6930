//! S1: whatever a registry's answers say, no secret reaches a host that it is not for.

use docxy::config::values::Secret;
use docxy::upstream::{ClientSecret, CredentialSource, Login, Method, Right};

use super::stub::{Setup, Stub, TAGS, account, answer, ask, basic, bearer, credential};

/// What a stolen credential would look like on the wire.
const MARKS: [&str; 4] = ["CANARY", "Q0FOQVJZ", "authorization", "upstream-issued"];

fn secrets_at(canary: &Stub) -> usize {
    canary
        .seen()
        .iter()
        .filter(|seen| {
            let all = format!("{seen:?}");
            MARKS.iter().any(|mark| all.contains(mark))
        })
        .count()
}

fn rights() -> [Right; 3] {
    [basic(), bearer(), Right::Configured]
}

fn setup(registry: &Stub) -> Setup {
    let mut setup = Setup::at(&registry.url(""));
    setup.config.credentials = vec![account(CredentialSource::Fixed(credential()))];
    setup
}

/// A registry that wants a token or a password and then redirects to `location`.
async fn redirecting(status: u16, location: String, scheme: &'static str) -> Stub {
    Stub::start(move |seen| {
        if seen.target.starts_with("/token") {
            return answer(200, &[], r#"{"token":"upstream-issued"}"#);
        }
        if seen.header("authorization").is_none() {
            let challenge = match scheme {
                "Bearer" => format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap()),
                _ => r#"Basic realm="x""#.to_owned(),
            };
            return answer(401, &[("WWW-Authenticate", &challenge)], "");
        }
        answer(status, &[("Location", &location)], "")
    })
    .await
}

#[tokio::test]
async fn no_redirect_carries_a_secret_away() {
    // Whoever signs in through docxy trusts it to show the credential to their registry only (S1, CVE-2020-15157's kin).
    let (mut vectors, mut secrets) = (0, 0);
    for status in [301, 302, 303, 307, 308] {
        for method in [Method::Get, Method::Head] {
            for scheme in ["Bearer", "Basic"] {
                for form in [
                    "literal",
                    "name",
                    "relative scheme",
                    "same host, other port",
                    "userinfo",
                    "back and forth",
                ] {
                    let canary = Stub::start(|seen| match seen.header("x-back") {
                        _ if seen.target.starts_with("/back") => {
                            let home = seen.target.split_once('=').unwrap().1.to_owned();
                            answer(
                                302,
                                &[("Location", &format!("http://127.0.0.1:{home}/v2/loot"))],
                                "",
                            )
                        }
                        _ => answer(200, &[], ""),
                    })
                    .await;
                    let port = canary.port();
                    let location = match form {
                        "literal" | "same host, other port" => canary.url("/x"),
                        "name" => canary.url_at("evil.test", "/x"),
                        "relative scheme" => format!("//evil.test:{port}/x"),
                        "userinfo" => format!("http://registry.test@evil.test:{port}/x"),
                        _ => String::new(),
                    };
                    let registry = if form == "back and forth" {
                        returning(canary.clone(), scheme).await
                    } else {
                        redirecting(status, location, scheme).await
                    };
                    for right in rights() {
                        let _ = setup(&registry).build().send(&ask(method, TAGS), &right).await;
                        vectors += 1;
                    }
                    secrets += secrets_at(&canary);
                    secrets += registry
                        .seen()
                        .iter()
                        .filter(|seen| seen.target == "/v2/loot" && seen.header("authorization").is_some())
                        .count();
                }
            }
        }
    }
    println!("{secrets} secrets at the canary in {vectors} redirects");
    assert!(vectors >= 200);
    assert_eq!(secrets, 0);
}

/// Redirects to the canary, which leads back to where a credential would be worth having.
async fn returning(canary: Stub, scheme: &'static str) -> Stub {
    Stub::start(move |seen| {
        if seen.target.starts_with("/token") {
            return answer(200, &[], r#"{"token":"upstream-issued"}"#);
        }
        if seen.target == "/v2/loot" {
            return answer(200, &[], "");
        }
        let host = seen.header("host").unwrap();
        if seen.header("authorization").is_none() {
            let challenge = match scheme {
                "Bearer" => format!(r#"Bearer realm="http://{host}/token""#),
                _ => r#"Basic realm="x""#.to_owned(),
            };
            return answer(401, &[("WWW-Authenticate", &challenge)], "");
        }
        let home = host.rsplit_once(':').unwrap().1;
        answer(
            302,
            &[("Location", &canary.url(&format!("/back?home={home}")))],
            "",
        )
    })
    .await
}

#[tokio::test]
async fn no_realm_gets_a_password_it_is_not_for() {
    // A registry that is evil, or spoofed, names its own token service: it must get nothing (CVE-2026-33540).
    let (mut vectors, mut secrets) = (0, 0);
    let canary = Stub::start(|_| answer(200, &[], r#"{"token":"upstream-issued"}"#)).await;
    let port = canary.port();
    let realms = [
        format!("http://127.0.0.1:{port}/token"),
        format!("http://evil.test:{port}/token"),
        format!("http://registry.test@evil.test:{port}/token"),
        format!("http://user:pass@127.0.0.1:{port}/token"),
        format!("http://127.1:{port}/token"),
        format!("http://0x7f.1:{port}/token"),
        format!("http://2130706433:{port}/token"),
        format!("http://localhost:{port}/token"),
        format!("http://evil.test:{port}\\@127.0.0.1/token"),
        format!("http://[::ffff:127.0.0.1]:{port}/token"),
        format!("//evil.test:{port}/token"),
        format!("https://evil.test:{port}/token"),
        format!("HTTP://EVIL.TEST:{port}/token"),
        format!("http://evil.test.:{port}/token"),
    ];
    for realm in realms {
        for bearer_only in [true, false] {
            let realm = realm.clone();
            let registry = Stub::start(move |_| {
                let mut challenge = format!(r#"Bearer realm="{}",service="s""#, realm.replace('\\', "\\\\"));
                if !bearer_only {
                    challenge += r#", Basic realm="x""#;
                }
                answer(401, &[("WWW-Authenticate", &challenge)], "")
            })
            .await;
            for right in rights() {
                for method in [Method::Get, Method::Head] {
                    let failed = setup(&registry).build().send(&ask(method, TAGS), &right).await;
                    assert!(failed.is_err());
                    vectors += 1;
                }
            }
            for secret in [
                ClientSecret::Password(credential()),
                ClientSecret::Refresh(Secret::new("CANARY-refresh".into())),
            ] {
                let login = Login {
                    credential: secret,
                    scopes: Vec::new(),
                    offline: true,
                    client_id: None,
                };
                let failure = setup(&registry).build().login(&login).await.unwrap_err();
                assert!(!format!("{failure}{failure:?}").contains("CANARY"));
                vectors += 1;
            }
        }
    }
    secrets += secrets_at(&canary);
    println!(
        "{secrets} secrets and {} requests at the canary in {vectors} realms",
        canary.seen().len()
    );
    assert!(vectors >= 200);
    assert_eq!((secrets, canary.seen().len()), (0, 0));
}

#[tokio::test]
async fn a_token_service_that_redirects_takes_nothing_along() {
    // The token service itself is trusted with the password, but not to pass it on.
    let canary = Stub::start(|_| answer(200, &[], r#"{"token":"upstream-issued"}"#)).await;
    for status in [301, 302, 303, 307, 308] {
        let location = canary.url("/token");
        let registry = Stub::start(move |seen| {
            if seen.target.starts_with("/token") {
                return answer(status, &[("Location", &location)], "");
            }
            let realm = format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap());
            answer(401, &[("WWW-Authenticate", &realm)], "")
        })
        .await;
        for right in rights() {
            assert!(
                setup(&registry)
                    .build()
                    .send(&ask(Method::Get, TAGS), &right)
                    .await
                    .is_err()
            );
        }
    }
    assert_eq!(canary.seen().len(), 0);
}
