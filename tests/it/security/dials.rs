//! S2's sixth entry: the token endpoint, by the realm's path, by scopes and by Host, with a password in hand.

use crate::{
    doors::hostile::spellings,
    support::{
        client::Request,
        pair::{HUB_PASSWORD, Pair},
        stub::StubRegistry,
    },
};

#[tokio::test]
async fn no_spelling_in_a_token_request_is_dialled() {
    // A realm or a scope that names an address must not make docxy take a password there (S1, S2).
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let pair = Pair::signed("public_url = \"http://127.0.0.1\"").await;
    let mut tried = 0;
    for spelling in spellings(canary.addr().port()) {
        let scope = format!("repository:{spelling}/a/b:pull,push");
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("scope", &scope)
            .finish();
        let form = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", HUB_PASSWORD),
            ("scope", &scope),
        ];
        let vectors = [
            Request::get(format!("/auth/token/{spelling}")),
            Request::get(format!("/auth/token/{spelling}?{query}")),
            Request::get(format!("/auth/token?{query}")),
            Request::get(format!(
                "/auth/token?ns={spelling}&registry={spelling}&realm={spelling}&service={spelling}"
            )),
            Request::get("/auth/token").header("Host", &*spelling),
            Request::get(format!("http://{spelling}/auth/token")).header("Host", &*spelling),
            Request::form("/auth/token", &form),
            Request::form(format!("/auth/token/{spelling}"), &form),
        ];
        for request in vectors {
            tried += 1;
            // Closed without an answer is a refusal too: the bytes may be no HTTP at all.
            if let Ok(mut open) = request
                .basic("alice", HUB_PASSWORD)
                .try_open(pair.app.addr())
                .await
            {
                open.rest().await;
            }
            assert_eq!(canary.connections(), 0, "{spelling}: {}", canary.story());
        }
    }
    assert_eq!(pair.ghcr.requests().len(), 0, "{}", pair.ghcr.story());
    println!("S2 by realm path, scope, Host and form of the token endpoint: 0 dials of {tried} tried");
}
