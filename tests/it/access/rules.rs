//! Rules, asked through every door: one name, however it is spelt, and nothing of it past a deny.

use serde_json::Value;

use crate::admin::{ask, json, socket};
use crate::support::{
    app::TestApp,
    client::{Request, Response},
    image::Image,
    pair::{Pair, hub},
    puller::Puller,
    stub::{Auth, StubRegistry},
};

const DENY_REDIS: &str = "\
[registries.\"docker.io\"]
hosts = [\"hub.test\"]
aliases = [\"hub\", \"index.docker.io\"]
library_prefix = true
[[access.rules]]
effect = \"allow\"
comment = \"canary-comment-of-the-allow\"
[[access.rules]]
effect = \"deny\"
registry = \"docker.io\"
repository = \"library/redis\"
comment = \"canary-comment-of-the-deny\"
";

#[tokio::test]
async fn a_denied_repository_is_denied_under_every_name_it_has() {
    // Whoever writes "library/redis" means the image, not one of its six spellings.
    for cache in ["mode = \"off\"", "mode = \"disk\""] {
        let pair = Pair::open(&format!("[cache]\n{cache}\n{DENY_REDIS}")).await;
        let image = pair.hub.image("library/redis", "7");
        let (root, layer) = (image.digest(), &image.blobs[1].digest);
        let mut asked = 0;
        for (name, query, host) in [
            ("library/redis", "", None),
            ("redis", "", None),
            ("docker.io/library/redis", "", None),
            ("docker.io/redis", "", None),
            ("hub/redis", "", None),
            ("index.docker.io/library/redis", "", None),
            ("library/redis", "?ns=docker.io", None),
            ("redis", "?ns=docker.io", None),
            ("docker.io/redis", "?ns=index.docker.io", None),
            ("library/redis", "", Some("hub.test")),
            ("redis", "", Some("hub.test")),
        ] {
            for rest in [
                "manifests/7".to_owned(),
                "manifests/none".to_owned(),
                format!("manifests/{root}"),
                format!("blobs/{layer}"),
                "tags/list".to_owned(),
                format!("referrers/{root}"),
            ] {
                for method in ["GET", "HEAD"] {
                    let mut request = Request::new(method, format!("/v2/{name}/{rest}{query}"));
                    if let Some(host) = host {
                        request = request.header("host", host);
                    }
                    let answer = request.header("range", "bytes=0-").send(pair.app.addr()).await;
                    assert_eq!(answer.status, 403, "{method} {name}/{rest}{query} at {host:?}");
                    asked += 1;
                    if method == "GET" {
                        let (code, message) = answer.oci_error();
                        assert_eq!(code, "DENIED");
                        // How the rules are made is the operator's business.
                        assert!(!answer.everything().contains("canary"), "{}", answer.everything());
                        assert!(message.contains("rules"), "{message}");
                    }
                }
            }
        }
        pair.assert_nobody_asked("a denied repository");
        let line = pair.app.accessed("rule", "2").await;
        assert_eq!(line["outcome"], "denied", "{line}");
        let error = line["error"].as_str().unwrap();
        assert!(
            error.contains("rule 2") && error.contains("canary-comment-of-the-deny"),
            "{error}"
        );

        // The same name at another registry is another image, and so is another name here.
        let answer = pair
            .client()
            .ns("ghcr.io")
            .ask("/v2/library/redis/manifests/7")
            .await;
        pair.assert_from_ghcr(&answer, "library/redis", "7");
        pair.assert_from_hub(
            &pair.client().ask("/v2/owner/image/manifests/1").await,
            "owner/image",
            "1",
        );
        let line = pair.app.accessed("repository", "owner/image").await;
        assert_eq!(line["rule"], "1", "{line}");
        println!("{cache}: {asked} requests for a denied repository, 0 answered, 0 sent on");
    }
}

#[tokio::test]
async fn what_is_stored_is_kept_from_those_whom_a_later_rule_denies() {
    // An operator who closes an image has closed the copy that he has of it.
    let stub = hub(Auth::Open).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .cache()
        .start()
        .await;
    let image = stub.image("owner/image", "1");
    let blob = format!("/v2/owner/image/blobs/{}", image.blobs[0].digest);
    let paths = ["/v2/owner/image/manifests/1", blob.as_str()];
    for path in paths {
        Puller::of(&app).ask(path).await.assert_status(&[200], &stub);
    }
    let home = app.home();
    app.stop().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .cache()
        .config(
            "[[access.rules]]\neffect = \"deny\"\nrepository = \"owner/*\"\naddresses = [\"127.0.0.0/8\"]\n",
        )
        .home(&home)
        .start()
        .await;
    for path in paths {
        Puller::of(&app).ask(path).await.assert_status(&[403], &stub);
    }
}

#[tokio::test]
async fn an_allow_closes_all_that_it_does_not_name() {
    // The first allow that somebody writes is a fence: the list of all repositories and other registries are beyond it.
    let pair = Pair::open(
        "[[access.rules]]\neffect = \"allow\"\nregistry = \"docker.io\"\nrepository = \"library/**\"\n",
    )
    .await;
    let client = pair.client();
    pair.assert_from_hub(
        &client.ask("/v2/library/redis/manifests/7").await,
        "library/redis",
        "7",
    );
    let image = pair.hub.image("library/redis", "7");
    let layer = client
        .ask(&format!("/v2/library/redis/blobs/{}", image.blobs[1].digest))
        .await;
    layer.assert_is(&image.blobs[1], &pair.hub);
    pair.hub.forget();
    let mut refused = Vec::new();
    for path in [
        "/v2/owner/image/manifests/1",
        "/v2/_catalog",
        "/v2/ghcr.io/owner/image/manifests/1",
        "/v2/_catalog?ns=ghcr.io",
    ] {
        refused.push(client.ask(path).await.status);
    }
    assert_eq!(refused, [403; 4]);
    pair.assert_nobody_asked("what no allow names");
    // A client asks there how to sign in, whatever the rules say.
    let base = client.ask("/v2/").await;
    assert!(
        base.status == 401 && base.header("www-authenticate").is_some(),
        "{}",
        base.everything()
    );
    let line = pair.app.accessed("rule", "none").await;
    assert_eq!(line["outcome"], "denied", "{line}");
}

#[tokio::test]
async fn a_denied_tag_can_still_be_had_by_digest_and_no_other_way() {
    // It is written so in the manual: whoever relies on more must deny the repository.
    let pair = Pair::open("[[access.rules]]\neffect = \"deny\"\ntag = \"7\"\n").await;
    let client = pair.client();
    let image = pair.hub.image("library/redis", "7");
    assert_eq!(client.ask("/v2/library/redis/manifests/7").await.status, 403);
    let answer = client
        .ask(&format!("/v2/library/redis/manifests/{}", image.digest()))
        .await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    let line = pair.app.accessed("rule", "default").await;
    assert_eq!(line["status"], 200, "{line}");
}

#[tokio::test]
async fn the_address_counts_as_far_as_trusted_proxies_can_be_believed() {
    // A client that writes the header itself is not where it says it is.
    const RULE: &str = "[[access.rules]]\neffect = \"allow\"\naddresses = [\"192.0.2.0/24\"]\n";
    let path = "/v2/library/redis/manifests/7";
    for (trusted, status) in [("trusted_proxies = [\"127.0.0.1\"]\n", 200), ("", 403)] {
        let stub = hub(Auth::Open).start().await;
        let app = TestApp::builder()
            .registry("docker.io", &stub)
            .config(&format!("{trusted}{RULE}"))
            .start()
            .await;
        let said = |address: &'static str| {
            let at = app.addr();
            async move {
                let request = Request::get(path).header("x-forwarded-for", address);
                request.send(at).await.status
            }
        };
        assert_eq!(said("192.0.2.7").await, status, "{trusted}");
        assert_eq!(said("198.51.100.7").await, 403, "{trusted}");
        assert_eq!(said("192.0.2.7, 198.51.100.7").await, 403, "{trusted}");
    }
}

fn cache_control(answer: &Response) -> String {
    answer.header("cache-control").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_cache_in_front_is_told_to_keep_nothing_that_rules_may_refuse() {
    // A CDN that keeps an answer for everyone hands it to those whom a rule refuses.
    let ways = [
        ("", true),
        (
            "[[access.rules]]\neffect = \"deny\"\nregistry = \"docker.io\"\nrepository = \"none\"\n",
            false,
        ),
        (
            "[[access.rules]]\neffect = \"deny\"\nregistry = \"ghcr.io\"\n",
            true,
        ),
        ("[[access.rules]]\neffect = \"allow\"\n", false),
        ("[access]\ndeny_addresses = [\"192.0.2.0/24\"]\n", false),
        ("[access]\nallow_addresses = [\"127.0.0.0/8\"]\n", false),
    ];
    for cache in ["off", "disk"] {
        for (config, public) in ways {
            let stub = hub(Auth::Token).start().await;
            let app = TestApp::builder()
                .registry("docker.io", &stub)
                .config(&format!("[cache]\nmode = \"{cache}\"\n{config}"))
                .start()
                .await;
            let image = stub.image("library/redis", "7");
            for path in [
                "/v2/library/redis/manifests/7".to_owned(),
                format!("/v2/library/redis/manifests/{}", image.digest()),
                format!("/v2/library/redis/blobs/{}", image.blobs[0].digest),
            ] {
                // Twice: from the registry, and from the cache where there is one.
                for _ in 0..2 {
                    let answer = Puller::of(&app).ask(&path).await;
                    answer.assert_status(&[200], &stub);
                    let said = cache_control(&answer);
                    assert_eq!(said.contains("private"), !public, "{config} {path}: {said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_last_decisions_are_there_for_the_operator() {
    // "Why can't I pull?" is asked of the operator, who was not looking when it happened.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .image("library/redis", "7", Image::layers(1).seed(31))
        .image("secret/app", "1", Image::layers(1).seed(32))
        .start()
        .await;
    let app = TestApp::builder()
        .registry_with("docker.io", &stub, "library_prefix = true")
        .cache()
        .config(
            "[[access.rules]]\neffect = \"deny\"\nrepository = \"secret/**\"\ncomment = \"not for you\"\n",
        )
        .start()
        .await;
    Puller::of(&app)
        .ask("/v2/redis/manifests/7")
        .await
        .assert_status(&[200], &stub);
    for _ in 0..3 {
        Puller::of(&app)
            .ask("/v2/secret/app/manifests/1")
            .await
            .assert_status(&[403], &stub);
    }
    let explained = async |query: &str| -> Value {
        json(&ask(&socket(&app), "GET", &format!("/api/v1/explain?{query}"), "").await)
    };
    let redis = explained("repository=docker.io/library/redis&tag=7").await;
    assert_eq!(redis["openness"], "public", "{redis}");
    let digest = stub.image("library/redis", "7").digest().to_string();
    assert_eq!(redis["manifest"], digest.as_str(), "{redis}");
    assert_eq!(redis["tag_means"][0]["digest"], digest.as_str(), "{redis}");
    assert_eq!(redis["decisions"][0]["granted"], true, "{redis}");
    assert_eq!(redis["decisions"][0]["client"], "127.0.0.1", "{redis}");
    let secret = explained("repository=docker.io/secret/app").await;
    assert_eq!(secret["openness"], "unknown", "{secret}");
    assert_eq!(secret["decisions"].as_array().unwrap().len(), 1, "{secret}");
    assert_eq!(secret["decisions"][0]["count"], 3, "{secret}");
    let reason = secret["decisions"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("rule 1") && reason.contains("not for you"),
        "{reason}"
    );
    for (query, said) in [
        ("", "name an image"),
        ("?repository=redis", "with its registry"),
        ("?repository=docker.io/library/redis&tag=a:b", "tag"),
        ("?repo=docker.io/library/redis", "unknown field `repo`"),
    ] {
        let answer = ask(&socket(&app), "GET", &format!("/api/v1/explain{query}"), "").await;
        assert_eq!(answer.status(), 400, "{query}");
        assert!(
            json(&answer)["error"]["message"].as_str().unwrap().contains(said),
            "{query}"
        );
    }
}
