//! A registry whose answers are made to confuse: ranges, types and texts (I9, CVE-2021-41190).

use crate::support::{
    client::Request,
    single::{MANIFEST, Single},
    stub::{Fault, On},
};

#[tokio::test]
async fn a_content_range_at_the_end_of_numbers_is_an_error_not_a_fault() {
    // Arithmetic on what a registry says must not panic, nor wrap around to a length that fits.
    let one = Single::sound().await;
    let (_, blob) = one.layer();
    for (range, said) in [
        ("bytes=0-", "bytes 0-18446744073709551615/*"),
        ("bytes=0-18446744073709551615", "bytes 0-18446744073709551615/*"),
        ("bytes=1-", "bytes 1-18446744073709551615/*"),
        ("bytes=0-", "bytes 0-18446744073709551614/18446744073709551615"),
        ("bytes=0-", "bytes 0-18446744073709551616/*"),
        (
            "bytes=-1",
            "bytes 18446744073709551614-18446744073709551614/18446744073709551615",
        ),
    ] {
        one.stub.clear_faults();
        let headers = vec![("content-range", said.to_owned())];
        one.stub.fault(
            On::get("*/blobs/*"),
            Fault::Answer {
                status: 206,
                headers,
                body: String::new(),
            },
        );
        let answer = one.send(Request::get(&*blob).header("Range", range)).await;
        answer.assert_refused(502, &["UNAVAILABLE", "UNKNOWN"], "docker.io", &one.stub);
    }
}

#[tokio::test]
async fn a_manifest_has_one_type() {
    // CVE-2021-41190: what docxy checked as one type, a client must not read as another.
    let one = Single::sound().await;
    let image = one.image();
    let other = "application/vnd.oci.image.index.v1+json";
    for types in [[&*image.root.media_type, other], [other, &*image.root.media_type]] {
        one.stub.clear_faults();
        let headers = types.map(|value| ("content-type", value.to_owned())).to_vec();
        let body = String::from_utf8(image.root.bytes.to_vec()).unwrap();
        one.stub.fault(
            On::path("*/manifests/*"),
            Fault::Answer {
                status: 200,
                headers,
                body,
            },
        );
        for method in ["GET", "HEAD"] {
            let answer = one.send(Request::new(method, MANIFEST)).await;
            let lines = answer.headers.get_all("content-type").iter().count();
            assert_eq!(lines, 1, "{method} {types:?}: {}", answer.everything());
        }
    }
}

#[tokio::test]
async fn a_registrys_own_words_do_not_fill_the_log() {
    // A megabyte in the wrong place of a list must not come back as a megabyte of error, in the answer and in the log.
    let one = Single::sound().await;
    let long = "A".repeat(1024 * 1024);
    let headers = vec![("content-type", "application/json".to_owned())];
    for body in [
        format!("{{\"tags\":\"{long}\"}}"),
        format!("{{\"tags\":[{{\"{long}\":1}}]}}"),
    ] {
        one.stub.clear_faults();
        one.stub.fault(
            On::path("*/tags/list"),
            Fault::Answer {
                status: 200,
                headers: headers.clone(),
                body,
            },
        );
        let answer = one.get("/v2/library/redis/tags/list?n=1").await;
        answer.assert_status(&[502], &one.stub);
        assert!(answer.body.len() < 4096, "{} bytes of error", answer.body.len());
    }
    let log = one.app.stop().await.log;
    assert!(log.len() < 64 * 1024, "{} bytes of log", log.len());
}
