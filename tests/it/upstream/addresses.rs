//! The address guard from outside: nothing a registry says makes docxy dial into the inner network (S2).

use std::net::Ipv4Addr;

use docxy::upstream::transport::guard::Class;
use docxy::upstream::{Failure, Right};
use url::Url;

use super::proxies::Outer;
use super::stub::{Setup, Stub, TAGS, answer, get};

/// Addresses of the inner network, in the ways in which they can be written into a URL.
fn spellings() -> Vec<String> {
    let mut all: Vec<String> = [
        "[::1]",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "127.1",
        "0",
        "localhost",
        "localhost.",
        "inner.test",
        "INNER.test.",
        "%31%32%37.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
    ]
    .map(str::to_owned)
    .into();
    for address in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "198.18.0.1",
    ] {
        let ip: Ipv4Addr = address.parse().unwrap();
        let [a, b, c, d] = ip.octets();
        let number = u32::from(ip);
        all.extend([
            address.to_owned(),
            format!("{address}."),
            number.to_string(),
            format!("{number:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("{a:#x}.{b}.{:#x}", u32::from(c) * 256 + u32::from(d)),
            format!("[::ffff:{ip}]"),
            format!("[::{ip}]"),
            format!("[64:ff9b::{ip}]"),
            format!("[2002:{:x}:{:x}::1]", number >> 16, number & 0xffff),
        ]);
    }
    all
}

/// A registry that looks public and is reached through a proxy, so that its answers can be tried with the guard up.
async fn public(registry: &Stub) -> Setup {
    let mut setup = Setup::at("http://public.test");
    guarded(&mut setup);
    setup
        .transport
        .static_hosts
        .insert("public.test".to_owned(), vec!["8.8.8.8".parse().unwrap()]);
    setup.transport.proxy = Some(Outer::start(registry.address).await.config("http", ""));
    setup
}

fn guarded(setup: &mut Setup) {
    setup
        .transport
        .static_hosts
        .insert("inner.test".to_owned(), vec!["127.0.0.1".parse().unwrap()]);
    setup.transport.allow_private = false;
}

#[tokio::test]
async fn the_guard_stands_before_every_request_realm_and_hop() {
    // A registry must not be able to send docxy into the inner network (S2), by whatever spelling or name.
    let inner = Stub::start(|_| answer(200, &[], r#"{"token":"of the inner network"}"#)).await;
    let spellings = spellings();
    let mut tried = 0;
    for host in &spellings {
        let target = format!("http://{host}:{}/token", inner.port());
        let refused = |failure: Failure| {
            assert!(
                matches!(failure, Failure::AddressRefused { .. }),
                "{host}: {failure:?}"
            );
        };

        let mut direct = Setup::at(&target.replace("/token", ""));
        guarded(&mut direct);
        refused(
            direct
                .build()
                .send(&get(TAGS), &Right::Anonymous)
                .await
                .unwrap_err(),
        );

        let location = target.clone();
        let registry = Stub::start(move |_| answer(307, &[("Location", &location)], "")).await;
        refused(
            public(&registry)
                .await
                .build()
                .send(&get(TAGS), &Right::Anonymous)
                .await
                .unwrap_err(),
        );

        let challenge = format!(r#"Bearer realm="{target}""#);
        let registry = Stub::start(move |_| answer(401, &[("WWW-Authenticate", &challenge)], "")).await;
        let mut with_realm = public(&registry).await;
        with_realm.config.realms = vec![Url::parse(&target).unwrap().host_str().unwrap().to_owned()];
        refused(
            with_realm
                .build()
                .send(&get(TAGS), &Right::Anonymous)
                .await
                .unwrap_err(),
        );
        tried += 3;
    }
    let dialled = inner.seen().len();
    println!(
        "{dialled} dials in {tried} ways into the inner network ({} spellings)",
        spellings.len()
    );
    assert!(spellings.len() >= 60);
    assert_eq!(dialled, 0);
}

#[tokio::test]
async fn a_literal_or_resolved_private_registry_is_refused_unless_allowed() {
    // The default is safe, and the refusal names the key that changes it.
    let registry = Stub::start(|_| answer(200, &[], "")).await;
    for url in [
        registry.url(""),
        registry.url_at("registry.test", ""),
        registry.url_at("localhost", ""),
    ] {
        let mut setup = Setup::at(&url);
        setup.transport.allow_private = false;
        let failure = setup
            .build()
            .send(&get(TAGS), &Right::Anonymous)
            .await
            .unwrap_err();
        assert!(
            matches!(
                failure,
                Failure::AddressRefused {
                    class: Class::Loopback,
                    ..
                }
            ),
            "{failure:?}"
        );
        let message = failure.to_string();
        assert!(
            message.contains(r#"registries."registry.test".allow_private_addresses = true"#),
            "{message}"
        );
        assert!(
            message.contains("127.0.0.1") || message.contains("::1"),
            "{message}"
        );
    }
    assert_eq!(registry.seen().len(), 0);
}

#[tokio::test]
async fn a_fake_ip_network_is_explained() {
    // Users of a local proxy with fake-IP DNS see 198.18.x.y for every name and would not know why nothing works.
    let mut setup = Setup::at("https://faked.test");
    setup.transport.allow_private = false;
    setup
        .transport
        .static_hosts
        .insert("faked.test".to_owned(), vec!["198.18.3.7".parse().unwrap()]);
    let failure = setup
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("fake-IP"), "{failure}");
}
