//! The tools tested: a stub that is wrong makes every other test worthless.

mod contents;
mod faults;
mod lines;
mod signing;

use super::{image::Image, stub::StubRegistry};

fn layer_path(repository: &str, image: &Image) -> String {
    format!("/v2/{repository}/blobs/{}", image.layer_blobs()[0].digest)
}

async fn open_stub() -> (StubRegistry, Image) {
    let stub = StubRegistry::builder()
        .image("a/b", "1", Image::layers(2))
        .start()
        .await;
    let image = stub.image("a/b", "1");
    (stub, image)
}
