//! Several accounts at one registry, asked over real sockets.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use docxy::config::values::{Credential, Secret};
use docxy::upstream::{Account, CredentialSource, Failure, Fault, Right, State, Timeouts, Upstream};
use http::StatusCode;

use super::super::stub::{Seen, Setup, Step, Stub, TAGS, answer, get};
use super::super::tokens::asked_for_tokens;

/// `Basic` of a user whose password is `CANARY-of-USER`.
fn basic_of(user: &str) -> String {
    let plain = format!("{user}:CANARY-of-{user}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(plain))
}

fn fixed(user: &str) -> Account {
    Account {
        name: user.to_owned(),
        key: format!("key of {user}"),
        source: CredentialSource::Fixed(Credential {
            username: user.to_owned(),
            password: Secret::new(format!("CANARY-of-{user}").into_bytes()),
        }),
    }
}

fn with(stub: &Stub, accounts: Vec<Account>) -> Upstream {
    let mut setup = Setup::at(&stub.url(""));
    setup.config.credentials = accounts;
    setup.build()
}

fn states(upstream: &Upstream) -> Vec<(String, bool)> {
    let members = upstream.pool().members().iter();
    members
        .map(|member| (member.name().to_owned(), member.state() == State::Working))
        .collect()
}

/// Who asks, by what is shown.
fn user_of(seen: &Seen) -> Option<String> {
    let shown = seen.header("authorization")?;
    ["one", "two", "three"]
        .into_iter()
        .find(|user| shown == basic_of(user) || shown == format!("Bearer of-{user}"))
        .map(str::to_owned)
}

/// A registry with a token service: `service` says whether a user is let in for a scope (`None`: without one).
async fn tokens(
    service: impl Fn(Option<&str>, Option<&str>) -> Result<&'static str, u16> + Send + Sync + 'static,
    content: impl Fn(&str) -> u16 + Send + Sync + 'static,
) -> Stub {
    Stub::start(move |seen| {
        if seen.target.starts_with("/token") {
            let scope = seen.target.split("scope=").nth(1);
            return match service(user_of(seen).as_deref(), scope) {
                Ok(token) => answer(200, &[], &format!(r#"{{"token":"{token}"}}"#)),
                Err(status) => answer(status, &[], "{}"),
            };
        }
        let token = seen
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if let Some(token) = token {
            return answer(content(token), &[], "content");
        }
        let realm = format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap());
        answer(401, &[("WWW-Authenticate", &realm)], "{}")
    })
    .await
}

fn basic_registry(good: &'static str) -> impl Fn(&Seen) -> Vec<Step> {
    move |seen| match seen.header("authorization") {
        Some(shown) if shown == basic_of(good) => answer(200, &[], "content"),
        _ => answer(401, &[("WWW-Authenticate", r#"Basic realm="registry""#)], ""),
    }
}

#[tokio::test]
async fn a_refused_account_is_passed_over_in_the_same_request() {
    // One mistyped or expired password among three must not fail a single pull (A4).
    for status in [401, 403] {
        let stub = tokens(
            move |user, _| {
                if user == Some("two") {
                    Ok("of-two")
                } else {
                    Err(status)
                }
            },
            |token| if token == "of-two" { 200 } else { 401 },
        )
        .await;
        let upstream = with(&stub, vec![fixed("one"), fixed("two"), fixed("three")]);
        for _ in 0..3 {
            let answer = upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
            assert!(!answer.anonymous);
        }
        let of_one = asked_for_tokens(&stub);
        let of_one = of_one
            .iter()
            .filter(|seen| user_of(seen).as_deref() == Some("one"));
        assert_eq!(
            of_one.count(),
            2,
            "once with the scope, once without, and then no more"
        );
        let expected = [("one", false), ("two", true), ("three", true)];
        assert_eq!(
            states(&upstream),
            expected.map(|(name, works)| (name.to_owned(), works))
        );
        let one = &upstream.pool().members()[0];
        let State::Failing { fault, .. } = one.state() else {
            unreachable!()
        };
        assert_eq!(fault, Fault::Refused(StatusCode::from_u16(status).unwrap()));
    }
    let stub = Stub::start(basic_registry("two")).await;
    let upstream = with(&stub, vec![fixed("one"), fixed("two")]);
    for _ in 0..3 {
        upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
    }
    let with_one = stub.seen();
    let with_one = with_one
        .iter()
        .filter(|seen| user_of(seen).as_deref() == Some("one"));
    assert_eq!(
        with_one.count(),
        2,
        "the question, and /v2/ to know whose fault it is"
    );
}

#[tokio::test]
async fn a_source_that_fails_is_passed_over_and_comes_back() {
    // A password file that is not there yet must not stop the other account; once it is there it is used at once.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let stub = Stub::start(basic_registry("one")).await;
    let file = Account {
        name: "one".to_owned(),
        key: "password_file".to_owned(),
        source: CredentialSource::PasswordFile {
            username: "one".to_owned(),
            path: path.clone(),
        },
    };
    let upstream = with(&stub, vec![file, fixed("two")]);
    let denied = upstream.send(&get(TAGS), &Right::Configured).await.unwrap_err();
    let said = denied.to_string();
    assert!(
        matches!(denied, Failure::CredentialUnavailable { .. })
            && said.contains("one (password_file): password_file")
            && said.contains("two (key of two): the registry refuses it (401)"),
        "{said}"
    );
    std::fs::write(&path, "CANARY-of-one").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let before = stub.seen().len();
    upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
    assert_eq!(stub.seen().len(), before + 1);
    assert_eq!(states(&upstream)[0], ("one".to_owned(), true));
}

#[tokio::test]
async fn a_denied_repository_is_no_failing_account() {
    // Two teams' robots in one pool: each reads its own repositories, and the way there is remembered.
    for at_service in [true, false] {
        let stub = tokens(
            move |user, scope| match (user, scope) {
                (Some("one"), Some(_)) if at_service => Err(403),
                (Some("one"), _) => Ok("of-one"),
                (Some("two"), _) => Ok("of-two"),
                _ => Err(401),
            },
            |token| if token == "of-two" { 200 } else { 401 },
        )
        .await;
        let upstream = with(&stub, vec![fixed("one"), fixed("two")]);
        upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
        assert!(
            states(&upstream).iter().all(|(_, works)| *works),
            "{:?}",
            states(&upstream)
        );
        let before = stub.seen().len();
        for _ in 0..3 {
            upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
        }
        let after: Vec<_> = stub.seen()[before..].iter().map(user_of).collect();
        assert_eq!(after, vec![Some("two".to_owned()); 3]);
        // Another repository is another question.
        let other = get("/v2/x/y/tags/list");
        upstream.send(&other, &Right::Configured).await.unwrap();
        let asked = stub.seen()[before + 3..]
            .iter()
            .filter_map(user_of)
            .collect::<Vec<_>>();
        assert_eq!(asked.first().map(String::as_str), Some("one"));
    }
}

#[tokio::test]
async fn what_nobody_has_costs_every_account_once() {
    // A tag that is missing is asked for day and night; ten accounts must not make ten requests of each.
    for status in [404, 403, 401] {
        let stub = tokens(
            |user, _| match user {
                Some("one") => Ok("of-one"),
                Some("two") => Ok("of-two"),
                _ => Err(401),
            },
            move |_| status,
        )
        .await;
        let upstream = with(&stub, vec![fixed("one"), fixed("two")]);
        let content = || {
            let seen = stub.seen();
            seen.iter()
                .filter(|seen| seen.target == TAGS && user_of(seen).is_some())
                .count()
        };
        for expected in [2, 3, 4] {
            let outcome = upstream.send(&get(TAGS), &Right::Configured).await;
            match status {
                404 => assert_eq!(outcome.unwrap().status, 404),
                _ => assert!(
                    matches!(outcome, Err(Failure::Denied { own: None, .. })),
                    "{outcome:?}"
                ),
            }
            assert_eq!(content(), expected, "{status}");
        }
    }
}

#[tokio::test]
async fn without_any_that_works_everyones_images_still_come() {
    // The company's one password expired on Saturday: public images must go on, private ones must say why they do not.
    let stub = tokens(
        |user, _| match user {
            None => Ok("anonymous"),
            Some(_) => Err(401),
        },
        |_| 200,
    )
    .await;
    let upstream = with(&stub, vec![fixed("one"), fixed("two")]);
    for _ in 0..2 {
        let answer = upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
        assert!(answer.anonymous);
    }
    assert!(states(&upstream).iter().all(|(_, works)| !works));
    let private = tokens(|_, _| Err(401), |_| 401).await;
    let upstream = with(&private, vec![fixed("one"), fixed("two")]);
    let denied = upstream.send(&get(TAGS), &Right::Configured).await.unwrap_err();
    let (said, told) = (denied.to_string(), denied.for_client());
    assert!(matches!(denied, Failure::Denied { .. }));
    assert!(
        said.contains("one (key of one): the registry refuses it (401); two (key of two)"),
        "{said}"
    );
    assert!(
        told.contains("docxy's own credential for it does not work") && !told.contains("key of one"),
        "{told}"
    );
    assert!(!format!("{said}{told}{denied:?}{upstream:?}").contains("CANARY"));
}

#[tokio::test]
async fn an_outage_of_the_token_service_is_no_failing_account() {
    // After the outage the accounts must be there; and a second account would meet the same outage.
    let stub = tokens(|_, _| Err(503), |_| 200).await;
    let upstream = with(&stub, vec![fixed("one"), fixed("two")]);
    let failure = upstream.send(&get(TAGS), &Right::Configured).await.unwrap_err();
    assert!(matches!(failure, Failure::TokenService { .. }), "{failure:?}");
    assert!(states(&upstream).iter().all(|(_, works)| *works));
    assert_eq!(asked_for_tokens(&stub).len(), 1);
}

#[tokio::test]
async fn silence_about_a_password_is_no_refusal_of_it() {
    // The token service stalls between two answers: the account is not at fault, and what it may read is not denied.
    let stub = Stub::start(|seen| {
        if seen.target.starts_with("/token") {
            return match (user_of(seen).as_deref(), seen.target.contains("scope=")) {
                (Some("one"), true) => answer(401, &[], "{}"),
                (Some("one"), false) => vec![Step::Hang],
                _ => answer(200, &[], r#"{"token":"of-two"}"#),
            };
        }
        match seen.header("authorization") {
            Some("Bearer of-two") if seen.target == TAGS => answer(200, &[], "content"),
            Some(_) => answer(404, &[], "{}"),
            None => {
                let realm = format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap());
                answer(401, &[("WWW-Authenticate", &realm)], "{}")
            }
        }
    })
    .await;
    let with = |accounts: &[&str]| {
        let mut setup = Setup::at(&stub.url(""));
        setup.config.credentials = accounts.iter().map(|user| fixed(user)).collect();
        let timeouts = Timeouts {
            headers: Duration::from_millis(300),
            ..setup.config.timeouts
        };
        setup.timeouts(timeouts).build()
    };
    let other = get("/v2/x/y/tags/list");
    // What everyone may have comes; another account may be given what this one was not; where nobody is, nothing was decided.
    for (accounts, anonymous) in [(vec!["one"], true), (vec!["one", "two"], false)] {
        let upstream = with(&accounts);
        let answer = upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.anonymous), (200, anonymous));
        let failure = upstream.send(&other, &Right::Configured).await.unwrap_err();
        assert!(matches!(failure, Failure::Timeout { .. }), "{failure:?}");
        assert!(states(&upstream).iter().all(|(_, works)| *works));
    }
}

#[tokio::test]
async fn what_was_missing_while_an_account_failed_is_asked_of_it_when_it_works() {
    // "All were asked, and nobody has it" must not be remembered of a day on which one of them could not be asked.
    let works = Arc::new(AtomicBool::new(false));
    let is_open = works.clone();
    let stub = tokens(
        move |user, _| match user {
            Some("one") => Ok("of-one"),
            Some("two") if is_open.load(Ordering::SeqCst) => Ok("of-two"),
            _ => Err(401),
        },
        |token| if token == "of-two" { 200 } else { 404 },
    )
    .await;
    let upstream = with(&stub, vec![fixed("one"), fixed("two")]);
    let ask = async || {
        let answer = upstream.send(&get(TAGS), &Right::Configured).await.unwrap();
        answer.status.as_u16()
    };
    assert_eq!((ask().await, ask().await), (404, 404));
    assert_eq!(
        states(&upstream),
        [("one".to_owned(), true), ("two".to_owned(), false)]
    );
    works.store(true, Ordering::SeqCst);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert_eq!(ask().await, 200);
}
