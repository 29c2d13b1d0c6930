//! An authority's certificate goes from one docxy to the next.

use std::time::Duration;

use super::line::{Line, is_alive};
use crate::acme::pebble::{Recipe, issued, shown};
use crate::cache::support::{REPOSITORY, blob_path, image_of};
use crate::support::{
    client::Request,
    image::sha256,
    stub::{Fault, Gate, On, StubRegistry},
    within,
};

/// Seconds; renewed at its half.
const LIFE: u32 = 16;

#[tokio::test]
async fn the_next_process_shows_the_certificate_and_renews_it() {
    // Someone who upgrades a docxy that has its name from Let's Encrypt: an order a restart would soon be one too many, two
    // processes that renew would be two, and the pull that goes on in the old one must not notice any of it.
    let pebble = Recipe::default()
        .config("certificateValidityPeriod", LIFE)
        .start()
        .await;
    let image = image_of(990, &[2_000_000]);
    let layer = image.layer_blobs()[0].clone();
    let stub = StubRegistry::builder()
        .image(REPOSITORY, "7", image)
        .start()
        .await;
    let gate = Gate::after(100_000);
    stub.fault(On::get("*/blobs/*").first(1), Fault::Body(gate.clone()));
    let mut line = Line::built(stub, pebble.asked_for(&["m.docxy.test"])).await;
    pebble.lead_to(line.app());
    issued(line.app()).await;
    let first = shown(line.app(), "m.docxy.test").await;
    let mut download = Request::get(blob_path(&layer))
        .header("Host", "m.docxy.test")
        .tls(pebble.client().await, "m.docxy.test")
        .open(line.app().tls_addr())
        .await;
    let mut body = within("the layer's beginning", download.read(50_000)).await;

    let old = line.serving();
    line.hand_over().await;
    assert_eq!(
        (shown(line.app(), "m.docxy.test").await, pebble.orders()),
        (first.clone(), 1),
        "the new process has it from the folder"
    );
    pebble.front.asked_for("/certZ/", 2).await;
    let renewed = async {
        while shown(line.app(), "m.docxy.test").await == first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the new certificate", renewed).await;
    assert_eq!(pebble.orders(), 2, "one process renews");
    assert!(is_alive(old), "it has a pull to finish");

    gate.open();
    body.extend(within("the rest of the layer", download.rest()).await);
    assert_eq!(sha256(&body), layer.digest);
    line.ends().await;
}
