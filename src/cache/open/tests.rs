use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cache::OpenError;
use crate::cache::disk::Real;
use crate::cache::shelf::{Shelf, digest, name, record, tag};
use crate::oci::media;
use crate::telemetry::Metrics;

#[test]
fn a_second_docxy_refuses_the_folder() {
    // Two that sweep and evict in one folder would pull files from under each other.
    let shelf = Shelf::new();
    let config = shelf.config();
    let second = crate::cache::Store::open(config.clone(), std::sync::Arc::new(Real), Metrics::default());
    let message = second.unwrap_err().to_string();
    assert!(message.contains(&shelf.path().display().to_string()), "{message}");
    assert!(
        message.contains(&format!("process {}", std::process::id())),
        "{message}"
    );
}

#[test]
fn the_folder_is_private() {
    // Others on the machine must not read private images out of it.
    use std::os::unix::fs::PermissionsExt;
    let shelf = Shelf::new();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(shelf.path(), open).unwrap();
    let shelf = shelf.restarted(|_| {}).unwrap();
    shelf
        .store
        .put_tag(&name("a.example/x"), &tag("1"), record(&digest(1), "oci", 1));
    shelf.store.flush();
    let mut open = Vec::new();
    for path in walk(&shelf.path()) {
        if path.metadata().unwrap().permissions().mode() & 0o077 != 0 {
            open.push(path);
        }
    }
    assert_eq!(open, [] as [PathBuf; 0]);
}

#[test]
fn last_uses_and_standing_outlive_a_restart() {
    // Eviction must not begin anew after each restart.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let (old, hot) = (
        shelf.stock_at(b"old", now - 5000),
        shelf.stock_at(b"hot", now - 4000),
    );
    shelf.store.parts.index.touch(&hot, now - 100);
    shelf.store.parts.index.count_pull(&hot);
    let shelf = shelf.restarted(|_| {}).unwrap();
    let index = &shelf.store.parts.index;
    assert_eq!(index.get(&old).unwrap().last_use, now - 5000);
    assert_eq!(index.get(&hot).unwrap().last_use, now - 100);
    assert_eq!(index.next_to_go(1 << 30), Some(old));
}

#[test]
fn two_hundred_mutilations_keep_no_docxy_from_starting() {
    // After a crash of the machine any small file may hold anything: docxy starts, and loses that file at most (threat I6).
    let mut random = StdRng::seed_from_u64(7);
    let mut shelf = Shelf::new();
    let (mut starts, mut lost, mut kept) = (0, 0, 0);
    for round in 0..200_u32 {
        furnish(&shelf);
        let mut victim = PathBuf::new();
        shelf = shelf
            .restarted(|path| victim = mutilate(path, &mut random, round))
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        starts += 1;
        for n in 0..10_u64 {
            let name = name(&format!("a.example/r{n}"));
            let found = shelf.store.tag(&name, &tag("latest"), "oci");
            let spared = shelf.store.parts.layout.tag(&name, &tag("latest"), "oci") != victim;
            assert!(
                found.is_some() || !spared,
                "round {round}: {name} is lost by {}",
                victim.display()
            );
            kept += u32::from(found.is_some());
            lost += u32::from(found.is_none());
            if let Some(found) = found {
                assert_eq!(found.digest, digest(n), "round {round}");
            }
        }
    }
    println!("{starts} of 200 starts, {kept} of 2000 tags kept, {lost} lost with their own file");
    assert!(kept >= 1800);
}

fn furnish(shelf: &Shelf) {
    let now = shelf.store.clock().now();
    for n in 0..10_u64 {
        let name = name(&format!("a.example/r{n}"));
        let blob = shelf.stock(&n.to_be_bytes());
        shelf.store.link(
            &name,
            &blob,
            Some(if n % 2 == 0 { media::OCI_INDEX } else { "odd/type" }),
        );
        shelf.store.mark_public(&name);
        shelf
            .store
            .put_tag(&name, &tag("latest"), record(&blob, "oci", now));
    }
    let layout = &shelf.store.parts.layout;
    std::fs::write(layout.temp().join("99"), "half a rec").unwrap();
    std::fs::write(layout.partial(&digest(50), "abc"), vec![1; 70_000]).unwrap();
}

