//! Against a real docker-registry: what is pushed through docxy is what a direct push would have left there.

use super::uploads::{
    begin, blob, image, location, manifest_of, noise, patch, post, put, put_manifest, with,
};
use crate::{
    clients::support::{
        door::{Door, registry},
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
    },
    support::{client::Request, image::sha256},
};

const NAME: &str = "registry.example.com";

pub async fn world(sandbox: &Sandbox, more: &str) -> (DockerRegistry, Door) {
    let upstream = DockerRegistry::start(sandbox, SignIn::Nobody, &[]).await;
    let config = registry(NAME, &upstream, &format!("push = {{ enabled = true }}\n{more}"));
    let door = Door::open_cached(&config).await;
    (upstream, door)
}

#[tokio::test]
async fn a_chunked_upload_is_resumed_where_the_registry_says() {
    // Matters on a bad line: the client asks how much is there, and sends the rest; docxy keeps nothing of its own.
    let sandbox = Sandbox::new();
    let (upstream, door) = world(&sandbox, "").await;
    let docxy = door.app().addr();
    let repository = format!("{NAME}/team/app");
    let bytes = noise(1, 300_000);
    let digest = sha256(&bytes);

    let start = begin(docxy, &repository, "").await;
    let first = patch(docxy, &start, 0, &bytes[..100_000]).await;
    assert_eq!(first.status, 202, "{}", first.everything());
    assert_eq!(first.header("range"), Some("0-99999"));
    assert!(
        first.header("docker-upload-uuid").is_some(),
        "{:?}",
        first.headers
    );
    let next = location(&first);

    let status = Request::get(&*next).send(docxy).await;
    assert_eq!(status.status, 204, "{}", status.everything());
    assert_eq!(status.header("range"), Some("0-99999"));
    let from: usize = status.header("range").unwrap()[2..].parse::<usize>().unwrap() + 1;
    assert_eq!(from, 100_000);
    let second = patch(docxy, &location(&status), from, &bytes[from..250_000]).await;
    assert_eq!(second.status, 202, "{}", second.everything());
    let stored = put(docxy, &location(&second), &digest, &bytes[250_000..]).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    assert_eq!(
        stored.header("location"),
        Some(&*format!("/v2/{repository}/blobs/{digest}"))
    );
    assert_eq!(stored.header("docker-content-digest"), Some(&*digest));
    assert!(std::fs::read(upstream.blob_file(&digest)).unwrap() == bytes);
    let left = upstream.repository_files("team/app");
    assert!(!left.keys().any(|file| file.contains("_uploads")), "{left:?}");
}

#[tokio::test]
async fn what_the_registry_says_of_a_bad_push_is_what_the_client_reads() {
    // Matters to whoever looks for the reason: a wrong digest, a missing blob, an upload that is no more.
    let sandbox = Sandbox::new();
    let (upstream, door) = world(&sandbox, "").await;
    let docxy = door.app().addr();
    let repository = format!("{NAME}/team/app");
    let bytes = noise(2, 10_000);

    let start = begin(docxy, &repository, "").await;
    let wrong = put(docxy, &start, &sha256(b"other"), &bytes).await;
    assert_eq!(
        (wrong.status, wrong.oci_error().0.as_str()),
        (400, "DIGEST_INVALID")
    );

    let missing = manifest_of((&sha256(b"a"), 1), (&sha256(b"b"), 1));
    let refused = put_manifest(docxy, &format!("/v2/{repository}/manifests/1"), &missing).await;
    assert_eq!(
        (refused.status, refused.oci_error().0.as_str()),
        (400, "MANIFEST_BLOB_UNKNOWN")
    );
    let refused = put_manifest(docxy, &format!("/v2/{repository}/manifests/1"), b"no manifest").await;
    assert_eq!(
        (refused.status, refused.oci_error().0.as_str()),
        (400, "MANIFEST_INVALID")
    );

    let start = begin(docxy, &repository, "").await;
    let cancelled = Request::new("DELETE", &*start).send(docxy).await;
    assert_eq!(cancelled.status, 204, "{}", cancelled.everything());
    assert_eq!(cancelled.header("location"), None);
    let gone = patch(docxy, &start, 0, &bytes).await;
    assert_eq!(
        (gone.status, gone.oci_error().0.as_str()),
        (404, "BLOB_UPLOAD_UNKNOWN")
    );
    let left = upstream.repository_files("team/app");
    assert!(left.keys().all(|file| !file.contains("_manifests")), "{left:?}");
}

#[tokio::test]
async fn a_mounted_blob_is_not_sent_again() {
    // Matters to everyone who pushes images with a common base: seconds instead of minutes. `from` carries the prefix that
    // the client knows; another registry's is dropped, and the registry answers 202.
    let sandbox = Sandbox::new();
    let (upstream, door) = world(&sandbox, "").await;
    let docxy = door.app().addr();
    let bytes = noise(3, 10_000);
    let digest = blob(docxy, &format!("{NAME}/team/base"), "", &bytes).await;

    let query = |from: &str| format!("?mount={digest}&from={from}");
    let mounted = post(
        docxy,
        &format!("{NAME}/team/app"),
        &query("registry.example.com%2Fteam%2Fbase"),
    )
    .await;
    assert_eq!(mounted.status, 201, "{}", mounted.everything());
    let location = mounted.header("location");
    assert_eq!(location, Some(&*format!("/v2/{NAME}/team/app/blobs/{digest}")));
    let head = Request::head(format!("/v2/{NAME}/team/app/blobs/{digest}"))
        .send(docxy)
        .await;
    assert_eq!(head.status, 200, "{}", head.everything());

    for elsewhere in [
        "ghcr.io/team/base",
        "team/base",
        "unknown.example.com/team/base",
        "..%2F..",
        "A",
    ] {
        let begun = post(docxy, &format!("{NAME}/team/other"), &query(elsewhere)).await;
        assert_eq!(begun.status, 202, "{elsewhere}: {}", begun.everything());
    }
    let asked: Vec<String> = upstream
        .requests()
        .await
        .into_iter()
        .filter(|seen| seen.method == "POST" && seen.path == "/v2/team/other/blobs/uploads/")
        .map(|seen| seen.query)
        .collect();
    assert_eq!(asked, ["", "", "", "", ""]);
}

