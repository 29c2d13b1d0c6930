//! Two of docxy's users with different rules: each gets his own, through every way of asking, and docxy can say why.

use crate::cli::{docxy, story};
use crate::signin::users::{ANN, BOB, with_users};
use crate::support::{
    client::{Request, Response},
    pair::{Pair, ghcr, hub},
    puller::{Puller, token_in},
    stub::Auth,
};

const RULES: &str = "\
[access.groups]
dev = [\"ann\", \"bob\"]
[[access.rules]]
effect = \"allow\"
groups = [\"dev\"]
registry = \"docker.io\"
[[access.rules]]
effect = \"deny\"
users = [\"bob\"]
repository = \"acme/**\"
comment = \"not bob\"
[registries.\"docker.io\"]
clients = \"users\"
";

async fn world() -> Pair {
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .cache()
        .configured("docker.io", "alice", crate::support::pair::HUB_PASSWORD)
        .config(RULES)
        .start()
        .await;
    Pair { app, hub, ghcr }
}

/// With the password itself, and with a token fetched by it.
async fn both_ways(pair: &Pair, who: (&str, &str), path: &str, scope: &str) -> [Response; 2] {
    let plain = Request::get(path).basic(who.0, who.1).send(pair.app.addr()).await;
    let client = Puller::of(&pair.app).login(who.0, who.1);
    let token = token_in(&client.token(&pair.realm(), &[scope]).await);
    let bearer = Request::get(path).bearer(&token).send(pair.app.addr()).await;
    [plain, bearer]
}

#[tokio::test]
async fn each_gets_what_the_rules_give_him_and_no_more() {
    // One account upstream is shared by all: only the rules stand between bob and what ann may have.
    let pair = world().await;
    let image = pair.hub.image("acme/app", "1");
    let scope = "repository:acme/app:pull";
    let things = [
        "manifests/1".to_owned(),
        format!("manifests/{}", image.digest()),
        format!("blobs/{}", image.blobs[0].digest),
        format!("blobs/{}", image.blobs[1].digest),
        "tags/list".to_owned(),
        format!("referrers/{}", image.digest()),
        "manifests/none".to_owned(),
    ];
    let mut leaked = 0;
    // Cold, warm by ann, and from other repositories' links.
    for round in 0..2 {
        for thing in &things {
            for name in ["acme/app", "docker.io/acme/app"] {
                let path = format!("/v2/{name}/{thing}");
                for answer in both_ways(&pair, BOB, &path, scope).await {
                    assert_eq!(answer.status, 403, "round {round}: bob, {path}");
                    leaked += usize::from(answer.everything().contains(&image.digest().to_string()));
                }
            }
        }
        for answer in both_ways(&pair, ANN, "/v2/acme/app/manifests/1", scope).await {
            pair.assert_from_hub(&answer, "acme/app", "1");
        }
        let blob = format!("/v2/acme/app/blobs/{}", image.blobs[1].digest);
        for answer in both_ways(&pair, ANN, &blob, scope).await {
            answer.assert_is(&image.blobs[1], &pair.hub);
        }
    }
    // A digest asked for in a repository that bob may read is not there.
    let elsewhere = format!("/v2/library/redis/blobs/{}", image.blobs[1].digest);
    for answer in both_ways(&pair, BOB, &elsewhere, "repository:library/redis:pull").await {
        assert_eq!(answer.status, 404, "{}", answer.everything());
    }
    for answer in both_ways(
        &pair,
        BOB,
        "/v2/library/redis/manifests/7",
        "repository:library/redis:pull",
    )
    .await
    {
        pair.assert_from_hub(&answer, "library/redis", "7");
        let kept = answer.header("cache-control").unwrap_or_default();
        assert!(kept.contains("private"), "{}", answer.everything());
    }
    assert_eq!(leaked, 0);
    let line = pair.app.accessed("rule", "2").await;
    assert_eq!(
        (line["user"].as_str(), line["status"].as_u64()),
        (Some("bob"), Some(403)),
        "{line}"
    );

    // Nobody in particular is asked to sign in, also for what no rule would give him.
    let answer = Puller::of(&pair.app).ask("/v2/acme/app/manifests/1").await;
    assert!(
        answer.header("www-authenticate").is_some() || answer.status == 401,
        "{}",
        answer.everything()
    );

    let config = pair.app.dir().join("docxy.toml");
    let explained = async |user: &'static str| {
        let mut command = docxy(&config);
        command.args(["explain", "--user", user, "acme/app:1"]);
        tokio::task::spawn_blocking(move || story(&mut command))
            .await
            .unwrap()
    };
    let (ann, bob) = (explained("ann").await, explained("bob").await);
    assert!(ann.contains("may pull:  yes\nbecause:   rule 1 of 2"), "{ann}");
    assert!(
        bob.contains("may pull:  NO\nbecause:   rule 2 of 2") && bob.contains("not bob"),
        "{bob}"
    );
    for said in [&ann, &bob] {
        assert!(
            said.contains("ann at 127.0.0.1") && said.contains("bob at 127.0.0.1"),
            "{said}"
        );
    }
}
