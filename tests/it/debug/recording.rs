//! What a recording holds.

use std::os::unix::fs::PermissionsExt as _;

use super::har::{Har, header};
use crate::cache::support::blob_path;
use crate::support::{
    pair::{self, HUB_PASSWORD, Pair},
    puller::Puller,
    stub::{Auth, Cdn, Fault, On},
};

#[tokio::test]
async fn a_pull_with_a_login_is_recorded_on_both_sides() {
    // Whoever is told "it does not work": every request of the client and every one docxy made for it, hop by hop.
    let hub = pair::hub(Auth::Token)
        .cdn(Cdn::on("127.0.0.2").hops(2))
        .start()
        .await;
    let ghcr = pair::ghcr(Auth::Open).start().await;
    let app = Pair::app(&hub, &ghcr)
        .arguments(&["serve", "--trace-http", "pull.har"])
        .start()
        .await;
    let home = app.home();
    let image = hub.image("acme/app", "1");
    let client = Puller::of(&app).login("alice", HUB_PASSWORD);
    let person = client.signed_in("repository:acme/app:pull").await;
    person
        .get("/v2/acme/app/manifests/1")
        .await
        .assert_is(&image.root, &hub);
    let layer = image.layer_blobs()[0].clone();
    let path = blob_path(&layer).replace("library/redis", "acme/app");
    person.get(&path).await.assert_is(&layer, &hub);
    let realm = format!("{}/auth/token", app.url());
    let fields = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", HUB_PASSWORD),
        ("scope", "repository:acme/app:pull"),
    ];
    person
        .post_token(&realm, &fields)
        .await
        .assert_status(&[200], &hub);
    app.stop().await;

    let file = home.path().join("pull.har");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let har = Har::read(&file);
    assert_eq!(har.comment(), "ended: docxy has ended");
    let story = har.story();

    let [manifest] = har.of("client", "/v2/acme/app/manifests/1")[..] else {
        panic!("{story}")
    };
    assert_eq!(manifest.response.status, 200, "{story}");
    assert_eq!(
        manifest.response.content.text.as_deref().map(str::as_bytes),
        Some(&image.root.bytes[..])
    );
    assert_eq!(manifest.response.content.mime_type, image.root.media_type);
    assert_eq!(
        header(&manifest.request.headers, "authorization"),
        Some("Bearer ***")
    );
    assert_eq!(
        header(&manifest.response.headers, "docker-content-digest"),
        Some(&*image.root.digest)
    );
    for (name, value) in [
        ("_client", "127.0.0.1"),
        ("_registry", "docker.io"),
        ("_repository", "acme/app"),
        ("_ended", "whole"),
    ] {
        assert_eq!(manifest.own(name), value, "{manifest:?}");
    }
    assert_eq!(
        Some(manifest.own("_requestId")),
        header(&manifest.response.headers, "x-request-id")
    );
    let [blob] = har.of("client", "/v2/acme/app/blobs/")[..] else {
        panic!("{story}")
    };
    assert_eq!(blob.response.content.size, layer.bytes.len() as u64);
    assert_eq!(blob.response.content.text, None);
    assert_eq!(har.of("client", "/auth/token?").len(), 1, "{story}");
    let [posted] = har
        .entries()
        .iter()
        .filter(|entry| entry.request.method == "POST" && entry.side() == "client")
        .collect::<Vec<_>>()[..]
    else {
        panic!("{story}")
    };
    let form = posted.request.post_data.as_ref().unwrap();
    assert_eq!(
        (form.mime_type.as_str(), form.text.as_str()),
        ("application/x-www-form-urlencoded", "")
    );
    let field = |name| header(&form.params, name);
    assert_eq!(
        (field("grant_type"), field("password"), field("scope")),
        (Some("password"), Some("***"), Some("repository:acme/app:pull"))
    );
    assert!(
        posted.response.content.text.as_ref().unwrap().contains("\"***\""),
        "{posted:?}"
    );

    // Upstream: the same in docxy's own words, and each hop of the blob.
    let tokens = har.of("upstream", &hub.token_addr().to_string());
    let token = tokens
        .iter()
        .find(|entry| entry.response.status == 200)
        .unwrap_or_else(|| panic!("{story}"));
    let text = token.response.content.text.as_ref().unwrap();
    assert!(text.contains("\"***\"") && text.contains("expires_in"), "{text}");
    let asked = har.of("upstream", &format!("{}/v2/acme/app/blobs/", hub.addr()));
    assert!(asked.iter().any(|entry| entry.response.status == 307), "{story}");
    assert!(
        asked
            .iter()
            .all(|entry| entry.response.redirect_url.ends_with("/***?***") || entry.response.status != 307),
        "{asked:?}"
    );
    let hops = har.of("upstream", &format!("{}/***", hub.cdn_addr()));
    let statuses: Vec<_> = hops.iter().map(|entry| entry.response.status).collect();
    assert_eq!(statuses, [307, 200], "{story}");
    assert_eq!(hops[1].response.content.size, layer.bytes.len() as u64);
    assert_eq!(header(&hops[1].request.headers, "authorization"), None);
    let counted = hub.requests().len();
    let of_hub = har
        .entries()
        .iter()
        .filter(|entry| entry.side() == "upstream")
        .count();
    assert_eq!(
        of_hub,
        counted,
        "every request that the registry saw, and no other:\n{story}\n{}",
        hub.story()
    );
    for secret in hub.secrets_issued().iter().chain(&hub.signatures()) {
        assert!(!har.text.contains(secret.as_str()), "{secret}");
    }
    assert!(!har.text.contains(HUB_PASSWORD));
}

