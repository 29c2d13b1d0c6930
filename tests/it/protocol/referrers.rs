//! Referrers: signatures and SBOMs are found at old registries too, and never denied by an empty answer that lies.

use crate::support::{
    image::{Image, OCI_INDEX},
    single::Single,
    stub::{Fault, On, Quirk, StubRegistry},
};

const SIGNATURE: &str = "application/vnd.example.signature";
const SBOM: &str = "application/vnd.example.sbom";

async fn world(quirk: Option<Quirk>) -> (Single, Image, Image, String) {
    let subject = Image::layers(1).oci().build();
    let signature = Image::artifact(SIGNATURE, &subject.root, "signed");
    let sbom = Image::artifact(SBOM, &subject.root, "listed");
    let mut stub = StubRegistry::builder()
        .image("library/redis", "7", subject.clone())
        .image("library/redis", "signature", signature.clone())
        .image("library/redis", "sbom", sbom.clone());
    if let Some(quirk) = quirk {
        stub = stub.quirk(quirk);
    }
    let one = Single::start(stub, "").await;
    (
        one,
        signature,
        sbom,
        format!("/v2/library/redis/referrers/{}", subject.digest()),
    )
}

#[tokio::test]
async fn they_are_given_by_the_api_and_from_the_fallback_tag() {
    // A signature that is not found is a deployment that does not happen.
    for quirk in [None, Some(Quirk::NoReferrers)] {
        let (one, signature, sbom, path) = world(quirk).await;
        let answer = one.get(&path).await;
        answer.assert_status(&[200], &one.stub);
        assert_eq!(answer.header("content-type"), Some(OCI_INDEX), "{quirk:?}");
        let digests: Vec<String> = answer.json()["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["digest"].as_str().unwrap().to_owned())
            .collect();
        for artifact in [&signature, &sbom] {
            assert!(
                digests.contains(&artifact.root.digest),
                "{quirk:?}: {digests:?}\n{}",
                one.stub.story()
            );
        }
    }
}

#[tokio::test]
async fn a_filter_is_applied_and_said_so() {
    // OCI-Filters-Applied tells the client not to filter again; if it is absent the client filters.
    for quirk in [None, Some(Quirk::NoReferrers)] {
        let (one, signature, _, path) = world(quirk).await;
        let answer = one
            .get(&format!("{path}?artifactType={}", SIGNATURE.replace('+', "%2B")))
            .await;
        answer.assert_status(&[200], &one.stub);
        let entries = answer.json()["manifests"].as_array().unwrap().clone();
        if answer.header("oci-filters-applied") == Some("artifactType") {
            assert_eq!(entries.len(), 1, "{quirk:?}: {entries:?}");
        }
        assert!(
            entries.iter().any(|entry| entry["digest"] == signature.digest()),
            "{quirk:?}: {entries:?}"
        );
    }
}

#[tokio::test]
async fn without_api_and_without_tag_the_404_is_passed_on() {
    // An empty 200 would say "there is no signature", which nobody knows.
    let subject = Image::layers(1).oci().build();
    let stub = StubRegistry::builder()
        .quirk(Quirk::NoReferrers)
        .image("library/redis", "7", subject.clone());
    let one = Single::start(stub, "").await;
    let answer = one
        .get(&format!("/v2/library/redis/referrers/{}", subject.digest()))
        .await;
    answer.assert_status(&[404], &one.stub);
    answer.oci_error();
}

#[tokio::test]
async fn an_empty_answer_of_the_api_is_an_empty_index() {
    // Here the upstream itself says that there are none.
    let subject = Image::layers(1).oci().build();
    let one = Single::start(
        StubRegistry::builder().image("library/redis", "7", subject.clone()),
        "",
    )
    .await;
    let answer = one
        .get(&format!("/v2/library/redis/referrers/{}", subject.digest()))
        .await;
    answer.assert_status(&[200], &one.stub);
    assert_eq!(answer.json()["manifests"], serde_json::json!([]));
}

#[tokio::test]
async fn an_outage_is_not_mistaken_for_a_missing_api() {
    // 503 is no reason to look at the fallback tag and answer from it as if it were complete.
    let (one, _, _, path) = world(None).await;
    one.stub.fault(On::path("*/referrers/*"), Fault::Status(503));
    one.get(&path).await.assert_status(&[502, 503, 504], &one.stub);
}

#[tokio::test]
async fn the_next_page_is_linked_under_our_own_path() {
    // A signature on page 2 that nobody is told of is a signature that does not exist.
    let one = Single::sound().await;
    let digest = one.image().root.digest;
    let path = format!("/v2/library/redis/referrers/{digest}");
    one.stub.fault(
        On::get("*/referrers/*"),
        Fault::Answer {
            status: 200,
            headers: vec![
                ("content-type", "application/vnd.oci.image.index.v1+json".into()),
                (
                    "link",
                    "<https://elsewhere.example/v2/x/referrers/y?page=2>; rel=\"next\"".into(),
                ),
            ],
            body: "{\"schemaVersion\":2,\"manifests\":[]}".into(),
        },
    );
    let answer = one.get(&path).await;
    answer.assert_status(&[200], &one.stub);
    assert_eq!(
        answer.header("link"),
        Some(format!("<{path}?page=2>; rel=\"next\"").as_str())
    );
}
