//! Every door pushes, and every Location leads back through the one that was used.

use super::uploads::{MANIFEST, location, noise, with};
use crate::{
    clients::support::{
        door::{Door, registry},
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
    },
    support::{client::Request, image::sha256},
};

const NAME: &str = "registry.example.com";
const HOST: &str = "push.example.com";

#[tokio::test]
async fn an_upload_stays_on_the_door_where_it_began() {
    // A client keeps to the Location: one that names another host, port or registry sends the layers astray.
    let sandbox = Sandbox::new();
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[]).await;
    let more = format!("push = {{ enabled = true }}\nhosts = [{HOST:?}]\nlibrary_prefix = true");
    let config = format!(
        "default_registry = {NAME:?}\n{}",
        registry(NAME, &upstream, &more)
    );
    let door = Door::open(&config).await;
    let docxy = door.app().addr();
    let doors = [
        (format!("{NAME}/one/prefix"), "", None),
        ("one/default".to_owned(), "", None),
        ("one/host".to_owned(), "", Some(HOST)),
        ("one/namespace".to_owned(), "?ns=registry.example.com", None),
        ("single".to_owned(), "", None),
    ];
    for (pushed, (path, query, host)) in (0..).zip(doors) {
        let send = |method: &str, target: String, kind: &str, body: &[u8]| {
            let request = Request::new(method, target)
                .header("Content-Type", kind)
                .header("Accept", kind);
            let request = match host {
                Some(host) => request.header("Host", host),
                None => request,
            };
            let request = if body.is_empty() {
                request.header("Content-Length", "0")
            } else {
                request.body(body)
            };
            request.send(docxy)
        };
        let bytes = noise(pushed, 5000);
        let digest = sha256(&bytes);
        let binary = "application/octet-stream";
        let begun = send("POST", format!("/v2/{path}/blobs/uploads/{query}"), binary, b"").await;
        assert_eq!(begun.status, 202, "{path}: {}", begun.everything());
        let next = location(&begun);
        assert!(
            next.starts_with(&format!("/v2/{path}/blobs/uploads/")) && next.ends_with(query),
            "{next}"
        );
        let sent = send("PATCH", next, binary, &bytes).await;
        assert_eq!(sent.status, 202, "{path}: {}", sent.everything());
        let end = with(&location(&sent), &format!("digest={digest}"));
        let stored = send("PUT", end, binary, b"").await;
        assert_eq!(stored.status, 201, "{path}: {}", stored.everything());
        assert_eq!(location(&stored), format!("/v2/{path}/blobs/{digest}{query}"));

        let manifest = super::uploads::manifest_of((&digest, bytes.len()), (&digest, bytes.len()));
        let target = format!("/v2/{path}/manifests/1{query}");
        let stored = send("PUT", target.clone(), MANIFEST, &manifest).await;
        assert_eq!(stored.status, 201, "{path}: {}", stored.everything());
        assert_eq!(
            location(&stored),
            format!("/v2/{path}/manifests/{}{query}", sha256(&manifest))
        );
        let pulled = send("GET", target, MANIFEST, b"").await;
        assert!(pulled.body == manifest, "{path}: {}", pulled.everything());
        if !query.is_empty() {
            assert_eq!(stored.header("oci-namespace"), Some(NAME));
        }
    }
    for repository in [
        "one/prefix",
        "one/default",
        "one/host",
        "one/namespace",
        "library/single",
    ] {
        let files = upstream.repository_files(repository);
        assert!(files.len() >= 4, "{repository}: {files:?}");
    }
}

#[tokio::test]
async fn where_pushing_is_off_the_answer_names_the_key() {
    // The operator who wants it reads in the client's own message what to write where.
    let sandbox = Sandbox::new();
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[]).await;
    let other = DockerRegistry::start(&sandbox, SignIn::Nobody, &[]).await;
    let config =
        registry(NAME, &upstream, "") + &registry("on.example.com", &other, "push = { enabled = true }");
    let door = Door::open(&config).await;
    let docxy = door.app().addr();
    for (method, endpoint) in [
        ("POST", "blobs/uploads/".to_owned()),
        ("PATCH", "blobs/uploads/abc".to_owned()),
        ("PUT", "manifests/1".to_owned()),
        ("DELETE", "manifests/1".to_owned()),
    ] {
        let refused = Request::new(method, format!("/v2/{NAME}/team/app/{endpoint}"))
            .send(docxy)
            .await;
        assert_eq!(refused.status, 405, "{}", refused.everything());
        let (code, message) = refused.oci_error();
        assert_eq!(code, "UNSUPPORTED");
        let key = "registries.\"registry.example.com\".push.enabled = true";
        assert!(message.contains(key), "{message}");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    assert!(upstream.requests().await.is_empty());

    // Where it is on, what nobody can do stays refused, and Allow says what can be done.
    for (method, endpoint, allow) in [
        ("PATCH", "blobs/uploads/".to_owned(), "POST"),
        ("GET", "blobs/uploads/".to_owned(), "POST"),
        (
            "POST",
            "blobs/uploads/abc".to_owned(),
            "GET, HEAD, PATCH, PUT, DELETE",
        ),
        ("POST", "manifests/1".to_owned(), "GET, HEAD, PUT, DELETE"),
        ("PUT", format!("blobs/{}", sha256(b"")), "GET, HEAD, DELETE"),
        ("PUT", "tags/list".to_owned(), "GET, HEAD"),
        ("DELETE", "tags/list".to_owned(), "GET, HEAD"),
        ("OPTIONS", "manifests/1".to_owned(), "GET, HEAD"),
    ] {
        let refused = Request::new(method, format!("/v2/on.example.com/team/app/{endpoint}"))
            .send(docxy)
            .await;
        assert_eq!(
            refused.status,
            405,
            "{method} {endpoint}: {}",
            refused.everything()
        );
        assert_eq!(refused.oci_error().0, "UNSUPPORTED");
        assert_eq!(refused.header("allow"), Some(allow), "{method} {endpoint}");
    }
    assert!(other.requests().await.is_empty());
}