#[tokio::test]
async fn what_went_wrong_is_in_it() {
    // A recording is made where something fails: no answer, and a body that breaks off.
    let pair_hub = pair::hub(Auth::Open).start().await;
    let ghcr = pair::ghcr(Auth::Open).start().await;
    let app = Pair::app(&pair_hub, &ghcr)
        .arguments(&["serve", "--trace-http", "a.har"])
        .start()
        .await;
    let home = app.home();
    let client = Puller::of(&app);
    let error = "{\"errors\":[{\"code\":\"X\",\"message\":\"why\"}]}";
    for fault in [
        Fault::Close,
        Fault::CutAt(10),
        Fault::Answer {
            status: 503,
            headers: vec![("content-type", "application/json".into())],
            body: error.into(),
        },
    ] {
        ghcr.clear_faults();
        ghcr.fault(On::get("*/manifests/*"), fault);
        client.ask("/v2/ghcr.io/owner/image/manifests/1").await;
    }
    app.stop().await;
    let har = Har::read(&home.path().join("a.har"));
    let story = har.story();
    let upstream = har.of("upstream", "/v2/owner/image/manifests/1");
    assert!(
        upstream
            .iter()
            .any(|entry| entry.response.status == 0 && !entry.own("_error").is_empty()),
        "{story}"
    );
    assert!(
        upstream.iter().any(|entry| entry.own("_ended") == "broken"),
        "{story}\n{}",
        har.text
    );
    assert!(
        upstream
            .iter()
            .any(|entry| entry.response.content.text.as_deref() == Some(error)),
        "{story}"
    );
    let client = har.of("client", "/v2/ghcr.io/owner/image/manifests/1");
    assert_eq!(client.len(), 3, "{story}");
    assert!(
        client
            .iter()
            .all(|entry| entry.response.status >= 500 && entry.own("_error").contains("ghcr.io")),
        "{client:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_there_is_left_alone() {
    // A start with an old file's name must neither lose that file nor serve without the recording.
    let pair_hub = pair::hub(Auth::Open).start().await;
    let ghcr = pair::ghcr(Auth::Open).start().await;
    let stopped = Pair::app(&pair_hub, &ghcr)
        .file("old.har", "precious")
        .arguments(&["serve", "--trace-http", "old.har"])
        .fails()
        .await;
    assert!(!stopped.status.success());
    assert!(
        stopped
            .log
            .contains("--trace-http: old.har: there is such a file, or a link, already"),
        "{}",
        stopped.log
    );
}
