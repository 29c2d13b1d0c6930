//! Something between docxy and its registry that answers in the registry's place: a captive portal, a gateway that sends
//! everyone without a session to a login page. Its "200" and its redirects are nobody's right (S4, S5).

use crate::cache::{
    rights::{PRIVATE, contents, leaked, pull, registry, secret_image},
    support::Cached,
};
use crate::support::{
    image::sha256,
    stub::{Fault, On},
};

fn page() -> Fault {
    Fault::Answer {
        status: 200,
        headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
        body: "<html>please log in</html>".to_owned(),
    }
}

#[tokio::test]
async fn a_login_page_makes_nothing_public() {
    // A private image is cached. Then a portal answers every request: with a page, or with a redirect to one. Nobody without
    // a right gets a byte, then or later.
    let (mut tried, mut bytes) = (0, 0);
    for redirected in [false, true] {
        for first in ["manifests", "blobs", "new blob"] {
            let secret = secret_image();
            let docxy = Cached::built(registry(&secret).await, |app| app).await;
            let alice = docxy.client().login("alice", "alice-password");
            pull(&docxy, &alice, PRIVATE, "1").await;
            let portal = if redirected {
                Fault::redirect(302, "/login")
            } else {
                page()
            };
            docxy.stub.fault(On::path("/login"), page());
            docxy.stub.fault(On::path("/v2/*"), portal);
            let opening = match first {
                "manifests" => format!("/v2/{PRIVATE}/manifests/{}", secret.root.digest),
                "blobs" => format!("/v2/{PRIVATE}/blobs/{}", secret.blobs[0].digest),
                _ => format!("/v2/{PRIVATE}/blobs/{}", sha256(b"never seen")),
            };
            docxy.get(&opening).await;
            for gone in [false, true] {
                if gone {
                    docxy.stub.clear_faults();
                }
                for content in contents(&secret) {
                    for (kind, repository) in [
                        ("manifests", PRIVATE),
                        ("blobs", PRIVATE),
                        ("blobs", "library/redis"),
                    ] {
                        let path = format!("/v2/{repository}/{kind}/{}", content.digest);
                        let answer = docxy.get(&path).await;
                        tried += 1;
                        let shown = leaked(&answer, &content);
                        if shown > 0 {
                            println!("redirected {redirected}, first {first}, gone {gone}: {path}");
                        }
                        bytes += shown;
                    }
                }
            }
        }
    }
    println!("S4 a private image behind a login page: {bytes} bytes in {tried} requests");
    assert_eq!(bytes, 0);
}
