use std::path::Path;
use std::sync::Arc;

use crate::cache::disk::Real;
use crate::cache::shelf::{Shelf, name};
use crate::cache::{Config, OpenError, Store};
use crate::telemetry::Metrics;

fn config(path: &Path, max_size: u64) -> Config {
    let mut config = Shelf::new().config();
    config.path = path.to_owned();
    config.limits.max_size = max_size;
    config
}

fn open(config: &Config) -> Result<Store, OpenError> {
    Store::open_in_memory(config.clone(), Arc::new(Real), Metrics::default())
}

#[tokio::test]
async fn is_empty_at_the_start_and_gone_at_the_end() {
    // Who chose memory chose that nothing stays, whether docxy ended well or died.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let config = config(&folder.path().join("docxy"), 1 << 20);
    std::fs::create_dir_all(config.path.join("blobs/sha256/aa")).unwrap();
    std::fs::write(config.path.join("blobs/sha256/aa/left"), "over").unwrap();
    let store = open(&config).unwrap();
    assert_eq!(store.usage().blobs, 0);
    assert!(!config.path.join("blobs/sha256").exists());
    assert!(matches!(open(&config), Err(OpenError::Taken { .. })));
    let digest = crate::oci::Digest::of(crate::oci::digest::Algorithm::Sha256, b"x");
    store.put(&digest, "x".into()).await.unwrap();
    store.link(&name("a.example/x"), &digest, None);
    assert_eq!(store.usage().blobs, 1);
    drop(store);
    assert!(!config.path.exists());
}

#[test]
fn refuses_a_place_that_is_not_for_it() {
    // Half the machine's memory promised on a small tmpfs, or somebody's files emptied, must be found at the start.
    let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let on_disk = open(&config(&disk.path().join("docxy"), 1)).unwrap_err();
    assert!(matches!(on_disk, OpenError::NotInMemory { .. }), "{on_disk}");
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let small = open(&config(&folder.path().join("docxy"), u64::MAX)).unwrap_err();
    assert!(matches!(small, OpenError::TooSmall { .. }), "{small}");
    let precious = folder.path().join("thesis.tex");
    std::fs::write(&precious, "five years").unwrap();
    let foreign = open(&config(folder.path(), 1)).unwrap_err();
    assert!(matches!(foreign, OpenError::NotOurs(_)), "{foreign}");
    assert!(precious.exists());
}

#[test]
fn refuses_a_folder_that_somebody_else_made_ready() {
    // Everyone may write to /dev/shm: a neighbour on the machine must not lead docxy into another folder of its user's.
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("docxy"));
    std::fs::create_dir(&target).unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let error = open(&config(&link, 1)).unwrap_err();
    assert!(matches!(error, OpenError::NoFolder(_)), "{error}");
    let mode = target.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o755, "the target was touched");
}
