//! The steps of an upload, as the specification has them, and what each of them brought.

use std::net::SocketAddr;

use crate::support::{
    client::{Request, Response},
    image::sha256,
};

/// Bytes that no compression makes smaller, different for each seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    crate::support::image::noise(seed, length)
}

/// `POST .../blobs/uploads/` under this name, with more behind it; the Location.
pub async fn begin(docxy: SocketAddr, repository: &str, query: &str) -> String {
    let begun = post(docxy, repository, query).await;
    assert_eq!(begun.status, 202, "{}", begun.everything());
    location(&begun)
}

pub async fn post(docxy: SocketAddr, repository: &str, query: &str) -> Response {
    let target = format!("/v2/{repository}/blobs/uploads/{query}");
    Request::new("POST", target)
        .header("Content-Length", "0")
        .send(docxy)
        .await
}

/// The path where an upload goes on: docxy's own, relative.
#[track_caller]
pub fn location(answer: &Response) -> String {
    let location = answer
        .header("location")
        .unwrap_or_else(|| panic!("no Location: {}", answer.everything()));
    assert!(location.starts_with("/v2/"), "not a path of docxy's: {location}");
    location.to_owned()
}

/// What a client makes of a Location and a parameter.
pub fn with(location: &str, parameter: &str) -> String {
    let joint = if location.contains('?') { '&' } else { '?' };
    format!("{location}{joint}{parameter}")
}

pub async fn patch(docxy: SocketAddr, location: &str, first: usize, bytes: &[u8]) -> Response {
    Request::new("PATCH", location)
        .header("Content-Type", "application/octet-stream")
        .header("Content-Range", format!("{first}-{}", first + bytes.len() - 1))
        .body(bytes)
        .send(docxy)
        .await
}

pub async fn put(docxy: SocketAddr, location: &str, digest: &str, bytes: &[u8]) -> Response {
    let request = Request::new("PUT", with(location, &format!("digest={digest}")))
        .header("Content-Type", "application/octet-stream")
        .body(bytes);
    let request = if bytes.is_empty() {
        request.header("Content-Length", "0")
    } else {
        request
    };
    request.send(docxy).await
}

/// A whole blob: begun, and put in one piece.
pub async fn blob(docxy: SocketAddr, repository: &str, query: &str, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let location = begin(docxy, repository, query).await;
    let stored = put(docxy, &location, &digest, bytes).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    digest
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A manifest of these blobs, the first of which is the configuration.
pub fn manifest_of(config: (&str, usize), layer: (&str, usize)) -> Vec<u8> {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1 },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer.0,
            "size": layer.1,
        }],
    })
    .to_string()
    .into_bytes()
}

pub async fn put_manifest(docxy: SocketAddr, path: &str, bytes: &[u8]) -> Response {
    Request::new("PUT", path)
        .header("Content-Type", MANIFEST)
        .body(bytes)
        .send(docxy)
        .await
}

/// An image of one layer under a tag; the manifest's digest.
pub async fn image(docxy: SocketAddr, repository: &str, tag: &str, seed: u64) -> String {
    let (config, layer) = (format!("{{\"seed\":{seed}}}").into_bytes(), noise(seed, 1000));
    let config_digest = blob(docxy, repository, "", &config).await;
    let layer_digest = blob(docxy, repository, "", &layer).await;
    let manifest = manifest_of((&config_digest, config.len()), (&layer_digest, layer.len()));
    let stored = put_manifest(docxy, &format!("/v2/{repository}/manifests/{tag}"), &manifest).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    let digest = sha256(&manifest);
    assert_eq!(
        stored.header("location"),
        Some(&*format!("/v2/{repository}/manifests/{digest}"))
    );
    assert_eq!(stored.header("docker-content-digest"), Some(&*digest));
    digest
}
