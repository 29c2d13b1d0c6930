//! Trouble at the upstream's token service: an outage is an outage, a denial is a denial, and neither hangs.

use crate::support::{
    pair::{HUB_PASSWORD, Pair},
    stub::{Door, Fault, Gate, On},
};

const PUBLIC: &str = "/v2/library/redis/manifests/7";
const SCOPE: &str = "repository:acme/app:pull";

#[tokio::test]
async fn an_outage_is_502_and_names_the_registry() {
    // "Wrong password" for a broken token service sends people to change their passwords.
    let pair = Pair::signed("").await;
    let page = Fault::Answer {
        status: 200,
        headers: vec![("content-type", "text/html".into())],
        body: "<html>hotel</html>".into(),
    };
    let empty = Fault::Answer {
        status: 200,
        headers: vec![("content-type", "application/json".into())],
        body: "{}".into(),
    };
    let huge = Fault::Answer {
        status: 200,
        headers: vec![("content-type", "application/json".into())],
        body: format!("{{\"token\":\"{}\"}}", "x".repeat(70_000)),
    };
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Close,
        Fault::BadJson,
        Fault::CutAt(5),
        page,
        empty,
        huge,
    ] {
        pair.hub.clear_faults();
        pair.hub.fault(On::token(), fault.clone());
        let answer = pair.client().ask(PUBLIC).await;
        answer.assert_status(&[502, 504], &pair.hub);
        assert!(
            answer.oci_error().1.contains("docker.io"),
            "{fault:?}: {}",
            answer.text()
        );
        let login = pair
            .client()
            .login("alice", HUB_PASSWORD)
            .token(&pair.realm(), &[SCOPE])
            .await;
        // A page or an empty object may be passed on as it came ("the answer comes back as it is"); a token it is not.
        if login.status == 200 {
            assert!(
                !login.text().contains("\"token\""),
                "{fault:?}: {}",
                login.text().chars().take(200).collect::<String>()
            );
        } else {
            login.assert_status(&[502, 504], &pair.hub);
        }
    }
    pair.hub.clear_faults();
    let answer = pair.client().ask(PUBLIC).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn a_token_service_that_hangs_is_504() {
    // The limit on headers holds for it too.
    let pair = Pair::signed("[timeouts]\nheaders = \"400ms\"").await;
    let gate = Gate::closed();
    pair.hub.fault(On::token(), Fault::Head(gate.clone()));
    let answer = pair.client().ask(PUBLIC).await;
    answer.assert_status(&[504, 502], &pair.hub);
    assert!(answer.oci_error().1.contains("docker.io"), "{}", answer.text());
    gate.open();
}

#[tokio::test]
async fn its_429_is_a_429_with_retry_after() {
    // auth.docker.io limits logins too.
    let pair = Pair::signed("").await;
    pair.hub.fault(
        On::token(),
        Fault::Answer {
            status: 429,
            headers: vec![
                ("retry-after", "33".into()),
                ("content-type", "application/json".into()),
            ],
            body: "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"slow down\"}]}".into(),
        },
    );
    let token = pair.anonymous_token().await;
    let answers = [
        pair.client().ask_with(PUBLIC, &token).await,
        pair.client()
            .login("alice", HUB_PASSWORD)
            .token(&pair.realm(), &[SCOPE])
            .await,
    ];
    for answer in answers {
        answer.assert_refused(429, &["TOOMANYREQUESTS"], "docker.io", &pair.hub);
        assert_eq!(answer.header("retry-after"), Some("33"));
    }
}

#[tokio::test]
async fn a_failed_fetch_is_not_remembered_as_a_denial() {
    // The next pull after the outage must work at once.
    let pair = Pair::signed("").await;
    pair.hub.fault(On::token().first(1), Fault::Status(500));
    assert_ne!(pair.client().ask(PUBLIC).await.status, 401);
    let answer = pair.client().ask(PUBLIC).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn a_registry_that_always_says_401_ends_quickly() {
    // A token that is never enough must not become a loop (R8).
    let pair = Pair::signed("").await;
    let challenge = format!("Bearer realm=\"{}/token\",service=\"scripted\"", pair.hub.url());
    pair.hub.fault(
        On::path("/v2/*"),
        Fault::Answer {
            status: 401,
            headers: vec![("www-authenticate", challenge)],
            body: String::new(),
        },
    );
    let answer = pair.client().ask(PUBLIC).await;
    answer.assert_status(&[401], &pair.hub);
    assert!(pair.hub.at(Door::Registry).len() <= 3, "{}", pair.hub.story());
    assert!(pair.hub.at(Door::Token).len() <= 3, "{}", pair.hub.story());
}

#[tokio::test]
async fn challenges_that_cannot_be_read_are_denials_or_faults_never_a_crash() {
    // Whatever stands in WWW-Authenticate, the next request is served.
    let pair = Pair::signed("").await;
    let long = format!("Bearer realm=\"http://127.0.0.1/{}\"", "x".repeat(20_000));
    let many = vec!["Bearer realm=\"x\""; 200].join(", ");
    for value in [
        "",
        "Bearer",
        "Bearer realm",
        "Bearer realm=\"",
        "Negotiate",
        "Digest realm=\"x\"",
        ",,,",
        "Bearer realm=\"\\",
        &long,
        &many,
    ] {
        pair.hub.clear_faults();
        pair.hub.fault(
            On::path("/v2/*"),
            Fault::Answer {
                status: 401,
                headers: vec![("www-authenticate", value.into())],
                body: String::new(),
            },
        );
        let answer = pair.client().ask(PUBLIC).await;
        answer.assert_status(&[401, 403, 502], &pair.hub);
        answer.oci_error();
    }
    pair.hub.clear_faults();
    let answer = pair.client().ask(PUBLIC).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}
