//! S4, S5 across registries: what users, rules or docxy's own credential close at a registry in the house is closed under
//! every other registry's name too, above all while that one can't be asked.

use std::sync::Arc;

use crate::cache::{
    rights::{contents, leaked},
    support::{Cached, image_of},
};
use crate::signin::users::{ANN, with_users};
use crate::support::{
    app::Builder,
    ca::TestCa,
    client::Request,
    image::Content,
    stub::{Fault, Line, On, StubRegistry},
};

const HOUSE: &str = "team/app";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";
/// The next one is not let in to team/**.
const ALLOWED: &str = "10.0.0.1";
const OTHER: &str = "10.0.0.2";

/// How the house's registry, which gives everything to everyone, is closed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// Not at all: what is public there may be read under any name.
    No,
    ByUsers,
    ByRules,
    ByDocxysCredential,
    /// It opens to docxy's certificate, which all who come may use.
    ByCertificate,
    /// The same, where people sign in with accounts of their own there, too.
    ByCertificateAndLogin,
}

impl Closed {
    fn has_certificate(self) -> bool {
        matches!(self, Self::ByCertificate | Self::ByCertificateAndLogin)
    }

    fn configure(self, app: Builder, ca: &TestCa) -> Builder {
        let shown = ca.issue(&["docxy"]);
        let app = match self {
            Self::No | Self::ByCertificateAndLogin => app,
            Self::ByUsers => with_users(app).config("[registries.\"docker.io\"]\nclients = \"users\"\n"),
            Self::ByRules => app.config(&format!(
                "[[access.rules]]\neffect = \"deny\"\naddresses = [\"{OTHER}\"]\nregistry = \"docker.io\"\n\
                 repository = \"team/**\"\n"
            )),
            Self::ByDocxysCredential => with_users(app.configured("docker.io", "robot", "robot-password"))
                .config("[registries.\"docker.io\"]\nclients = \"users\"\n"),
            Self::ByCertificate => app.config("[registries.\"docker.io\"]\nclients = \"open\"\n"),
        };
        let app = if self.has_certificate() {
            app.config(
                "[registries.\"docker.io\"]\nca_file = \"ca.pem\"\nclient_cert = \"docxy.crt\"\nclient_key = \"docxy.key\"\n",
            )
            .file("ca.pem", ca.pem())
            .file("docxy.crt", shown.certificate)
            .file("docxy.key", shown.key)
        } else {
            app
        };
        app.config(TRUSTED)
    }
}

/// What ails the registry under whose name the house's image is asked for.
enum Trouble {
    Line(Line),
    Answers(Fault),
    /// docxy asks nobody.
    Offline,
    /// It says "I have that", whatever it is asked for.
    Lies,
}

fn troubles() -> Vec<(&'static str, Trouble)> {
    let portal = Fault::Answer {
        status: 200,
        headers: vec![("content-type", "text/html".to_owned())],
        body: "<html>sign in</html>".to_owned(),
    };
    vec![
        ("refused", Trouble::Line(Line::Refusing)),
        ("no HTTP", Trouble::Line(Line::Babbling)),
        ("a black hole", Trouble::Line(Line::BlackHole)),
        ("429", Trouble::Answers(Fault::Status(429))),
        ("503", Trouble::Answers(Fault::Status(503))),
        ("a portal", Trouble::Answers(portal)),
        ("offline", Trouble::Offline),
        ("lies", Trouble::Lies),
    ]
}

struct Tried {
    requests: usize,
    given: usize,
    bytes: usize,
}

