//! All doors lead to the same bytes, and what a client sees of an image does not depend on the door.

use crate::support::pair::Pair;

#[tokio::test]
async fn every_door_gives_the_same_image() {
    // A pod on containerd and a laptop on docker must get the same image from the same docxy.
    let pair = Pair::open("[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]").await;
    let image = pair.ghcr.image("owner/image", "1");
    let doors = [
        (pair.client().host("ghcr.example.com"), "/v2/owner/image"),
        (pair.client().ns("ghcr.io"), "/v2/owner/image"),
        (pair.client().ns("ghcr.io"), "/v2/ghcr.io/owner/image"),
        (pair.client(), "/v2/ghcr.io/owner/image"),
    ];
    for (client, base) in doors {
        client
            .ask(&format!("{base}/manifests/1"))
            .await
            .assert_is(&image.root, &pair.ghcr);
        let by_digest = client.ask(&format!("{base}/manifests/{}", image.digest())).await;
        by_digest.assert_is(&image.root, &pair.ghcr);
        for blob in &image.blobs {
            client
                .ask(&format!("{base}/blobs/{}", blob.digest))
                .await
                .assert_is(blob, &pair.ghcr);
        }
    }
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    assert_eq!(pair.ghcr.count("/v2/ghcr.io/*"), 0, "{}", pair.ghcr.story());
}
