//! New certificates without a restart.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use docxy::tls::CertificateFiles;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::{Authority, first_der, handshake, load, serve, shown};
use crate::listen::read_until;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_open_connections_live_on() {
    // A client in the middle of a pull when the certificate is renewed: it does not notice; the next one sees the new.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let files = authority.write(folder.path(), "a", &["localhost"]);
    let certificates = load(std::slice::from_ref(&files));
    let server = serve(Arc::clone(&certificates));
    let old = first_der(&files);
    let mut open = handshake(server.address, authority.any_client(), "localhost")
        .await
        .unwrap();
    open.write_all(GET).await.unwrap();
    read_until(&mut open, "listener=0\n").await;

    assert_eq!(certificates.reload(), 0, "nothing changed");
    authority.write(folder.path(), "a", &["localhost"]);
    assert_eq!(certificates.reload(), 1);
    assert!(shown(&server, "localhost").await == first_der(&files));
    assert!(first_der(&files) != old);
    open.write_all(GET).await.unwrap();
    read_until(&mut open, "listener=0\n").await;
}

#[tokio::test]
async fn a_bad_new_pair_changes_nothing() {
    // An operator whose renewal went wrong, or is half done: the old certificate stays, and the other pairs still move.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let files = authority.write(folder.path(), "a", &["a.test"]);
    let other = authority.write(folder.path(), "b", &["b.test"]);
    let certificates = load(&[files.clone(), other.clone()]);
    let server = serve(Arc::clone(&certificates));
    let (good_cert, good_key) = (
        std::fs::read(&files.cert).unwrap(),
        std::fs::read(&files.key).unwrap(),
    );
    let good = first_der(&files);

    let new_key = authority
        .issue(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256)
        .1
        .serialize_pem();
    for bad in [new_key.as_bytes(), b"", b"not PEM"] {
        std::fs::write(&files.key, bad).unwrap();
        assert_eq!(certificates.reload(), 0);
        assert!(shown(&server, "a.test").await == good);
    }
    std::fs::remove_file(&files.cert).unwrap();
    authority.write(folder.path(), "b", &["b.test"]);
    assert_eq!(certificates.reload(), 1, "the other pair");
    assert!(shown(&server, "a.test").await == good);
    assert!(shown(&server, "b.test").await == first_der(&other));

    std::fs::write(&files.cert, good_cert).unwrap();
    std::fs::write(&files.key, good_key).unwrap();
    assert_eq!(certificates.reload(), 1, "back to what works");
}

#[tokio::test(start_paused = true)]
async fn a_swapped_link_is_noticed_by_the_watcher() {
    // An operator on Kubernetes: a secret's update swaps a link two levels up, and no file's own time changes.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for version in ["v1", "v2"] {
        std::fs::create_dir(root.join(version)).unwrap();
        authority.write(&root.join(version), "tls", &["localhost"]);
    }
    symlink("v1", root.join("data")).unwrap();
    let files = CertificateFiles {
        cert: root.join("data/tls.crt"),
        key: root.join("data/tls.key"),
    };
    let certificates = load(std::slice::from_ref(&files));
    let server = serve(Arc::clone(&certificates));
    let (stop, stopped) = oneshot::channel::<()>();
    let watcher = tokio::spawn(Arc::clone(&certificates).watch(Duration::from_secs(30), async {
        let _ = stopped.await;
    }));
    let old = first_der(&files);
    assert!(shown(&server, "localhost").await == old);

    symlink("v2", root.join("next")).unwrap();
    std::fs::rename(root.join("next"), root.join("data")).unwrap();
    // The clock jumps to the watcher's next look, and does not move while that reads the files.
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(shown(&server, "localhost").await == first_der(&files));
    assert!(first_der(&files) != old);
    stop.send(()).unwrap();
    watcher.await.unwrap();
}
