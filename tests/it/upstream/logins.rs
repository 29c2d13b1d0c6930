//! `docker login` through docxy: what is passed on, what comes back (A2).

use docxy::config::values::{Credential, Secret};
use docxy::oci::Scope;
use docxy::upstream::{ClientSecret, Login, LoginAnswer};

use super::stub::{Setup, Stub, answer, credential};
use super::tokens::{BASIC, asked_for_tokens, basic_registry, grants, registry};

fn login(credential: ClientSecret, scopes: &[&str]) -> Login {
    Login {
        credential,
        scopes: scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect(),
        offline: true,
        client_id: Some("docker".to_owned()),
    }
}

fn password() -> ClientSecret {
    ClientSecret::Password(credential())
}

#[tokio::test]
async fn a_login_is_passed_to_the_token_service_and_its_answer_comes_back_unchanged() {
    // `docker login` through docxy must give what it gives at the registry, byte for byte (A2).
    const JSON: &str = "{ \"token\":\"CANARY\", \"refresh_token\" : \"CANARY-r\",\n\"x\":1 }";
    let stub = registry(grants(JSON), &[]).await;
    let mut setup = Setup::at(&stub.url(""));
    setup.config.library_prefix = true;
    let upstream = setup.build();
    let scopes = ["repository:redis:pull", "repository:me/x:push,pull"];
    let outcome = upstream.login(&login(password(), &scopes)).await.unwrap();
    assert!(!format!("{outcome:?}").contains("CANARY"));
    let LoginAnswer::Token { json } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(json.expose(), JSON.as_bytes());
    let asked = &asked_for_tokens(&stub)[0];
    assert_eq!(
        (asked.method.as_str(), asked.header("authorization")),
        ("GET", Some(BASIC))
    );
    assert_eq!(
        asked.target,
        "/token?service=the+service&client_id=docker&scope=repository%3Alibrary%2Fredis%3Apull\
         &scope=repository%3Ame%2Fx%3Apush%2Cpull&account=CANARY-user&offline_token=true"
    );
}

#[tokio::test]
async fn a_refresh_token_goes_by_post_and_only_in_the_body() {
    // A refresh token in a URL would be in every log on the way.
    let stub = registry(grants(r#"{"access_token":"a"}"#), &[]).await;
    let refresh = ClientSecret::Refresh(Secret::new("CANARY-refresh".into()));
    let upstream = Setup::at(&stub.url("")).build();
    let outcome = upstream
        .login(&login(refresh, &["repository:a/b:pull"]))
        .await
        .unwrap();
    assert!(matches!(outcome, LoginAnswer::Token { .. }));
    let asked = &asked_for_tokens(&stub)[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(
        asked.body,
        "grant_type=refresh_token&refresh_token=CANARY-refresh&service=the+service&client_id=docker\
         &scope=repository%3Aa%2Fb%3Apull"
    );
}

#[tokio::test]
async fn a_service_that_knows_only_post_gets_the_password_grant() {
    // Some token services speak OAuth2 only.
    for status in [404, 405] {
        let stub = registry(
            move |seen| match seen.method.as_str() {
                "POST" => answer(200, &[], r#"{"access_token":"a"}"#),
                _ => answer(status, &[], ""),
            },
            &[],
        )
        .await;
        let outcome = Setup::at(&stub.url(""))
            .build()
            .login(&login(password(), &[]))
            .await
            .unwrap();
        assert!(matches!(outcome, LoginAnswer::Token { .. }));
        let asked = &asked_for_tokens(&stub)[1];
        assert!(
            asked
                .body
                .starts_with("grant_type=password&username=CANARY-user&password=CANARY-password"),
            "{asked:?}"
        );
        assert!(asked.body.contains("access_type=offline"), "{asked:?}");
    }
}

#[tokio::test]
async fn wrong_passwords_are_refused_and_outages_are_not() {
    // `docker login` with a wrong password must say so; while the service is down it must not.
    for (status, refused) in [(401, true), (403, true), (400, true), (500, false), (429, false)] {
        let stub = registry(move |_| answer(status, &[], "{}"), &[]).await;
        let outcome = Setup::at(&stub.url(""))
            .build()
            .login(&login(password(), &[]))
            .await;
        assert_eq!(
            matches!(outcome, Ok(LoginAnswer::Refused { .. })),
            refused,
            "{status}: {outcome:?}"
        );
        assert_eq!(outcome.is_err(), !refused);
    }
}

#[tokio::test]
async fn logins_at_basic_and_open_registries() {
    // A Basic registry has no token to give, an open one nothing to ask: the caller must be able to tell.
    let stub = Stub::start(basic_registry).await;
    let upstream = Setup::at(&stub.url("")).build();
    assert!(matches!(
        upstream.login(&login(password(), &[])).await.unwrap(),
        LoginAnswer::BasicAccepted
    ));
    let wrong = ClientSecret::Password(Credential {
        username: "x".to_owned(),
        password: Secret::new(b"y".to_vec()),
    });
    assert!(matches!(
        upstream.login(&login(wrong, &[])).await.unwrap(),
        LoginAnswer::Refused { .. }
    ));
    let open = Stub::start(|_| answer(200, &[], "{}")).await;
    let outcome = Setup::at(&open.url(""))
        .build()
        .login(&login(password(), &["repository:a:pull"]))
        .await
        .unwrap();
    assert!(matches!(outcome, LoginAnswer::NotNeeded));
    assert!(
        open.seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
}
