//! S3: what a stranger may make docxy connect to by CONNECT. In a network of the test's own, where all of it exists and
//! listens.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::world::{TRUSTING, hub, intercepting};
use crate::listen::read_bytes;
use crate::signin::users::{ANN, with_users};
use crate::support::{
    app::Builder,
    ca::TestCa,
    network::{Network, Trap},
    stub::StubRegistry,
    through::Proxy,
    within,
};

/// 8.8.8.8 is everybody's; the rest nobody may reach from outside.
const ADDRESSES: [&str; 12] = [
    "8.8.8.8/32",
    "10.0.0.1/32",
    "100.64.0.1/32",
    "168.63.129.16/32",
    "169.254.169.254/32",
    "172.16.0.1/32",
    "192.168.0.1/32",
    "198.18.0.1/32",
    "fd00::1/128",
    "fd00:ec2::254/128",
    "fe80::1/64",
    "64:ff9b::7f00:9/128",
];

/// docxy's `network.hosts`.
const NAMES: [(&str, &str); 13] = [
    ("loop.test", "127.0.0.1"),
    ("loop6.test", "::1"),
    ("meta.test", "169.254.169.254"),
    ("inner.test", "10.0.0.1"),
    ("inner.corp.test", "10.0.0.1"),
    ("own.test", "127.0.0.5"),
    ("own2.test", "10.0.0.1"),
    ("mapped.test", "::ffff:10.0.0.1"),
    ("public.test", "8.8.8.8"),
    ("passed.test", "8.8.8.8"),
    ("evilhub.test", "10.0.0.1"),
    ("hub.test.evil.test", "10.0.0.1"),
    ("xn--hb-hka.test", "10.0.0.1"),
];

const PORTS: [u16; 7] = [22, 25, 80, 443, 5000, 8443, 9000];

/// docxy's own listeners, under every name there is. Besides: 10.0.0.1:5000, 127.0.0.1:5000, 127.0.0.5:443.
const OWN: [&str; 29] = [
    "127.0.0.1:5000",
    "127.0.0.5:443",
    "10.0.0.1:5000",
    "localhost:5000",
    "LOCALHOST:5000",
    "localhost.:5000",
    "a.localhost:5000",
    "localhost.localdomain:5000",
    "[::1]:5000",
    "[0:0:0:0:0:0:0:1]:5000",
    "[::]:5000",
    "0.0.0.0:5000",
    "0:5000",
    "127.1:5000",
    "2130706433:5000",
    "0x7f000001:5000",
    "0x7f.1:5000",
    "0177.0.0.1:5000",
    "017700000001:5000",
    "127.0.0.01:5000",
    "127.0.0.1.:5000",
    "[::ffff:127.0.0.1]:5000",
    "[::ffff:7f00:1]:5000",
    "[::127.0.0.1]:5000",
    "own.test:443",
    "own2.test:5000",
    "mapped.test:5000",
    "docxy.test:443",
    "virtual.test:443",
];

/// Inner places, on ports where something listens.
const INNER: [&str; 29] = [
    "127.0.0.1:443",
    "127.0.0.1:22",
    "127.0.0.9:443",
    "localhost:443",
    "loop.test:443",
    "loop6.test:443",
    "[::1]:443",
    "[64:ff9b::7f00:9]:443",
    "[2002:7f00:1::]:443",
    "[::ffff:10.0.0.1]:443",
    "0.0.0.0:443",
    "[::]:443",
    "10.0.0.1:443",
    "172.16.0.1:443",
    "192.168.0.1:443",
    "100.64.0.1:443",
    "198.18.0.1:443",
    "[fd00::1]:443",
    "inner.test:443",
    "inner.corp.test:443",
    "169.254.169.254:443",
    "169.254.169.254:80",
    "meta.test:443",
    "168.63.129.16:443",
    "[fd00:ec2::254]:443",
    "[fe80::1]:443",
    "224.0.0.1:443",
    "[ff02::1]:443",
    "255.255.255.255:443",
];

/// Names that are nearly a registry's, and a registry's on ports that are not.
const NEARLY: [&str; 12] = [
    "hub.test:22",
    "hub.test:25",
    "hub.test:80",
    "hub.test:8443",
    "hub.test:4443",
    "auth.hub.test:80",
    "evilhub.test:443",
    "hub.test.evil.test:443",
    "xn--hb-hka.test:443",
    "test:443",
    "hub-test:443",
    "8.8.8.8:22",
];

