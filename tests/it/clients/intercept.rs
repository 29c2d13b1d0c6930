//! Programs that know nothing of docxy but `HTTPS_PROXY` and its certificate pull images under the names that everybody uses.
//! Without the proxy those names lead to a closed port here.

#![expect(clippy::print_stdout, reason = "the counts are part of the report")]

use super::{
    both_generations,
    cache::{
        support::{Docxy, size, words},
        tool::{Client, Tool},
    },
    support::{
        dockerd::{Dockerd, Setup},
        door::{realm, registry},
        generation::Generation,
        image::Catalogue,
        process,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
        skopeo::Skopeo,
        token_server::{PASSWORD, TokenServer, USER},
    },
};
use crate::support::client::Request;

const INTERCEPT: &str = "[intercept]\nenabled = true\n";
/// Where each registry has its image.
const HUB: &str = "docker.io/private/app";
const QUAY: &str = "quay.io/team/app";
const GHCR: &str = "ghcr.io/owner/image";

/// Three registries with three kinds of sign-in, two of them with docxy's own account.
struct World {
    tokens: TokenServer,
    hub: DockerRegistry,
    quay: DockerRegistry,
    ghcr: DockerRegistry,
    images: [Catalogue; 3],
    docxy: Docxy,
}

impl World {
    async fn start(sandbox: &Sandbox) -> Self {
        let images = [
            Catalogue::light(81).await,
            Catalogue::light(82).await,
            Catalogue::light(83).await,
        ];
        let tokens = TokenServer::start(sandbox).await;
        let hub = SignIn::Token(&tokens);
        let hub = DockerRegistry::start(sandbox, hub, &[("private/app", &images[0])]).await;
        let quay = DockerRegistry::start(sandbox, SignIn::Basic, &[("team/app", &images[1])]).await;
        let ghcr = DockerRegistry::start(sandbox, SignIn::Nobody, &[("owner/image", &images[2])]).await;
        let password = sandbox.secret("password", PASSWORD);
        let own = format!(
            "auth = \"configured\"\nusername = {USER:?}\npassword_file = {:?}\n",
            password.to_str().expect("a printable path")
        );
        let config = INTERCEPT.to_owned()
            + &registry("docker.io", &hub, &(realm(&tokens) + &own))
            + &registry("quay.io", &quay, &own)
            + &registry("ghcr.io", &ghcr, "");
        let docxy = Docxy::start(&config).await;
        Self {
            tokens,
            hub,
            quay,
            ghcr,
            images,
            docxy,
        }
    }

