//! Answers that never end or are too large: bounded, and docxy lives on (I9).

use crate::support::{
    client::Request,
    single::{MANIFEST, Single},
    stub::{Fault, On, Quirk, StubRegistry},
};

#[tokio::test]
async fn tags_of_a_megabyte_pass_and_forty_do_not_stay_in_memory() {
    // gcr.io puts manifests into its tags page: 32 MiB is the limit where the page must be read; streamed through, there is none.
    let one = Single::sound().await;
    let page = |bytes: usize| {
        let tag = "t".repeat(100);
        let tags: Vec<String> = (0..bytes / 110)
            .map(|number| format!("\"{tag}{number:06}\""))
            .collect();
        Fault::Answer {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: format!("{{\"name\":\"library/redis\",\"tags\":[{}]}}", tags.join(",")),
        }
    };
    one.stub.fault(On::path("*/tags/list"), page(1 << 20));
    let answer = one.get("/v2/library/redis/tags/list").await;
    answer.assert_status(&[200], &one.stub);
    assert!(
        answer.complete
            && answer.json()["tags"]
                .as_array()
                .is_some_and(|tags| tags.len() > 9000)
    );
    one.stub.fault(On::path("*/tags/list"), page(40 << 20));
    let answer = one.get("/v2/library/redis/tags/list?n=10").await;
    answer.assert_status(&[200, 502], &one.stub);
    one.stub.clear_faults();
    one.get(MANIFEST).await.assert_is(&one.image().root, &one.stub);
}

#[tokio::test]
async fn headers_without_end_are_refused_on_both_sides() {
    // 64 KiB and 100 fields from clients; the upstream's are bounded too.
    let one = Single::sound().await;
    let many = (0..150).fold(Request::get(MANIFEST), |request, number| {
        request.header(&format!("X-{number}"), "x")
    });
    let large = Request::get(MANIFEST).header("X-Large", "x".repeat(100_000));
    let line = Request::get(format!("/v2/{}", "x".repeat(200_000)));
    for request in [many, large, line] {
        if let Ok(open) = request.try_open(one.app.addr()).await {
            assert!([400, 404, 414, 431].contains(&open.status), "{}", open.status);
        }
    }
    assert_eq!(one.stub.requests().len(), 0, "{}", one.stub.story());
    let headers: Vec<(&'static str, String)> = vec![("x-large", "x".repeat(2 << 20))];
    one.stub.fault(
        On::path("*"),
        Fault::Answer {
            status: 200,
            headers,
            body: String::new(),
        },
    );
    one.get(MANIFEST).await.assert_status(&[502], &one.stub);
    one.stub.clear_faults();
    one.get(MANIFEST).await.assert_is(&one.image().root, &one.stub);
}

#[tokio::test]
async fn a_manifest_that_claims_to_be_enormous_is_refused_early() {
    // The length alone is enough to say no.
    let one = Single::sound().await;
    one.stub
        .fault(On::get("*/manifests/*"), Fault::Length(u64::MAX / 2));
    one.get(MANIFEST).await.assert_status(&[502, 413], &one.stub);
    // A blob that claims more than it has is a broken one.
    one.stub.fault(On::get("*/blobs/*"), Fault::Length(1 << 40));
    let mut open = Request::get(one.layer().1).open(one.app.addr()).await;
    assert_eq!(open.status, 200);
    let body = open.read(usize::MAX).await;
    // How much of it leaves before the connection does is a matter of timing; that it is a prefix is not.
    assert!(one.layer().0.bytes.starts_with(&body), "{} bytes", body.len());
    let rest = open.rest().await;
    assert!(!open.into_response(rest).complete);
}

#[tokio::test]
async fn a_chunked_manifest_without_end_is_cut_off() {
    // Without a Content-Length only counting helps.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::Chunked)).await;
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(8 << 20));
    let media_type = crate::support::image::OCI_MANIFEST;
    one.stub.put(
        "library/redis",
        "huge",
        crate::support::image::Image::raw(media_type, huge),
    );
    one.get("/v2/library/redis/manifests/huge")
        .await
        .assert_status(&[502, 413], &one.stub);
}