async fn asked_elsewhere(closed: Closed, trouble: &Trouble, seed: u64) -> Tried {
    let ca = Arc::new(TestCa::new());
    let house = StubRegistry::builder().image(HOUSE, "1", image_of(seed, &[3000, 70_000]));
    let house = if closed.has_certificate() {
        house.tls(&ca)
    } else {
        house
    };
    let image = image_of(seed, &[3000, 70_000]);
    let other = StubRegistry::builder().start().await;
    let table = format!(
        "[timeouts]\nconnect = \"300ms\"\nheaders = \"1s\"\n[cache]\nrevalidate_timeout = \"300ms\"\n\
         [registries.\"other.test\"]\nurls = [{:?}]\nallow_private_addresses = true\n",
        other.url()
    );
    let docxy = Cached::built(house.start().await, move |app| {
        closed.configure(app, &ca).config(&table)
    })
    .await;
    let ask = async |docxy: &Cached, method: &str, path: &str, from: &str, user: Option<(&str, &str)>| {
        let request = Request::new(method, path).header("X-Forwarded-For", from);
        let request = match user {
            Some((name, password)) => request.basic(name, password),
            None => request,
        };
        request.send(docxy.app.addr()).await
    };
    let signs_in = matches!(
        closed,
        Closed::ByUsers | Closed::ByDocxysCredential | Closed::ByCertificateAndLogin
    );
    let user = signs_in.then_some(ANN);
    let path = |name: &str, content: &Content| {
        let is_manifest = content.digest == image.root.digest;
        let kind = if is_manifest { "manifests" } else { "blobs" };
        format!("/v2/{name}/{kind}/{}", content.digest)
    };
    let tag = format!("/v2/{HOUSE}/manifests/1");
    ask(&docxy, "GET", &tag, ALLOWED, user)
        .await
        .assert_is(&image.root, &docxy.stub);
    for content in contents(&image) {
        let answer = ask(&docxy, "GET", &path(HOUSE, &content), ALLOWED, user).await;
        answer.assert_is(&content, &docxy.stub);
        docxy.stored(&content).await;
    }
    let docxy = match trouble {
        Trouble::Offline => docxy.stop().await.start_with("[cache]\noffline = true").await,
        Trouble::Line(line) => {
            other.turn(line.clone()).await;
            docxy
        }
        Trouble::Answers(fault) => {
            other.fault(On::path("*"), fault.clone());
            docxy
        }
        Trouble::Lies => docxy,
    };
    let mut tried = Tried {
        requests: 0,
        given: 0,
        bytes: 0,
    };
    for content in contents(&image) {
        if matches!(trouble, Trouble::Lies) {
            other.clear_faults();
            let headers = vec![
                ("docker-content-digest", content.digest.clone()),
                ("content-type", content.media_type.clone()),
            ];
            let body = "x".repeat(content.bytes.len());
            other.fault(
                On::path("/v2/*"),
                Fault::Answer {
                    status: 200,
                    headers,
                    body,
                },
            );
        }
        // Under another registry's name, and under another name of the same registry.
        for name in ["other.test/any/thing", "other.test/team/app", "any/thing"] {
            // Whom the rule keeps from team/**, and who has not signed in.
            for method in ["GET", "HEAD"] {
                let answer = ask(&docxy, method, &path(name, &content), OTHER, None).await;
                tried.requests += 1;
                let length = content.bytes.len().to_string();
                let is_it = answer.status == 200 && answer.header("content-length") == Some(&*length);
                // What the other registry itself says is told to everyone.
                tried.given += usize::from(is_it && !matches!(trouble, Trouble::Lies));
                tried.bytes += leaked(&answer, &content);
            }
        }
    }
    tried
}

#[tokio::test]
async fn what_is_closed_under_its_own_name_is_closed_under_every_other() {
    // A registry in the house that is open to docxy and closed to people by docxy: its images must not come through docxy by
    // the name of some registry that just doesn't answer.
    let (mut requests, mut given, mut bytes) = (0, 0, 0);
    for closed in [
        Closed::ByUsers,
        Closed::ByRules,
        Closed::ByDocxysCredential,
        Closed::ByCertificate,
        Closed::ByCertificateAndLogin,
    ] {
        for (seed, (what, trouble)) in (970..).zip(troubles()) {
            let tried = asked_elsewhere(closed, &trouble, seed).await;
            if tried.bytes + tried.given > 0 {
                println!("{closed:?} {what}: {} given, {} bytes", tried.given, tried.bytes);
            }
            requests += tried.requests;
            given += tried.given;
            bytes += tried.bytes;
        }
    }
    println!("S4 under other registries' names: {given} of {requests} requests served, {bytes} bytes");
    assert_eq!((given, bytes), (0, 0));
    assert!(requests >= 700, "{requests}");
}

#[tokio::test]
async fn what_is_closed_to_nobody_comes_under_every_name_in_an_outage() {
    // The other side: a layer that everyone may have is served whatever it is called, and a matrix that never sees a byte
    // would prove nothing.
    for (what, trouble) in troubles() {
        if matches!(what, "refused" | "503" | "offline") {
            let tried = asked_elsewhere(Closed::No, &trouble, 990).await;
            assert!(tried.given > 0 && tried.bytes > 3000, "{what}: {}", tried.bytes);
        }
    }
}
