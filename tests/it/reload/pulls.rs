//! What is under way goes on under the configuration it began with.

use super::{TAKEN, next, reload, says, set, text, write};
use crate::cache::support::{Cached, blob_path, image_of};
use crate::support::client::Request;
use crate::support::stub::{Fault, Gate, On};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_slow_pull_outlives_a_hundred_reloads() {
    // An operator edits the configuration all day; a node in a village pulls one layer all day.
    let docxy = Cached::of(image_of(7001, &[256 * MIB]), "[network]\nsegments = 1\n").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(MIB);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut open = Request::get(path.clone()).open(docxy.app.addr()).await;
    assert_eq!(open.status, 200);
    let mut body = open.read(MIB / 2).await;
    for round in 0..100 {
        gate.allow(2 * MIB);
        // Every other time the registry's client is made anew.
        if round % 2 == 0 {
            set(&docxy.app, &format!("shared_max_age = \"{}m\"", round + 1));
        } else {
            set(&docxy.app, &format!("[timeouts]\nheaders = \"{}s\"", round + 20));
        }
        let line = reload(&docxy.app).await;
        assert!(says(&line, TAKEN), "{line}");
        let made_anew = line["fields"]["registries"]
            .as_str()
            .unwrap()
            .contains("docker.io");
        assert_eq!(made_anew, round % 2 == 1, "{line}");
        body.extend(open.read(MIB).await);
    }
    gate.open();
    body.extend(open.rest().await);
    assert_eq!(body.len(), layer.bytes.len());
    assert!(body == layer.bytes, "other bytes");
    docxy.stored(&layer).await;
    assert_eq!(docxy.stub.gets(&path).len(), 1, "{}", docxy.stub.story());
    assert!(docxy.get(&blob_path(&layer)).await.body == layer.bytes);
}

#[tokio::test]
async fn who_comes_after_a_reload_joins_what_began_before_it() {
    // Ten machines pull while the configuration changes: the registry still sends the layer once.
    let docxy = Cached::of(image_of(7002, &[4 * MIB]), "").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(MIB);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut first = Request::get(path.clone()).open(docxy.app.addr()).await;
    let mut bytes = first.read(MIB / 2).await;
    set(&docxy.app, "shared_max_age = \"2h\"\n");
    let line = reload(&docxy.app).await;
    assert!(says(&line, TAKEN), "{line}");
    assert_eq!(line["fields"]["changed"], "shared_max_age");
    let mut second = Request::get(path.clone()).open(docxy.app.addr()).await;
    assert_eq!(second.status, 200);
    let mut others = second.read(MIB / 2).await;
    gate.open();
    bytes.extend(first.rest().await);
    others.extend(second.rest().await);
    assert!(bytes == layer.bytes && others == layer.bytes, "other bytes");
    assert_eq!(docxy.stub.gets(&path).len(), 1, "{}", docxy.stub.story());
}

#[tokio::test]
async fn a_file_that_changes_is_taken_where_that_is_wanted() {
    // A configuration from a Kubernetes ConfigMap: nobody sends a signal into a container.
    let docxy = Cached::of(image_of(7003, &[1000]), "reload_on_change = true\n").await;
    let line = next(&docxy.app, || set(&docxy.app, "default_registry = \"ghcr.io\"")).await;
    assert!(says(&line, TAKEN), "{line}");
    assert_eq!(line["fields"]["changed"], "default_registry");
    let broken = text(&docxy.app).replace("\"ghcr.io\"", "\"ghcr.oi\"");
    let line = next(&docxy.app, || write(&docxy.app, &broken)).await;
    assert!(!says(&line, TAKEN), "{line}");
    let line = next(&docxy.app, || {
        write(&docxy.app, &broken.replace("ghcr.oi", "docker.io"));
    })
    .await;
    assert!(says(&line, TAKEN), "{line}");
    docxy.warm().await;
}
