use super::*;

use std::sync::Arc;

use crate::upstream::transport::names;

const PORT: u16 = 3128;

/// One that listens on 8.8.8.8 and 10.0.0.1, and waits for nobody.
fn opener(hosts: &[(&str, &str)]) -> Opener {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let names = names::Config {
        servers: Vec::new(),
        hosts: HashMap::new(),
        ipv6: true,
        tls,
        connect: Duration::from_secs(5),
    };
    let hosts = hosts
        .iter()
        .map(|(name, address)| ((*name).to_owned(), vec![address.parse().unwrap()]));
    Opener::new(OpenerConfig {
        names: names.build(),
        static_hosts: hosts.collect(),
        ipv6: true,
        connect: Duration::from_secs(5),
        own: ["8.8.8.8", "[::ffff:10.0.0.1]"]
            .map(|address| format!("{address}:{PORT}").parse().unwrap())
            .into(),
        proxy: ProxyConfig::List(Vec::new()),
    })
}

async fn judged(opener: &Opener, host: &str, port: u16, private: bool) -> Result<Vec<SocketAddr>, OpenError> {
    opener.judged(Place { host, port, private }).await
}

#[tokio::test]
async fn a_name_leads_to_no_place_that_only_an_address_may() {
    // An operator who lists a name of somebody else's: its owner must not lead docxy to this machine or its cloud (S3).
    let addresses = [
        ("8.8.4.4", true, true),
        ("10.0.0.9", false, true),
        ("fd00::1", false, true),
        ("100.64.0.1", false, true),
        ("198.18.0.1", false, true),
        ("127.0.0.1", false, false),
        ("::1", false, false),
        ("::ffff:127.0.0.1", false, false),
        ("169.254.169.254", false, false),
        ("fe80::1", false, false),
        ("168.63.129.16", false, false),
        ("192.0.2.1", false, false),
        ("0.0.0.0", false, false),
        ("224.0.0.1", false, false),
    ];
    for (address, unnamed, named) in addresses {
        let opener = opener(&[("some.test", address), ("localhost", address)]);
        let opens = async |host, private| judged(&opener, host, 443, private).await.is_ok();
        assert_eq!(opens("some.test", false).await, unnamed, "{address}");
        assert_eq!(opens("some.test", true).await, named, "{address}, named");
        // Who writes the address itself means it.
        assert_eq!(opens(address, false).await, unnamed, "{address} by itself");
        let literal: IpAddr = address.parse().unwrap();
        let written = opens(address, true).await;
        assert_eq!(written, !Class::of(literal).never(), "{address} by itself, named");
        let local = named || Class::of(literal) == Class::Loopback;
        assert_eq!(opens("localhost", true).await, local, "{address}, localhost");
    }
}

#[tokio::test]
async fn its_own_listeners_are_found_in_every_spelling() {
    // An operator: whoever owns a name can't lead docxy round in circles with an IPv4 address in IPv6 clothes.
    for address in ["8.8.8.8", "::ffff:8.8.8.8", "10.0.0.1", "::ffff:10.0.0.1"] {
        let opener = opener(&[("some.test", address)]);
        let own = judged(&opener, "some.test", PORT, true).await;
        assert!(matches!(own, Err(OpenError::Own(_))), "{address}: {own:?}");
        let other = judged(&opener, "some.test", PORT + 1, true).await;
        assert!(other.is_ok(), "{address}: {other:?}");
    }
}
