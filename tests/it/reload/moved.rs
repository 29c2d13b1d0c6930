//! A registry's name that means another registry now (threats S1, S4): nothing of the one before is shown to it, and nothing
//! that it keeps to itself is given to whom the one before let in.

use super::{REFUSED, TAKEN, reload, says, set, write};
use crate::cache::support::{Cached, image_of};
use crate::support::client::Request;
use crate::support::image::Image;
use crate::support::stub::{Auth, Fault, Gate, On, StubRegistry};

const MIB: usize = 1024 * 1024;

fn image() -> Image {
    image_of(7040, &[4 * MIB])
}

async fn moves(docxy: &Cached, to: &StubRegistry) {
    let keys = format!("urls = [{:?}]\nrealms = [\"{}\"]\n", to.url(), to.token_host());
    set(&docxy.app, &format!("[registries.\"docker.io\"]\n{keys}"));
    let told = reload(&docxy.app).await;
    assert!(says(&told, TAKEN), "{told}");
    assert_eq!(told["fields"]["registries"], "docker.io");
}

#[tokio::test]
async fn what_was_public_there_is_not_public_here() {
    // A team moves from an open registry to one that wants a login: what is stored is for those who may have it there.
    let private = StubRegistry::builder()
        .auth(Auth::Token)
        .user("ann", "ann-password")
        .private("library/redis", &["ann"])
        .image("library/redis", "7", image())
        .start()
        .await;
    let docxy = Cached::of(image(), "").await;
    docxy.warm().await;
    let (_, path) = docxy.layer();
    assert_eq!(docxy.get(&path).await.status, 200);
    moves(&docxy, &private).await;
    let refused = docxy.get(&path).await;
    assert_eq!(refused.status, 401, "{}", private.story());
    // Nor after a restart.
    let config = format!(
        "[registries.\"docker.io\"]\nurls = [{:?}]\nrealms = [\"{}\"]\n",
        private.url(),
        private.token_host()
    );
    let docxy = docxy.stop().await.start_with(&config).await;
    assert_eq!(docxy.get(&path).await.status, 401, "{}", private.story());
}

#[tokio::test]
async fn nobody_joins_a_download_from_where_it_was() {
    // The registry's old host is slow, or not to be trusted any more: who comes now asks the new one, and shows his
    // credential to that one alone.
    let new = StubRegistry::builder()
        .image("library/redis", "7", image())
        .start()
        .await;
    let docxy = Cached::of(image(), "[network]\nsegments = 1\n").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(MIB);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut first = Request::get(path.clone()).open(docxy.app.addr()).await;
    let mut bytes = first.read(MIB / 2).await;
    moves(&docxy, &new).await;
    let asked = docxy.stub.requests().len();
    let second = docxy.get(&path).await;
    assert!(second.body == layer.bytes, "{}", new.story());
    assert!(!new.gets(&path).is_empty(), "{}", new.story());
    assert_eq!(docxy.stub.requests().len(), asked, "{}", docxy.stub.story());
    gate.open();
    bytes.extend(first.rest().await);
    assert!(
        bytes == layer.bytes,
        "the one that was under way ends as it began"
    );
}

#[tokio::test]
async fn a_file_that_is_being_written_or_gone_changes_nothing() {
    // An editor, or a copy over a slow network, leaves the file empty or away for a moment: without its rules docxy would be
    // open.
    let docxy = Cached::of(
        image_of(7041, &[1000]),
        "reload_on_change = true\n[[access.rules]]\neffect = \"deny\"\n",
    )
    .await;
    let path = "/v2/library/redis/manifests/7";
    assert_eq!(docxy.get(path).await.status, 403);
    let whole = super::text(&docxy.app);
    write(&docxy.app, "");
    // Said where another file would be taken.
    let seen = |words: &'static str| docxy.app.logged(words, move |line| says(line, words));
    seen("is empty: the configuration from before goes on").await;
    assert_eq!(docxy.get(path).await.status, 403);
    std::fs::remove_file(super::file(&docxy.app)).unwrap();
    seen("is gone or can't be read: the configuration from before goes on").await;
    let told = reload(&docxy.app).await;
    assert!(says(&told, REFUSED), "{told}");
    assert_eq!(docxy.get(path).await.status, 403);
    let told = super::next(&docxy.app, || {
        write(&docxy.app, &format!("{whole}\n# whole again\n"));
    })
    .await;
    assert!(says(&told, TAKEN), "{told}");
    assert_eq!(docxy.get(path).await.status, 403);
}