#[tokio::test]
async fn a_monolithic_post_is_relayed_too() {
    // docker-registry does not do it in one request and answers 202: the client goes on, as the specification has it.
    let sandbox = Sandbox::new();
    let (upstream, door) = world(&sandbox, "").await;
    let docxy = door.app().addr();
    let bytes = noise(4, 10_000);
    let digest = sha256(&bytes);
    let target = format!("/v2/{NAME}/team/app/blobs/uploads/?digest={digest}");
    let begun = Request::new("POST", target)
        .header("Content-Type", "application/octet-stream")
        .body(&*bytes)
        .send(docxy)
        .await;
    assert_eq!(begun.status, 202, "{}", begun.everything());
    let stored = put(docxy, &location(&begun), &digest, &bytes).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    assert!(upstream.blob_file(&digest).exists());
}

#[tokio::test]
async fn what_is_deleted_is_gone_for_pulls_too() {
    // Matters to who takes an image back: no cache serves it on.
    let sandbox = Sandbox::new();
    let (upstream, door) = world(&sandbox, "").await;
    let docxy = door.app().addr();
    let repository = format!("{NAME}/team/app");
    let digest = image(docxy, &repository, "1", 5).await;
    let by_tag = format!("/v2/{repository}/manifests/1");
    let by_digest = format!("/v2/{repository}/manifests/{digest}");
    for path in [&by_tag, &by_tag, &by_digest] {
        let pulled = Request::get(path.as_str()).send(docxy).await;
        assert_eq!(pulled.status, 200, "{}", pulled.everything());
        assert_eq!(sha256(&pulled.body), digest);
    }
    let deleted = Request::new("DELETE", by_digest.as_str()).send(docxy).await;
    assert_eq!(deleted.status, 202, "{}", deleted.everything());
    for path in [&by_tag, &by_digest] {
        let pulled = Request::get(path.as_str()).send(docxy).await;
        assert_eq!(pulled.status, 404, "{}", pulled.everything());
    }

    let bytes = noise(6, 5000);
    let layer = blob(docxy, &repository, "", &bytes).await;
    let path = format!("/v2/{repository}/blobs/{layer}");
    let pulled = Request::get(&*path).send(docxy).await;
    assert!(pulled.body == bytes);
    let deleted = Request::new("DELETE", &*path).send(docxy).await;
    assert_eq!(deleted.status, 202, "{}", deleted.everything());
    let head = Request::head(&*path).send(docxy).await;
    assert_eq!(head.status, 404, "{}", head.everything());
    let gone = Request::get(&*path).send(docxy).await;
    assert_eq!(gone.status, 404, "{}", gone.everything());
    drop(upstream);
}

#[tokio::test]
async fn a_push_through_docxy_leaves_the_same_files_as_a_direct_one() {
    // The whole promise in one comparison: blobs, manifests, tags and links, byte for byte, and no rests of uploads.
    let sandbox = Sandbox::new();
    let (upstream, door) = world(&sandbox, "").await;
    let docxy = door.app().addr();
    let direct = upstream.own_url().trim_start_matches("http://").parse().unwrap();
    let through = image(docxy, &format!("{NAME}/team/through"), "1", 7).await;
    // The registry's Location is absolute: only the path of docxy's is what a client there sees.
    let straight = {
        let bytes: Vec<Vec<u8>> = vec![b"{\"seed\":7}".to_vec(), noise(7, 1000)];
        let mut digests = Vec::new();
        for one in &bytes {
            let begun = post(direct, "team/direct", "").await;
            let target = begun.header("location").unwrap();
            let target = &target[target.find("/v2/").unwrap()..];
            let digest = sha256(one);
            let stored = Request::new("PUT", with(target, &format!("digest={digest}")))
                .body(one.as_slice())
                .send(direct)
                .await;
            assert_eq!(stored.status, 201, "{}", stored.everything());
            digests.push((digest, one.len()));
        }
        let manifest = manifest_of((&digests[0].0, digests[0].1), (&digests[1].0, digests[1].1));
        let stored = put_manifest(direct, "/v2/team/direct/manifests/1", &manifest).await;
        assert_eq!(stored.status, 201);
        sha256(&manifest)
    };
    assert_eq!(through, straight);
    let (one, other) = (
        upstream.repository_files("team/through"),
        upstream.repository_files("team/direct"),
    );
    assert!(one.len() >= 5, "{one:?}");
    assert_eq!(one, other);

    // And the registry was asked the same, in the same order, by the same methods and media types.
    let asked = |repository: &str| {
        let mark = format!("/v2/{repository}/");
        let seen = upstream.requests();
        async move {
            let seen = seen.await;
            let of = seen.into_iter().filter(|one| one.path.starts_with(&mark));
            of.map(|one| (one.method, one.status)).collect::<Vec<_>>()
        }
    };
    assert_eq!(asked("team/through").await, asked("team/direct").await);
}
