//! Writes images into a registry, request by request, so that every digest is known before a client asks.

use std::net::SocketAddr;

use super::image::{Catalogue, Image, Index};
use crate::support::image::Content;

pub struct Publisher {
    registry: SocketAddr,
    client: reqwest::Client,
}

impl Publisher {
    pub fn new(registry: SocketAddr) -> Self {
        Self {
            registry,
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
        }
    }

    /// Everything of a catalogue, under its tags.
    pub async fn catalogue(&self, repository: &str, catalogue: &Catalogue) {
        self.index(repository, "oci", &catalogue.oci).await;
        self.index(repository, "docker", &catalogue.docker).await;
        self.image(repository, "zstd", &catalogue.zstd).await;
        let signature = &catalogue.signature;
        self.image(repository, &signature.manifest.digest, signature)
            .await;
        let fallback = catalogue.oci.manifest.digest.replace(':', "-");
        self.manifest(repository, &fallback, &signature.referrers_index())
            .await;
    }

    async fn index(&self, repository: &str, tag: &str, index: &Index) {
        for image in &index.images {
            self.image(repository, &image.manifest.digest, image).await;
        }
        self.manifest(repository, tag, &index.manifest).await;
    }

    async fn image(&self, repository: &str, reference: &str, image: &Image) {
        for blob in image.layers.iter().chain([&image.config]) {
            self.blob(repository, blob).await;
        }
        self.manifest(repository, reference, &image.manifest).await;
    }

    /// Starts an upload and ends it with one PUT (OCI distribution specification, "POST then PUT").
    async fn blob(&self, repository: &str, blob: &Content) {
        let start = format!("http://{}/v2/{repository}/blobs/uploads/", self.registry);
        let started = self
            .client
            .post(start)
            .send()
            .await
            .expect("the registry answers");
        let location = started.headers()["location"].to_str().expect("a URL").to_owned();
        let put = self
            .client
            .put(format!("{location}&digest={}", blob.digest))
            .body(blob.bytes.clone());
        let stored = put.send().await.expect("the registry answers");
        assert_eq!(stored.status(), 201, "the registry takes blob {}", blob.digest);
    }

    async fn manifest(&self, repository: &str, reference: &str, manifest: &Content) {
        let url = format!("http://{}/v2/{repository}/manifests/{reference}", self.registry);
        let put = self
            .client
            .put(url)
            .header("Content-Type", &manifest.media_type)
            .body(manifest.bytes.clone());
        let stored = put.send().await.expect("the registry answers");
        let status = stored.status();
        let text = stored.text().await.unwrap_or_default();
        assert_eq!(status, 201, "the registry takes manifest {reference}: {text}");
    }
}