/// What names no place, as far as HTTP takes it for a request at all.
const NONSENSE: [&str; 25] = [
    "hub.test",
    "hub.test:",
    ":443",
    "hub.test:0",
    "hub.test:65536",
    "hub.test:-1",
    "hub.test:+443",
    "hub.test:443:443",
    "hub.test:https",
    "user@hub.test:443",
    "user:password@hub.test:443",
    "hub.test:443@10.0.0.1:443",
    "10.0.0.1:443@hub.test:443",
    "hub.test:443/v2/",
    "hub.test:443?a",
    "hub.test:443#a",
    "https://hub.test:443",
    "/v2/",
    "*",
    "hub..test:443",
    ".hub.test:443",
    "hub%2etest:443",
    "h\u{fc}b.test:443",
    "[::1:443",
    "[fe80::1%25lo]:443",
];

#[tokio::test]
async fn nobody_is_led_to_where_he_may_not_go() {
    // An open relay is what an intercepting proxy becomes first: docker-registry-proxy connects anyone to anything. Each
    // target with nothing else allowed, with a list, and with `tunnel = "all"`.
    if Network::is_entered() {
        return inside().await;
    }
    let network = Network {
        addresses: &ADDRESSES,
        names: &[],
    };
    let said = network
        .run("intercept::targets::nobody_is_led_to_where_he_may_not_go")
        .await;
    println!("{said}");
}

/// Every port that matters at every address, but docxy's own listeners.
async fn traps() -> Vec<Trap> {
    let own: [SocketAddr; 3] =
        ["127.0.0.1:5000", "10.0.0.1:5000", "127.0.0.5:443"].map(|own| own.parse().unwrap());
    let addresses = ADDRESSES.iter().map(|address| address.split('/').next().unwrap());
    let mut traps = Vec::new();
    for address in addresses.chain(["127.0.0.1", "127.0.0.5", "127.0.0.9", "::1"]) {
        let address: IpAddr = address.parse().unwrap();
        for port in PORTS {
            let at = match address {
                // The loopback interface, which has this address here.
                IpAddr::V6(v6) if v6.segments()[0] == 0xfe80 => {
                    std::net::SocketAddrV6::new(v6, port, 0, 1).into()
                }
                _ => SocketAddr::new(address, port),
            };
            if !own.contains(&at) {
                traps.push(Trap::at(at).await);
            }
        }
    }
    traps
}

fn docxy(ca: &Arc<TestCa>, stub: &StubRegistry) -> Builder {
    let issued = ca.issue(&["docxy.test"]);
    let hosts: String = NAMES
        .iter()
        .map(|(name, address)| ["\"", *name, "\" = [\"", *address, "\"]\n"].concat())
        .collect();
    intercepting(ca)
        .registry_with("hub.test", stub, &format!("{TRUSTING}\nhosts = [\"virtual.test\"]"))
        .config(&format!("[network.hosts]\n{hosts}"))
        .config(
            "listen = [\"127.0.0.1:5000\", \"10.0.0.1:5000\"]\npublic_url = \"https://docxy.test\"\n\
             [tls]\nlisten = [\"127.0.0.5:443\"]\nredirect_http = false\ncertificates = [{ cert = \"c.pem\", key = \"k.pem\" }]\n\
             [timeouts]\nconnect = \"1s\"\n[access]\nuser_files = [\"users\"]\n",
        )
        .file("c.pem", issued.certificate)
        .file("k.pem", issued.key)
}