/// Deletes, cuts or garbles one file; tells which.
fn mutilate(folder: &Path, random: &mut StdRng, round: u32) -> PathBuf {
    let mut files: Vec<PathBuf> = walk(folder).into_iter().filter(|path| path.is_file()).collect();
    files.retain(|path| {
        !path.starts_with(folder.join("blobs")) && !path.starts_with(folder.join("quarantine"))
    });
    // The clock and the lock come up often enough.
    let special = [folder.join("clock"), folder.join("lock")];
    let place = random.random_range(0..1_000_000_usize);
    let victim = match round % 10 {
        0 | 1 => special[usize::try_from(round % 10).unwrap()].clone(),
        _ => files[place % files.len()].clone(),
    };
    let bytes = std::fs::read(&victim).unwrap();
    let cut = place % (bytes.len() + 1);
    match random.random_range(0..5) {
        0 => std::fs::remove_file(&victim).unwrap(),
        1 => std::fs::write(&victim, &bytes[..cut]).unwrap(),
        2 => std::fs::write(&victim, "").unwrap(),
        3 => std::fs::write(&victim, vec![0; bytes.len()]).unwrap(),
        _ => {
            let garbage: Vec<u8> = (0..300).map(|_| random.random()).collect();
            std::fs::write(&victim, garbage).unwrap();
        }
    }
    victim
}

#[test]
fn what_others_put_there_is_left_alone() {
    // A stray file, folder or link must neither stop docxy nor be served.
    let shelf = Shelf::new();
    let blob = shelf.stock(b"blob");
    let shelf = shelf
        .restarted(|path| {
            std::fs::write(path.join("blobs/sha256/README"), "x").unwrap();
            let shard = path.join("blobs/sha256").join(&blob.hex()[..2]);
            std::fs::write(shard.join("not-hex"), "x").unwrap();
            std::fs::write(shard.join(digest(5).hex()), "in the wrong shard").unwrap();
            std::os::unix::fs::symlink(
                "/etc/passwd",
                shard.join(format!("{:.2}{}", blob.hex(), "0".repeat(62))),
            )
            .unwrap();
            std::fs::create_dir_all(path.join("repositories/a.example/UPPER/tags")).unwrap();
            std::fs::create_dir_all(path.join("repositories/a.example/..hidden")).unwrap();
            std::fs::create_dir_all(path.join("repositories/a.example/x/tags/-bad~oci")).unwrap();
        })
        .unwrap();
    assert_eq!(shelf.store.parts.index.count(), 1);
    assert!(shelf.has(&blob));
}

#[test]
fn a_file_in_the_way_is_named() {
    // Whoever mistyped cache.path must see what is wrong.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let shelf = Shelf::new();
    let config = crate::cache::Config {
        path: path.clone(),
        ..shelf.config()
    };
    let refused = crate::cache::Store::open(config, std::sync::Arc::new(Real), Metrics::default());
    assert!(matches!(refused, Err(OpenError::NoFolder(named)) if named == path));
}

#[test]
#[ignore = "makes 200,000 files: make soak"]
fn soak_a_hundred_thousand_blobs_are_ready_within_two_seconds() {
    // A restart must not keep a site's machines waiting.
    let shelf = Shelf::new();
    let layout = shelf.store.parts.layout.clone();
    let names: Vec<_> = (0..500).map(|n| name(&format!("a.example/team/r{n}"))).collect();
    for name in &names {
        std::fs::create_dir_all(layout.links(name)).unwrap();
        std::fs::create_dir_all(layout.tags(name)).unwrap();
    }
    for seed in 0..100_000_u64 {
        let (blob, name) = (digest(seed), &names[usize::try_from(seed % 500).unwrap()]);
        std::fs::create_dir_all(layout.shard(&blob)).unwrap();
        std::fs::write(layout.blob(&blob), seed.to_be_bytes()).unwrap();
        let link = layout.link(name, &blob);
        let link = if seed % 10 == 0 {
            link.with_extension("oci-manifest")
        } else {
            link
        };
        std::fs::write(link, "").unwrap();
    }
    for (name, n) in names.iter().zip(0..) {
        for t in 0..10 {
            let tag = tag(&format!("v{t}"));
            let bytes = record(&digest(n), "oci", 1).to_bytes(name, &tag);
            std::fs::write(layout.tag(name, &tag, "oci"), bytes).unwrap();
        }
    }
    let before = resident();
    let mut began = Instant::now();
    let shelf = shelf.restarted(|_| began = Instant::now()).unwrap();
    let took = began.elapsed();
    println!(
        "ready after {took:?} with {} KiB more",
        resident().saturating_sub(before)
    );
    assert_eq!(shelf.store.parts.index.count(), 100_000);
    assert_eq!(shelf.store.usage().links, 100_000);
    assert_eq!(shelf.store.usage().tags, 5_000);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}
