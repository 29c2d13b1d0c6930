//! Something between docxy and its registry that says "200" to everything, and nothing that shows what it is about.

use crate::cache::{
    rights::{PRIVATE, contents, leaked, pull, registry, secret_image},
    support::Cached,
};
use crate::support::stub::{Fault, On};

const BOBS: &str = "bob/own";

/// No digest, no length, no page.
fn yes_to_everything() -> Fault {
    Fault::All(vec![
        Fault::Answer {
            status: 200,
            headers: vec![("content-type", "text/plain".to_owned())],
            body: "ok".to_owned(),
        },
        Fault::Chunked,
    ])
}

#[tokio::test]
async fn a_gateway_that_says_yes_to_everything_proves_nothing() {
    // Alice's private image is cached, and for a while a gateway answers in the registry's place. Its word is nobody's right,
    // and links her digests in nobody's repository: not while it speaks, and not when it is gone.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| app).await;
    let alice = docxy.client().login("alice", "alice-password");
    pull(&docxy, &alice, PRIVATE, "1").await;
    let bob = docxy.client().login("bob", "bob-password");
    let scope = format!("repository:{PRIVATE}:pull repository:{BOBS}:pull");
    let bob = bob.signed_in(&scope).await;
    let (mut tried, mut bytes) = (0, 0);
    for gone in [false, true] {
        docxy.stub.clear_faults();
        if !gone {
            docxy.stub.fault(On::path("/v2/*"), yes_to_everything());
        }
        for content in contents(&secret) {
            for repository in [PRIVATE, BOBS, "library/redis"] {
                for kind in ["manifests", "blobs"] {
                    let path = format!("/v2/{repository}/{kind}/{}", content.digest);
                    for answer in [docxy.get(&path).await, bob.once("GET", &path).await] {
                        let shown = leaked(&answer, &content);
                        if shown > 0 {
                            println!("gone {gone}: {path}: {}", answer.status);
                        }
                        tried += 1;
                        bytes += shown;
                    }
                }
            }
        }
    }
    let links = docxy.folder().records();
    let stolen = links
        .iter()
        .filter(|file| file.to_string_lossy().contains("bob"))
        .filter(|file| {
            let name = file.to_string_lossy();
            contents(&secret)
                .iter()
                .any(|content| name.contains(&content.digest[7..]))
        });
    assert_eq!(stolen.count(), 0, "{links:?}");
    println!("S4 a gateway that says yes to everything: {bytes} bytes in {tried} requests");
    assert_eq!(bytes, 0);
}
