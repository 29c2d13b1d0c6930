//! R8: the machine's clock jumps: a battery that died, a first NTP answer, a leap of ten years. Nothing is thrown away for it
//! and nothing is asked in a loop.
//!
//! libfaketime stands between docxy and the clock of the wall, and leaves the monotonic one alone, as a jump does.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::support::{Cached, TAG, blob_path, image_of};
use crate::support::{
    image::Content,
    stub::{Auth, StubRegistry},
};

const DAY: i64 = 24 * 3600;
const JUMPS: [i64; 6] = [DAY, -DAY, 3650 * DAY, -3650 * DAY, 30 * DAY, -30 * DAY];

/// Everything that hangs on time, at its default or short.
const CONFIG: &str = "[cache]\ninactive = \"20d\"\npartials = \"1d\"\n[[cache.tags]]\nfresh = \"1h\"\n";

fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| {
        let folder = entry.path().join("faketime");
        folder.join("libfaketime.so.1")
    });
    found
        .into_iter()
        .find(|path| path.exists())
        .expect("libfaketime is a package of ci/packages.txt")
}

/// The wall clock of docxy: real time plus what the file says.
struct Wall(PathBuf);

impl Wall {
    fn new(folder: &Path) -> Self {
        let wall = Self(folder.join("wall"));
        wall.jump(0);
        wall
    }

    fn jump(&self, seconds: i64) {
        let next = self.0.with_extension("next");
        fs::write(&next, format!("{seconds:+}\n")).unwrap();
        fs::rename(next, &self.0).unwrap();
    }
}

async fn docxy(stub: StubRegistry, config: &'static str, wall: &Wall) -> Cached {
    let file = wall.0.to_str().unwrap().to_owned();
    Cached::built(stub, move |app| {
        app.config(config)
            .env("LD_PRELOAD", library().to_str().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", file.as_str())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
    })
    .await
}

#[tokio::test]
async fn a_jump_while_running_or_between_runs_throws_nothing_away() {
    // A small board without a battery starts in 1970 and is in the present a minute later.
    let folder = tempfile::tempdir().unwrap();
    let wall = Wall::new(folder.path());
    let image = image_of(170, &[1000, 20_000, 70_000]);
    let stub = StubRegistry::builder()
        .image("library/redis", "7", image)
        .start()
        .await;
    let mut docxy = docxy(stub, CONFIG, &wall).await;
    docxy.warm().await;
    let contents: Vec<Content> = docxy
        .image()
        .blobs
        .iter()
        .chain([&docxy.image().root])
        .cloned()
        .collect();
    let (mut kept, mut tried, mut asked_running, mut blobs_again) = (0, 0, 0, 0);
    for jump in JUMPS {
        docxy.stub.forget();
        wall.jump(jump);
        docxy.pull_all().await;
        believes(&docxy, jump).await;
        docxy.pull_all().await;
        asked_running += docxy.stub.requests().len();
        docxy = docxy.again().await;
        docxy.pull_all().await;
        wall.jump(0);
        docxy.pull_all().await;
        docxy = docxy.again().await;
        docxy.pull_all().await;
        tried += contents.len();
        kept += contents
            .iter()
            .filter(|content| docxy.folder().holds(&content.digest))
            .count();
        blobs_again += docxy.stub.gets("*/blobs/*").len();
        assert!(docxy.stub.requests().len() <= 5, "a loop: {}", docxy.stub.story());
    }
    println!(
        "R8 {} jumps, running and between runs: {kept} of {tried} contents kept, {asked_running} upstream requests while \
         running, {blobs_again} blobs fetched again",
        JUMPS.len()
    );
    assert_eq!(
        (kept, asked_running, blobs_again),
        (tried, 0, 0),
        "{}",
        docxy.stub.story()
    );
}

/// The jump reached docxy: its log is written in another year, or on another day.
async fn believes(docxy: &Cached, jump: i64) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let there = SystemTime::UNIX_EPOCH + Duration::from_secs(now.saturating_add_signed(jump));
    let day = day_of(there);
    let what = format!("a line of {day}");
    let told = docxy.app.logged(&what, |line| {
        line["timestamp"]
            .as_str()
            .is_some_and(|time| time.starts_with(&day))
    });
    told.await;
}

/// `2026-11-22`; a jump does not end at midnight often enough to matter.
fn day_of(time: SystemTime) -> String {
    let text = httpdate::fmt_http_date(time);
    let parts: Vec<&str> = text.split(' ').collect();
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(parts[2]).unwrap() / 3 + 1;
    format!("{}-{month:02}-{}", parts[3], parts[1])
}

#[tokio::test]
async fn tokens_survive_a_jump() {
    // A token that looks expired, or good for ten years, costs one question more and no pull.
    let folder = tempfile::tempdir().unwrap();
    let wall = Wall::new(folder.path());
    let image = image_of(171, &[2000; 13]);
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .token_life(60)
        .image("library/redis", "7", image)
        .start()
        .await;
    let docxy = docxy(stub, "", &wall).await;
    let layers: Vec<Content> = docxy.image().layer_blobs().into_iter().cloned().collect();
    for (layer, jump) in layers.iter().zip([0].into_iter().chain(JUMPS).chain(JUMPS)) {
        wall.jump(jump);
        docxy
            .client()
            .get(&blob_path(layer))
            .await
            .assert_is(layer, &docxy.stub);
    }
    // The other way round: docxy's clock stands, the token is dead upstream.
    docxy.stub.advance(Duration::from_hours(1));
    docxy
        .client()
        .get(TAG)
        .await
        .assert_is(&docxy.image().root, &docxy.stub);
    let asked = docxy.stub.requests().len();
    println!(
        "R8 {} pulls between jumps: all right, {asked} upstream requests",
        layers.len()
    );
    assert!(asked < 10 * layers.len(), "a loop: {}", docxy.stub.story());
}

#[tokio::test]
async fn files_with_times_of_another_age_are_kept() {
    // A cache that was copied or restored: last use is a file's time, and any time may stand there.
    let sizes = [1000, 2000, 3000, 4000, 5000, 6000];
    let docxy = Cached::of(image_of(172, &sizes), CONFIG).await;
    docxy.warm().await;
    let image = docxy.image();
    let ended = docxy.stop().await;
    let now = SystemTime::now();
    let year = Duration::from_hours(24 * 365);
    let times = [
        SystemTime::UNIX_EPOCH,
        now + Duration::from_hours(24),
        now + 10 * year,
        now + 100 * year,
    ];
    let files: Vec<PathBuf> = ended.folder().files();
    for (n, file) in files.iter().enumerate() {
        let time = fs::FileTimes::new().set_modified(times[n % times.len()]);
        fs::OpenOptions::new()
            .write(true)
            .open(file)
            .unwrap()
            .set_times(time)
            .unwrap();
    }
    let docxy = ended.start_with("[cache]\ninactive = \"never\"").await;
    docxy.stub.forget();
    docxy.pull_all().await;
    let kept = image
        .blobs
        .iter()
        .filter(|blob| docxy.folder().holds(&blob.digest))
        .count();
    let asked = docxy.stub.gets("*/blobs/*").len();
    println!(
        "R8 {} files with times from 1970 to 2126: {kept} of {} blobs kept, {asked} fetched again",
        files.len(),
        image.blobs.len()
    );
    assert_eq!((kept, asked), (image.blobs.len(), 0));
}
