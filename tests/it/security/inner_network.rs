//! S2 in a network of the test's own, where metadata services and private addresses are real listeners on every port that
//! matters: whatever docxy dials in there is noticed, not guessed from its refusals.

use std::net::{Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

use crate::doors::hostile::spellings;
use crate::push::recorder::{Recorder, Script, begun};
use crate::support::{
    app::TestApp,
    client::Request,
    image::Image,
    network::{Network, Trap},
    stub::{Fault, On, StubRegistry},
    within,
};

/// Addresses that a machine in a cloud or an office would reach. 8.8.8.8 plays the registry that anybody may use.
const ADDRESSES: [&str; 12] = [
    "8.8.8.8/32",
    "10.0.0.1/32",
    "100.64.0.1/32",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "169.254.169.254/32",
    "172.16.0.1/32",
    "192.168.0.1/32",
    "198.18.0.1/32",
    "fd00::1/128",
    "fd00:ec2::254/128",
    "64:ff9b::7f00:9/128",
];

/// Names that lead there, as a hostile DNS would say.
const NAMES: [(&str, &str); 4] = [
    ("metadata.google.internal", "169.254.169.254"),
    ("inner.test", "10.0.0.1"),
    ("rebind.test", "127.0.0.1"),
    ("six.test", "fd00:ec2::254"),
];

#[tokio::test]
async fn nothing_of_the_inner_network_is_dialled() {
    // A registry, or a name in a request, must not be the way into the network that docxy stands in (S2).
    if Network::is_entered() {
        println!("{}", inside().await);
        return;
    }
    let network = Network {
        addresses: &ADDRESSES,
        names: &NAMES,
    };
    let said = network
        .run("security::inner_network::nothing_of_the_inner_network_is_dialled")
        .await;
    println!("{said}");
    assert!(said.contains("S2 in a network of its own: 0 dials"), "{said}");
}

/// Tries all of it; the figures.
async fn inside() -> String {
    // Both families: an address of IPv4 comes in mapped.
    let everywhere = |port| Trap::at(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    let traps = [everywhere(0).await, everywhere(80).await, everywhere(443).await];
    let registry = StubRegistry::builder()
        .on("8.8.8.8")
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let place = tokio::sync::watch::Sender::new(String::new());
    let told = place.subscribe();
    let pushed = Recorder::on("8.8.8.8", move |head| {
        let there = told.borrow().clone();
        match (head.method.as_str(), head.uri.path()) {
            ("POST", _) => begun(there),
            _ => Script::status(307).header("Location", there),
        }
    })
    .await;
    // No allow_private_addresses: this registry is at a public address, and dialled there.
    let app = TestApp::builder()
        .config(&format!(
            "[timeouts]\nconnect = \"1s\"\nheaders = \"2s\"\n\
             [registries.\"far.test\"]\nurls = [{:?}]\nhosts = [\"far.example.com\"]\n\
             realms = [\"inner.test\", \"169.254.169.254\", \"127.0.0.9\", \"metadata.google.internal\", \"rebind.test\"]\n\
             [registries.\"named.test\"]\nurls = [\"http://rebind.test:{}\"]\n\
             [registries.\"pushed.test\"]\nurls = [{:?}]\npush = {{ enabled = true }}\n",
            registry.url(),
            traps[0].port,
            pushed.url(),
        ))
        .start()
        .await;
    let blob = registry.image("a/b", "1").blobs[0].digest.clone();
    let sound = Request::get("/v2/far.test/a/b/manifests/1")
        .send(app.addr())
        .await;
    sound.assert_is(&registry.image("a/b", "1").root, &registry);

    let mut all = spellings(traps[0].port);
    for (name, _) in NAMES {
        all.extend([
            name.to_owned(),
            format!("{name}:{}", traps[0].port),
            format!("{name}.:443"),
        ]);
    }
    let mut tried = 0;
    for spelling in &all {
        let url = format!("http://{spelling}/v2/x");
        if http::HeaderValue::from_str(&url).is_ok() {
            place.send_replace(url.clone());
            tried += pushes(&app).await;
        }
        registry.clear_faults();
        if http::HeaderValue::from_str(&url).is_ok() {
            registry.fault(On::get("*/blobs/*"), Fault::redirect(307, &url));
            registry.fault(
                On::path("*/manifests/*"),
                answer(
                    401,
                    "www-authenticate",
                    format!("Bearer realm=\"{url}\",service=\"x\""),
                ),
            );
            registry.fault(
                On::path("*/tags/list"),
                answer(200, "link", format!("<{url}>; rel=\"next\"")),
            );
        }
        for request in [
            Request::get(format!("/v2/a/b/manifests/1?ns={spelling}")),
            Request::get(format!("/v2/{spelling}/a/b/manifests/1")),
            Request::get("/v2/a/b/manifests/1").header("Host", &**spelling),
            Request::get(format!("/v2/far.test/a/b/blobs/{blob}")),
            Request::get("/v2/far.test/a/b/manifests/1"),
            Request::get("/v2/far.test/a/b/tags/list?n=1"),
        ] {
            tried += 1;
            // A connection that is closed unanswered is a refusal too: the bytes may be no HTTP at all.
            if let Ok(mut open) = within(spelling, request.try_open(app.addr())).await {
                open.rest().await;
            }
        }
    }
    // A configured name that leads inside, where its registry does not say that it may.
    let answer = Request::get("/v2/named.test/a/b/manifests/1")
        .send(app.addr())
        .await;
    assert!(answer.status >= 400, "{}", answer.everything());
    tried += 1;
    let dials: usize = traps.iter().map(Trap::dials).sum();
    let who: Vec<_> = traps.iter().flat_map(Trap::who).collect();
    let figures = format!(
        "S2 in a network of its own: {dials} dials of {tried} tried, {} spellings by 6 entries",
        all.len()
    );
    assert!(all.len() >= 60);
    assert_eq!(dials, 0, "{who:?}");
    // They would have noticed.
    for (trap, to) in traps.iter().zip(["10.0.0.1", "169.254.169.254", "fd00:ec2::254"]) {
        let address = SocketAddr::new(to.parse().unwrap(), trap.port);
        TcpStream::connect(address).await.unwrap();
        within("the trap to notice", async {
            while trap.dials() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    figures
}

/// An upload that its registry sends there from its beginning, and a manifest that it redirects there.
async fn pushes(app: &TestApp) -> usize {
    let begun = Request::new("POST", "/v2/pushed.test/a/b/blobs/uploads/");
    let begun = begun.header("Content-Length", "0").send(app.addr()).await;
    let next = begun.header("location").map(str::to_owned);
    let mut requests = vec![
        Request::new("DELETE", "/v2/pushed.test/a/b/manifests/1"),
        Request::new("PUT", "/v2/pushed.test/a/b/manifests/1").body("{}"),
    ];
    if let Some(next) = next {
        requests.push(Request::new("PATCH", &*next).body("piece"));
        requests.push(Request::new("PUT", &*next).header("Content-Length", "0"));
        requests.push(Request::get(&*next));
        requests.push(Request::new("DELETE", &*next));
    }
    let tried = requests.len();
    for request in requests {
        let refused = request.send(app.addr()).await;
        assert!(refused.status >= 400, "{}", refused.everything());
    }
    tried
}

fn answer(status: u16, name: &'static str, value: String) -> Fault {
    Fault::Answer {
        status,
        headers: vec![(name, value), ("content-type", "application/json".to_owned())],
        body: r#"{"name":"a/b","tags":["1"]}"#.to_owned(),
    }
}
