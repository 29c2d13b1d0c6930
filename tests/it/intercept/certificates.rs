//! S13: docxy's own certificate says "this is docxy's word for that registry". Where the registry's is bad, there is no word.

use std::fmt::Write as _;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rcgen::{DnType, ExtendedKeyUsagePurpose, GeneralSubtree, NameConstraints, date_time_ymd};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::world::{REDIS, intercepting};
use crate::support::{ca::TestCa, puller::Puller, through::Proxy};

/// Each way in which a certificate can be bad, the name of the registry, and a word of the reason.
fn all(ca: &TestCa) -> Vec<(&'static str, Arc<ServerConfig>, &'static str)> {
    let unknown = TestCa::with(|params| params.distinguished_name.push(DnType::CommonName, "unknown"));
    let alone = TestCa::with(|params| {
        params.is_ca = rcgen::IsCa::NoCa;
        params.distinguished_name.push(DnType::CommonName, "alone");
        params.subject_alt_names = vec![rcgen::SanType::DnsName("alone.test".try_into().unwrap())];
    });
    vec![
        ("good.test", ca.issue(&["good.test"]).server(), ""),
        (
            "expired.test",
            ca.issue_with(&["expired.test"], |params| {
                params.not_after = date_time_ymd(2001, 1, 1);
            })
            .server(),
            "expired",
        ),
        (
            "early.test",
            ca.issue_with(&["early.test"], |params| {
                params.not_before = date_time_ymd(3999, 1, 1);
            })
            .server(),
            "certificate",
        ),
        (
            "other.test",
            ca.issue(&["elsewhere.test"]).server(),
            "another name",
        ),
        ("alone.test", alone.self_server(), "certificate"),
        (
            "unknown.test",
            unknown.issue(&["unknown.test"]).server(),
            "unknown issuer",
        ),
        (
            "client.test",
            ca.issue_with(&["client.test"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            })
            .server(),
            "certificate",
        ),
        (
            "cn.test",
            ca.issue_with(&[], |params| {
                params.distinguished_name.push(DnType::CommonName, "cn.test");
            })
            .server(),
            "certificate",
        ),
    ]
}

#[tokio::test]
async fn a_bad_certificate_upstream_is_no_good_one_here() {
    // A machine that trusts docxy's authority must not be worse off than one that asks the registry itself: an
    // interceptor that "launders" what it can't verify is the classic fault of its kind.
    let ca = TestCa::new();
    let narrow = TestCa::with(|params| {
        params.distinguished_name.push(DnType::CommonName, "narrow");
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("permitted.test".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let mut kinds = all(&ca);
    kinds.push((
        "narrow.test",
        narrow.issue(&["narrow.test"]).server(),
        "certificate",
    ));
    let asked = Arc::new(AtomicUsize::new(0));
    let (mut config, mut hosts) = (String::new(), String::from("[network.hosts]\n"));
    for (name, server, _) in &kinds {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _ = write!(
            config,
            "[registries.{name:?}]\nurls = [\"https://{name}:{port}\"]\nca_file = \"both.pem\"\nallow_private_addresses = true\n"
        );
        let _ = writeln!(hosts, "{name:?} = [\"127.0.0.1\"]");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(server));
        let (asked, is_good) = (Arc::clone(&asked), *name == "good.test");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut inside) = acceptor.accept(socket).await else {
                    continue;
                };
                let mut head = Vec::new();
                if matches!(inside.read_buf(&mut head).await, Ok(1..)) {
                    if !is_good {
                        asked.fetch_add(1, Ordering::SeqCst);
                    }
                    let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    let _ = inside.write_all(answer).await;
                    let _ = inside.shutdown().await;
                }
            }
        });
    }
    let app = intercepting(&ca)
        .config(&config)
        .config(&hosts)
        .file("both.pem", ca.pem() + &narrow.pem())
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    let (mut refused, mut laundered) = (0, 0);
    for (name, _, reason) in &kinds {
        let place = format!("{name}:443");
        for path in [
            REDIS,
            "/v2/library/redis/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            let answer = Puller::through(&proxy, &place).get(path).await;
            if reason.is_empty() {
                assert!(
                    matches!(answer.status, 401 | 404),
                    "{name}: {}",
                    answer.everything()
                );
                continue;
            }
            if answer.status == 502 {
                let (_, message) = answer.oci_error();
                assert!(message.contains(name), "{message}");
                assert!(message.contains(reason), "{name}: {message}");
                refused += 1;
            } else {
                println!("{name}: {}", answer.everything());
                laundered += 1;
            }
        }
    }
    println!(
        "S13: {} bad certificates, {refused} answers 502 with the reason, {laundered} laundered",
        kinds.len() - 1
    );
    assert_eq!((laundered, asked.load(Ordering::SeqCst)), (0, 0));
}
