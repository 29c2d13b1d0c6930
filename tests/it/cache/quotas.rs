//! C1: how much of each registry may be stored. A registry that is pulled wildly takes room from none of the others.

use rand::Rng as _;
use serde_json::Value;

use super::support::{Cached, dice, eventually, image_of};
use crate::admin::{ask, json, socket};
use crate::support::image::{Content, Image};
use crate::support::stub::StubRegistry;

const QUOTA: u64 = 3_000_000;

/// What `docxy cache du --json` says.
async fn usage(docxy: &Cached) -> Value {
    json(&ask(&socket(&docxy.app), "GET", "/api/v1/cache", "").await)
}

fn stored(usage: &Value, registry: &str) -> u64 {
    usage["registries"][registry]["bytes"].as_u64().unwrap_or(0)
}

/// docker.io with a quota, before it team.test without one.
async fn two(image: &Image, teams: &Image) -> (Cached, StubRegistry) {
    let team = StubRegistry::builder()
        .image("team/app", "1", teams.clone())
        .start()
        .await;
    let stub = StubRegistry::builder()
        .image("library/redis", "7", image.clone())
        .start()
        .await;
    let (url, host) = (team.url(), team.token_host());
    let docxy = Cached::built(stub, move |app| {
        app.config(&format!(
            "[registries.\"docker.io\"]\ncache_quota = \"{QUOTA}\"\n[registries.\"team.test\"]\nurls = [{url:?}]\n\
             allow_private_addresses = true\nrealms = [{host:?}]\n"
        ))
    })
    .await;
    (docxy, team)
}

fn at(registry: &str, repository: &str, blob: &Content) -> String {
    format!("/v2/{registry}/{repository}/blobs/{}", blob.digest)
}

#[tokio::test]
async fn a_registry_that_is_pulled_wildly_pushes_out_nothing_of_another() {
    // One team's nightly scan of a huge registry must not make all others pull anew.
    let sizes: Vec<usize> = (0..24).map(|n| 60_000 + n * 31_000).collect();
    let (image, teams) = (
        image_of(7100, &sizes),
        image_of(7101, &[900_000, 800_000, 700_000]),
    );
    let (docxy, team) = two(&image, &teams).await;
    let blobs: Vec<Content> = image.layer_blobs().into_iter().cloned().collect();
    for blob in &teams.blobs {
        docxy
            .get(&at("team.test", "team/app", blob))
            .await
            .assert_is(blob, &team);
        docxy.stored(blob).await;
    }
    let teams_bytes: u64 = teams.blobs.iter().map(|blob| blob.bytes.len() as u64).sum();
    let mut dice = dice(7102);
    let mut most = 0;
    for _ in 0..120 {
        let blob = &blobs[dice.random_range(0..blobs.len())];
        docxy
            .get(&at("docker.io", "library/redis", blob))
            .await
            .assert_is(blob, &docxy.stub);
        let usage = usage(&docxy).await;
        most = most.max(stored(&usage, "docker.io"));
        assert_eq!(usage["quotas"]["docker.io"], QUOTA);
        assert_eq!(stored(&usage, "team.test"), teams_bytes);
    }
    println!(
        "C1 120 pulls of {} blobs with a quota of {QUOTA}: at most {most} stored",
        blobs.len()
    );
    assert!(most <= QUOTA && most > QUOTA / 2);
    // By the files, too.
    let folder = docxy.folder();
    let kept: u64 = blobs
        .iter()
        .filter(|blob| folder.holds(&blob.digest))
        .map(|blob| blob.bytes.len() as u64)
        .sum();
    assert!(kept <= QUOTA && kept > QUOTA / 2, "{kept}");
    // The same after a restart, from what the files say.
    let docxy = docxy.again().await;
    let usage = usage(&docxy).await;
    assert!(stored(&usage, "docker.io") <= QUOTA && stored(&usage, "docker.io") > QUOTA / 2);
    team.forget();
    for blob in &teams.blobs {
        docxy
            .get(&at("team.test", "team/app", blob))
            .await
            .assert_is(blob, &team);
    }
    assert_eq!(team.gets("*/blobs/*").len(), 0, "{}", team.story());
}

#[tokio::test]
async fn a_blob_larger_than_its_registrys_quota_is_served_and_not_kept() {
    // A quota makes nothing unreachable, and a giant empties nothing.
    let image = image_of(7103, &[4_000_000, 100_000]);
    let (docxy, _team) = two(&image, &image_of(7104, &[1000])).await;
    let blobs = image.layer_blobs();
    let (giant, small) = (blobs[0], blobs[1]);
    docxy
        .get(&at("docker.io", "library/redis", small))
        .await
        .assert_is(small, &docxy.stub);
    docxy.stored(small).await;
    for _ in 0..2 {
        docxy
            .get(&at("docker.io", "library/redis", giant))
            .await
            .assert_is(giant, &docxy.stub);
    }
    docxy.no_partials().await;
    let folder = docxy.folder();
    assert!(!folder.holds(&giant.digest) && folder.holds(&small.digest));
}

#[tokio::test]
async fn what_two_registries_hold_counts_to_both_and_stays_the_others() {
    // The same base image in two registries is stored once; the quota of one does not take it from the other.
    let image = image_of(7105, &[2_000_000, 1_500_000]);
    let (docxy, team) = two(&image, &image).await;
    let blobs = image.layer_blobs();
    for blob in &blobs {
        docxy
            .get(&at("team.test", "team/app", blob))
            .await
            .assert_is(blob, &team);
        docxy.stored(blob).await;
    }
    for blob in &blobs {
        docxy
            .get(&at("docker.io", "library/redis", blob))
            .await
            .assert_is(blob, &docxy.stub);
    }
    let folder = docxy.folder();
    let below = async {
        while stored(&usage(&docxy).await, "docker.io") > QUOTA {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    crate::support::within("docker.io to be below its quota", below).await;
    let usage = usage(&docxy).await;
    assert_eq!(stored(&usage, "team.test"), 3_500_000);
    assert!(blobs.iter().all(|blob| folder.holds(&blob.digest)));
    eventually("nothing to be lost", || {
        blobs.iter().all(|blob| folder.holds(&blob.digest))
    })
    .await;
}
