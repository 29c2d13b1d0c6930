//! I6: files of the cache that were lost, cut off or overwritten. docxy starts, and serves every tag whose own record is
//! still there, with the upstream down.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rand::{Rng as _, rngs::StdRng};

use super::support::{Cached, Ended, dice, image_of};
use crate::support::{
    client::Request,
    image::Image,
    stub::{Fault, On, StubRegistry},
};

#[tokio::test]
async fn after_any_mutilation_it_starts_and_serves_what_has_its_record() {
    // 200 mutilations in `make soak`; distribution panics.
    mutilations(24).await;
}

#[tokio::test]
#[ignore = "200 mutilations; `make soak`"]
async fn soak_after_any_mutilation_it_starts_and_serves_what_has_its_record() {
    mutilations(200).await;
}

const REPOSITORIES: [&str; 3] = ["library/one", "library/two", "owner/three"];

async fn mutilations(count: usize) {
    let mut dice = dice(8);
    let mut ended = warm().await;
    ended.stub.down().await;
    let folder = ended.folder().path().to_owned();
    let copy = tempfile::tempdir().unwrap();
    copied(&folder, copy.path());
    let mut records: Vec<PathBuf> = ended.folder().records();
    records.sort();
    let (mut served, mut expected) = (0, 0);
    for n in 0..count {
        fs::remove_dir_all(&folder).unwrap();
        copied(copy.path(), &folder);
        // Each record once at least, then any.
        let file = records[if n < records.len() {
            n
        } else {
            dice.random_range(0..records.len())
        }]
        .clone();
        let what = mutilate(&mut dice, &folder, &file);
        let docxy = ended.start().await;
        for repository in REPOSITORIES {
            let own = Path::new("repositories")
                .join("docker.io")
                .join(repository.replace('/', "~"));
            if file.strip_prefix(&folder).unwrap().starts_with(own) && !what.starts_with("added") {
                continue;
            }
            expected += 1;
            let whole = offline(&docxy, repository).await;
            if let Err(missing) = whole {
                println!("{what}: {repository}: {missing}");
            } else {
                served += 1;
            }
        }
        ended = docxy.stop().await;
    }
    println!(
        "I6 {count} mutilations of {} records: {count} starts, {served} of {expected} tags served offline",
        records.len()
    );
    assert_eq!(served, expected);
}

/// One docxy that has pulled an image of each repository, and has ended.
async fn warm() -> Ended {
    let images = (60..)
        .zip(REPOSITORIES)
        .map(|(seed, name)| (name, image_of(seed, &[5000, 70_000])));
    let stub = images.fold(StubRegistry::builder(), |stub, (name, image)| {
        stub.image(name, "1", image)
    });
    let docxy = Cached::start(stub, "[cache]\nrevalidate_timeout = \"1s\"").await;
    for repository in REPOSITORIES {
        offline(&docxy, repository).await.unwrap();
        for content in contents(&docxy.stub.image(repository, "1")) {
            docxy.stored(content).await;
        }
    }
    docxy.stop().await
}

fn contents(image: &Image) -> impl Iterator<Item = &crate::support::image::Content> {
    image.blobs.iter().chain([&image.root])
}

/// Pulls the tag and all below it; says what did not come.
async fn offline(docxy: &Cached, repository: &str) -> Result<(), String> {
    let image = docxy.stub.image(repository, "1");
    let tag = docxy.get(&format!("/v2/{repository}/manifests/1")).await;
    if tag.status != 200 || tag.body != image.root.bytes {
        return Err(format!("tag: {}", tag.everything()));
    }
    if tag.header("content-type") != Some(&*image.root.media_type) {
        return Err(format!("media type: {:?}", tag.headers));
    }
    for blob in &image.blobs {
        let answer = Request::get(format!("/v2/{repository}/blobs/{}", blob.digest));
        let answer = docxy.send(answer).await;
        if answer.status != 200 || answer.body != blob.bytes {
            return Err(format!(
                "{}: {} {}",
                blob.digest,
                answer.status,
                answer.body.len()
            ));
        }
    }
    Ok(())
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

/// What was done to the file, or beside it.
fn mutilate(dice: &mut StdRng, folder: &Path, file: &Path) -> String {
    let name = file.strip_prefix(folder).unwrap().display();
    let bytes = fs::read(file).unwrap();
    let noise: Vec<u8> = (0..dice.random_range(1..2000)).map(|_| dice.random()).collect();
    match dice.random_range(0..8) {
        0 => {
            fs::remove_file(file).unwrap();
            format!("removed {name}")
        }
        1 => {
            fs::write(file, b"").unwrap();
            format!("emptied {name}")
        }
        2 => {
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
            format!("halved {name}")
        }
        3 => {
            fs::write(file, noise).unwrap();
            format!("garbage in {name}")
        }
        4 => {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
            format!("a folder in the place of {name}")
        }
        5 => {
            fs::write(file, b"{\"digest\":[],\"at\":-1,\"media_type\":null}").unwrap();
            format!("other JSON in {name}")
        }
        6 => {
            let beside = file.with_file_name("zz-garbage.tmp");
            fs::write(beside, noise).unwrap();
            format!("added garbage beside {name}")
        }
        _ => {
            let places = [
                "blobs/sha256/zz",
                "blobs/md5",
                "partials",
                "quarantine",
                "repositories/x",
                "pins",
                ".",
            ];
            let place = folder.join(places[dice.random_range(0..places.len())]);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("\u{1f40b} garbage"), &noise).unwrap();
            fs::write(place.join("sha256-0000.1"), noise).unwrap();
            format!("added garbage in {}", place.display())
        }
    }
}

#[tokio::test]
async fn losing_every_record_but_the_blobs_loses_no_blob() {
    // Somebody deletes all that looks like a database: with the upstream up nothing is downloaded twice.
    let ended = warm().await;
    for record in ended.folder().records() {
        fs::remove_file(record).unwrap();
    }
    ended.stub.forget();
    // Slow enough that a question that stops at the status costs no bytes.
    ended.stub.fault(On::get("*/blobs/*"), Fault::Pace(1_000_000));
    let docxy = ended.start().await;
    for repository in REPOSITORIES {
        offline(&docxy, repository).await.unwrap();
    }
    let sent = docxy.stub.sent("*/blobs/*");
    println!("I6 all records lost: {sent} bytes of blobs sent again by the upstream");
    assert!(sent < 70_000, "{}", docxy.stub.story());
}

#[tokio::test]
async fn two_docxies_do_not_share_a_folder() {
    // One owner for each cache folder: the second says whose it is and ends.
    let docxy = Cached::of(image_of(69, &[1000]), "").await;
    let path = docxy.folder().path().to_str().unwrap().to_owned();
    let second = crate::support::app::TestApp::builder()
        .config(&format!("[cache]\nmode = \"disk\"\npath = \"{path}\""))
        .fails()
        .await;
    assert_ne!(second.status.code(), Some(0));
    assert!(second.log.contains(&path), "{}", second.log);
    docxy.pull_all().await;
}