    fn all(&self) -> [(&'static str, &DockerRegistry, &Catalogue); 3] {
        [
            (HUB, &self.hub, &self.images[0]),
            (QUAY, &self.quay, &self.images[1]),
            (GHCR, &self.ghcr, &self.images[2]),
        ]
    }
}

/// The certificate, as a person fetches it.
async fn authority(docxy: &Docxy) -> String {
    let answer = Request::get("/ca.crt").send(docxy.addr()).await;
    assert_eq!(answer.status, 200, "{}", answer.everything());
    answer.text()
}

async fn three_registries(tool: Tool) {
    let home = Sandbox::new();
    let world = World::start(&home).await;
    let sandbox = Sandbox::new().behind(world.docxy.addr(), &authority(&world.docxy).await);
    let client = Client::behind_proxy(tool, &sandbox).await;
    for (name, upstream, images) in world.all() {
        let (_, repository) = name.split_once('/').unwrap();
        for (tag, index) in [("oci", &images.oci), ("docker", &images.docker)] {
            let bytes = size(index.native());
            let begin = world.docxy.served(repository).len();
            client.gets(name, tag, index).await;
            let cold = world.docxy.served_since(repository, begin, bytes).await;
            client.forget(name, tag).await;
            let begin = world.docxy.served(repository).len();
            client.gets(name, tag, index).await;
            let warm = world.docxy.served_since(repository, begin, bytes).await;
            client.forget(name, tag).await;
            let of = |served: &[crate::clients::cache::support::Served]| {
                words(served.iter().filter(|one| one.is_blob()).collect::<Vec<_>>()).join(" ")
            };
            assert_eq!(
                (of(&cold), of(&warm)),
                ("miss".to_owned(), "hit".to_owned()),
                "{name}:{tag}"
            );
            println!(
                "{} {name}:{tag}: {bytes} bytes of blobs missed, then hit",
                tool.name()
            );
            // Twice to the client, once from the registry.
            upstream.assert_pulled_native(repository, tag, index).await;
        }
    }
    assert!(world.tokens.secrets() > 0, "docxy signed in for everybody");
    assert_eq!(world.ghcr.secrets(), 0);
    for line in world.docxy.app().log() {
        assert!(!line.to_string().contains(PASSWORD), "{line}");
    }
}

/// A test of each program.
macro_rules! every_program {
    ($($name:ident: $tool:expr;)*) => {
        mod pulls_three_registries_under_their_own_names {
            // Matters to everybody who has machines and no wish to change the name of any image on them: a private one of
            // Docker Hub, a private one of a registry with passwords, a public one; none of them signed in for here.
            use super::{Generation, Tool, three_registries};

            $(#[tokio::test]
            async fn $name() {
                three_registries($tool).await;
            })*
        }
    };
}
every_program! {
    docker_20: Tool::Dockerd(Generation::Debian12);
    docker_28: Tool::Dockerd(Generation::Sid);
    ctr_1: Tool::Ctr(Generation::Debian12);
    ctr_2: Tool::Ctr(Generation::Sid);
    podman: Tool::Podman;
    skopeo: Tool::Skopeo;
}

both_generations!(docker_signs_in_at_the_registry_itself);
async fn docker_signs_in_at_the_registry_itself(generation: Generation) {
    // Matters to people with accounts of their own: `docker login quay.io` stays what it was.
    let home = Sandbox::new();
    let images = Catalogue::light(84).await;
    let quay = DockerRegistry::start(&home, SignIn::Basic, &[("team/app", &images)]).await;
    let docxy = Docxy::start(&(INTERCEPT.to_owned() + &registry("quay.io", &quay, ""))).await;
    let sandbox = Sandbox::new().behind(docxy.addr(), &authority(&docxy).await);
    let docker = Dockerd::start(&sandbox, generation, Setup::default()).await;
    let reference = format!("{QUAY}:docker");
    drop(docker.docker(&["pull", &reference]).await.failed());
    drop(docker.login("quay.io", USER, "wrong").await.failed());
    quay.assert_gave_nothing().await;
    drop(docker.login("quay.io", USER, PASSWORD).await.succeeded());
    drop(docker.docker(&["pull", &reference]).await.succeeded());
    docker
        .assert_holds(&reference, &images.docker.manifest, images.docker.native())
        .await;
    quay.assert_pulled_native("team/app", "docker", &images.docker)
        .await;
    for line in docxy.app().log() {
        assert!(!line.to_string().contains(PASSWORD), "{line}");
    }
}

#[tokio::test]
async fn programs_may_go_past_docxy_where_they_are_told_to() {
    // Matters to whoever excepts a registry: NO_PROXY is the program's own affair, and docxy sees nothing of it.
    let home = Sandbox::new();
    let world = World::start(&home).await;
    let ca = authority(&world.docxy).await;
    let sandbox = Sandbox::new()
        .behind(world.docxy.addr(), &ca)
        .with("NO_PROXY", "ghcr.io,localhost");
    for tool in [Tool::Podman, Tool::Dockerd(Generation::Debian12)] {
        let client = Client::behind_proxy(tool, &sandbox).await;
        drop(client.pull(GHCR, "docker").await.failed());
        client.gets(QUAY, "docker", &world.images[1].docker).await;
    }
    world.ghcr.assert_gave_nothing().await;
    for line in world.docxy.app().log() {
        assert_ne!(line["fields"]["registry"], "ghcr.io", "{line}");
    }
}

#[tokio::test]
async fn without_the_certificate_nothing_is_believed() {
    // Matters to everybody: a proxy is not trusted because it is one.
    let home = Sandbox::new();
    let world = World::start(&home).await;
    let sandbox = Sandbox::new().with("HTTPS_PROXY", &format!("http://{}", world.docxy.addr()));
    for tool in [Tool::Podman, Tool::Skopeo] {
        let client = Client::behind_proxy(tool, &sandbox).await;
        let refused = client.pull(GHCR, "docker").await.failed();
        assert!(refused.stderr.contains("certificate"), "{refused}");
    }
    world.ghcr.assert_gave_nothing().await;
}

#[tokio::test]
async fn skopeo_copies_from_a_plain_registry_through_http_proxy() {
    // Matters to labs with a registry without TLS: the absolute form, under the registry's name.
    let home = Sandbox::new();
    let images = Catalogue::light(85).await;
    let lab = DockerRegistry::start(&home, SignIn::Nobody, &[("owner/image", &images)]).await;
    let docxy = Docxy::start(&(INTERCEPT.to_owned() + &registry("lab.test", &lab, ""))).await;
    let sandbox = Sandbox::new().with("HTTP_PROXY", &format!("http://{}", docxy.addr()));
    let skopeo = Skopeo::new(&sandbox);
    let copied = skopeo
        .copy(&["--src-tls-verify=false"], "lab.test/owner/image:oci")
        .await;
    copied.assert_holds(&images.oci.manifest, &images.oci.images);
    let served = docxy.served("owner/image");
    assert!(!served.is_empty());
    drop(
        skopeo
            .try_copy(&["--src-tls-verify=false"], "other.test/owner/image:oci")
            .await
            .failed(),
    );
}

#[tokio::test]
async fn curl_is_refused_what_is_not_configured() {
    // Matters to whoever runs docxy where others can reach it: it is no way to the rest of the world.
    let home = Sandbox::new();
    let world = World::start(&home).await;
    let sandbox = Sandbox::new();
    let ca = sandbox.file("ca.crt", authority(&world.docxy).await);
    let curl = async |url: &str| {
        let mut command = sandbox.command("/usr/bin/curl");
        command
            .args(["--silent", "--show-error", "--proxy"])
            .arg(format!("http://{}", world.docxy.addr()))
            .arg("--cacert")
            .arg(&ca)
            .args([
                "--write-out",
                "%{http_code} %{http_connect}",
                "--output",
                "/dev/null",
                url,
            ]);
        process::run(command).await
    };
    let mut refused = 0;
    for url in [
        "https://example.com/",
        "https://127.0.0.1/",
        "https://ghcr.io:8443/v2/",
        "https://169.254.169.254/",
    ] {
        let answer = curl(url).await.failed();
        assert!(answer.text().ends_with(" 403"), "{url}: {answer}");
        refused += 1;
    }
    for url in ["http://example.com/", "http://169.254.169.254/latest/meta-data/"] {
        let answer = curl(url).await;
        assert!(answer.text().starts_with("403"), "{url}: {answer}");
        refused += 1;
    }
    let good = curl("https://ghcr.io/v2/").await.succeeded();
    assert_eq!(good.text(), "401 200");
    println!("curl -x: {refused} refused, the registry's own answered");
}
