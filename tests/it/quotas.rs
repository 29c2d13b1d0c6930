//! R2: pull limits. How much is asked, with which account, and what clients get when nothing is left.

mod accounts;
mod elsewhere;
mod figures;
mod scarce;
mod spent;

use crate::cache::support::Cached;
use crate::support::{
    image::Image,
    stub::{Auth, Quota, StubRegistry},
};

const ALICE: (&str, &str) = ("alice", "alice-password");

pub fn name(n: usize) -> String {
    format!("team/image-{n}")
}

fn tag(n: usize) -> String {
    format!("/v2/{}/manifests/1", name(n))
}

/// A registry that counts like Docker Hub, with so many images, each another.
pub async fn hub(quota: Quota, images: usize) -> StubRegistry {
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user(ALICE.0, ALICE.1)
        .user("bob", "bob-password")
        .quota(quota);
    let with_images = (0..images).fold(stub, |stub, n| {
        stub.image(&name(n), "1", Image::layers(1).seed(3000 + n as u64))
    });
    with_images.start().await
}

/// docxy before it, with an account of its own there.
async fn signed_in(stub: StubRegistry, keys: &str) -> Cached {
    let keys = format!("[registries.\"docker.io\"]\n{keys}\n");
    Cached::built(stub, move |app| {
        app.configured("docker.io", ALICE.0, ALICE.1).config(&keys)
    })
    .await
}