async fn inside() {
    let traps = traps().await;
    let ca = Arc::new(TestCa::new());
    let stub = hub(&ca).start().await;
    let dials = || -> Vec<SocketAddr> { traps.iter().flat_map(Trap::who).collect() };
    let groups: [(&str, &[&str]); 3] = [
        ("own listeners", &OWN),
        ("inner places", &INNER),
        ("nearly a registry", &NEARLY),
    ];
    let cases = [
        (
            "nothing else allowed",
            "[intercept]\ntunnel = \"none\"\n",
            &[][..],
        ),
        (
            "a list",
            "[intercept]\npassthrough = [\"passed.test\", \"8.8.8.8:9000\", \"*.corp.test\", \"own.test\", \"own2.test:5000\", \
             \"mapped.test:5000\", \"loop.test\", \"loop6.test\", \"meta.test\", \"127.0.0.5\", \"localhost:5000\", \"172.16.0.1:22\"]\n",
            &[
                "passed.test:443",
                "PASSED.test.:443",
                "8.8.8.8:9000",
                "172.16.0.1:22",
            ][..],
        ),
        (
            "all",
            "[intercept]\ntunnel = \"all\"\nauth = \"users\"\n",
            &["public.test:443", "8.8.8.8:443", "[::ffff:8.8.8.8]:443"][..],
        ),
    ];
    for (case, config, allowed) in cases {
        let app = with_users(docxy(&ca, &stub)).config(config).start().await;
        let proxy = Proxy::of(&app).await.user(ANN.0, ANN.1);
        let mut counts = Vec::new();
        for (group, places) in groups {
            let mut refused = 0;
            for place in places {
                refuse(&proxy, place, case).await;
                refused += 1;
            }
            counts.push(format!("{refused} of {} {group}", places.len()));
        }
        let nonsense = nonsense(&proxy, case).await;
        let others = [
            "unknown.test:443",
            "example.com:443",
            "8.8.8.8:80",
            "public.test:22",
            "passed.test:80",
        ];
        for place in others {
            refuse(&proxy, place, case).await;
        }
        let found = dials();
        assert_eq!(found, [], "{case}");
        // A Host of another place counts for nothing.
        for place in ["10.0.0.1:443", "127.0.0.1:5000"] {
            refuse(&proxy.clone().line("Host", "hub.test:443"), place, case).await;
        }
        for place in ["hub.test:443", "HUB.TEST:443", "hub.test.:443"] {
            drop(proxy.tunnel(place).await);
        }
        assert_eq!(dials(), [], "{case}: a registry's own tunnel connects nowhere");
        println!(
            "S3 with {case}: {} refused, {nonsense} of nonsense, {} others; {} dials",
            counts.join(", "),
            others.len(),
            found.len()
        );
        // The traps notice who really comes.
        for (number, place) in allowed.iter().enumerate() {
            drop(proxy.tunnel(place).await);
            within("the dial", async {
                while dials().len() <= number {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        for trap in &traps {
            trap.forget();
        }
        assert_eq!(stub.connections(), 0, "{case}");
        // docxy was never its own client: the one request is the test's, for /ca.crt.
        let log = app.stop().await.log;
        assert_eq!(log.matches("\"method\":\"GET\"").count(), 1, "{case}: {log}");
    }
}

async fn refuse(proxy: &Proxy, place: &str, case: &str) {
    let Err(answer) = proxy.connect(place).await else {
        panic!("{case}: a tunnel to {place}")
    };
    assert!(
        matches!(answer.status, 400 | 403 | 502 | 504),
        "{case}: {place}: {}",
        answer.everything()
    );
    answer.oci_error();
    assert!(
        !answer.text().contains("Connection refused"),
        "a port scan: {place}: {}",
        answer.text()
    );
}

/// Bytes that are no target: an error, or the end, and never 200.
async fn nonsense(proxy: &Proxy, case: &str) -> String {
    let mut long: Vec<String> = NONSENSE.map(str::to_owned).to_vec();
    long.extend([
        format!("{}.test:443", "a".repeat(64)),
        format!("{}:443", "a.".repeat(200)),
        format!("{}:443", "a".repeat(60_000)),
        format!("{}:443", "a".repeat(100_000)),
        "hub.test:443\tx".to_owned(),
        "hub.test:443 x".to_owned(),
        "hub.test\r\n:443".to_owned(),
        "hub.test\n:443".to_owned(),
        "hub.test\0:443".to_owned(),
        "10.0.0.1\0.hub.test:443".to_owned(),
        "hub.test:443\r\n\r\nGET / ".to_owned(),
    ]);
    let (mut with_reason, mut without) = (0, 0);
    for place in &long {
        let shown: String = place.chars().take(60).collect();
        let mut socket = TcpStream::connect(proxy.address).await.unwrap();
        let _ = socket.write_all(proxy.request(place).as_bytes()).await;
        let _ = socket.shutdown().await;
        let answer = within(&shown, read_bytes(&mut socket)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 200 "), "{case}: {shown:?}: {answer}");
        if answer.contains("\"errors\"") {
            with_reason += 1;
        } else {
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
                "{case}: {shown:?}: {answer}"
            );
            without += 1;
        }
    }
    format!(
        "{} ({with_reason} with a reason, {without} as no HTTP)",
        long.len()
    )
}
