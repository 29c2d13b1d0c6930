//! Signatures and other artifacts that refer to an image.

use super::support::{
    door::{Door, registry},
    image::Catalogue,
    registry::{DockerRegistry, SignIn},
    sandbox::Sandbox,
};

#[tokio::test]
async fn are_found_where_the_registry_has_no_referrers_api() {
    // Matters to people who verify signatures: docker-registry 2.8 keeps them under a tag, docxy lists them.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("owner/image", &images)]).await;
    let door = Door::open(&registry("ghcr.io", &upstream, "")).await;

    let subject = &images.oci.manifest.digest;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!(
        "http://{}/v2/ghcr.io/owner/image/referrers/{subject}",
        door.authority()
    );
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let index: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(index["manifests"][0]["digest"], images.signature.manifest.digest);
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
    let fallback = format!("/v2/owner/image/manifests/{}", subject.replace(':', "-"));
    let seen = upstream.requests().await;
    assert!(
        seen.iter().any(|one| one.path == fallback && one.status == 200),
        "{seen:#?}"
    );
}
