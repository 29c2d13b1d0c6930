//! One download for many: it carries the rights of all who joined it, tells its head before its body, and when it comes to
//! nothing all hear of it together.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::support::{Cached, Over, image_of};
use crate::support::{
    client::Request,
    image::Content,
    stub::{Auth, Fault, Gate, Line, On, StubRegistry},
    within,
};

const REPOSITORY: &str = "acme/app";
const CUT: usize = 300_000;

/// Alice and carol both read a layer that only alice's right was shown for; her connection breaks, and the registry's next
/// answers are these.
async fn after_a_cut(refusals: On) -> (Cached, Content, Vec<Vec<u8>>) {
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .user("carol", "carol-password")
        .private(REPOSITORY, &["alice", "carol"])
        .image(REPOSITORY, "1", image_of(330, &[1_000_000]))
        .start()
        .await;
    let docxy = Cached::built(stub, |app| app).await;
    let image = docxy.stub.image(REPOSITORY, "1");
    let layer = image.layer_blobs()[0].clone();
    let path = format!("/v2/{REPOSITORY}/blobs/{}", layer.digest);
    let gate = Gate::after(CUT);
    let broken = Fault::All(vec![Fault::Body(gate.clone()), Fault::CutAt(CUT + 1000)]);
    docxy.stub.fault(On::get("*/blobs/*").nth(1), broken);
    docxy.stub.fault(refusals, Fault::Status(403));
    let mut pulls = Vec::new();
    for (name, password) in [("alice", "alice-password"), ("carol", "carol-password")] {
        let who = docxy.client().login(name, password);
        let who = who.signed_in(&format!("repository:{REPOSITORY}:pull")).await;
        who.get(&format!("/v2/{REPOSITORY}/manifests/1"))
            .await
            .assert_is(&image.root, &docxy.stub);
        let mut open = who.request("GET", &path).open(docxy.app.addr()).await;
        assert_eq!(open.status, 200, "{name}");
        let bytes = within("a beginning", open.read(100_000)).await;
        pulls.push((open, bytes));
    }
    gate.held().await;
    assert_eq!(docxy.stub.gets("*/blobs/*").len(), 1, "{}", docxy.stub.story());
    gate.open();
    let bodies = pulls.into_iter().map(|(mut open, mut bytes)| async move {
        bytes.extend(within("a body", open.rest()).await);
        bytes
    });
    let bodies = join_all(bodies).await;
    (docxy, layer, bodies)
}

#[tokio::test]
async fn a_flight_goes_on_with_the_right_of_another_who_joined() {
    // The token of who came first ran out or was taken away in the middle: nobody else's pull may break for that.
    let (docxy, layer, bodies) = after_a_cut(On::get("*/blobs/*").nth(2)).await;
    assert!(
        bodies.iter().all(|body| *body == layer.bytes),
        "{}",
        docxy.stub.story()
    );
    let shown: Vec<_> = docxy
        .stub
        .gets("*/blobs/*")
        .into_iter()
        .map(|seen| {
            (
                seen.user.clone().unwrap_or_default(),
                seen.header("range").map(str::to_owned),
            )
        })
        .collect();
    println!("1 two rights on one flight, the first refused in its middle: {shown:?}");
    assert_eq!(shown.len(), 3, "{}", docxy.stub.story());
    assert_eq!((&*shown[0].0, &*shown[2].0), ("alice", "carol"));
    docxy.stored(&layer).await;
}

#[tokio::test]
async fn a_flight_that_nobodys_right_opens_any_more_is_denied_and_leaves_its_part() {
    // Each right was tried once; what came stays for who has one again.
    let (docxy, layer, bodies) = after_a_cut(On::get("*/blobs/*").after(1)).await;
    for body in &bodies {
        assert!(body.len() < layer.bytes.len() && layer.bytes.starts_with(body));
    }
    let asked = docxy.stub.gets("*/blobs/*").len();
    println!("1 both rights refused in the middle: {asked} GET");
    docxy.stub.clear_faults();
    docxy.stub.forget();
    let alice = docxy.client().login("alice", "alice-password");
    alice
        .get(&format!("/v2/{REPOSITORY}/blobs/{}", layer.digest))
        .await
        .assert_is(&layer, &docxy.stub);
    let sent = docxy.stub.sent("*/blobs/*");
    assert!(
        sent <= layer.bytes.len() - CUT + 64 * 1024,
        "{sent}\n{}",
        docxy.stub.story()
    );
    assert!(asked <= 8, "{asked}");
}

#[tokio::test]
async fn the_head_goes_out_before_the_body_comes() {
    // Clients give up after 30 s without headers; a storage that is slow to begin must not cost them the pull.
    let docxy = Cached::of(image_of(331, &[500_000]), "").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::closed();
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut open = within("the head", Request::get(&*path).open(docxy.app.addr())).await;
    let mut ranged = within(
        "the head of a range",
        Request::get(&*path)
            .header("Range", "bytes=400000-")
            .open(docxy.app.addr()),
    )
    .await;
    assert_eq!((open.status, ranged.status), (200, 206));
    assert_eq!(
        open.headers["content-length"],
        layer.bytes.len().to_string().as_str()
    );
    gate.open();
    assert!(within("the body", open.rest()).await == layer.bytes);
    assert!(within("the range", ranged.rest()).await == layer.bytes[400_000..]);
    assert_eq!(docxy.stub.gets("*/blobs/*").len(), 1);
}

#[tokio::test]
async fn a_herd_behind_a_registry_that_is_silent_hears_of_it_together() {
    // The layer was evicted, the registry is a black hole: each client in its turn would be minutes for the last.
    let config = "[timeouts]\nconnect = \"1s\"\nheaders = \"1s\"";
    let docxy = Cached::of(image_of(332, &[100_000]), config).await;
    docxy.warm().await;
    let (layer, path) = docxy.layer();
    let ended = docxy.stop().await;
    std::fs::remove_file(ended.folder().blob(&layer.digest)).unwrap();
    ended.stub.turn(Line::BlackHole).await;
    let docxy = ended.start().await;
    let begin = Instant::now();
    let to = docxy.app.addr();
    let answers = join_all((0..12).map(|_| {
        let path = path.clone();
        async move { (Over::Http1.get(to, &path, None).await.status, begin.elapsed()) }
    }))
    .await;
    let last = answers.iter().map(|(_, after)| *after).max().unwrap();
    println!("1 12 clients on an evicted blob before a black hole: the last heard after {last:.1?}");
    assert!(answers.iter().all(|(status, _)| *status >= 500));
    assert!(last < Duration::from_secs(5), "{last:?}");
}
