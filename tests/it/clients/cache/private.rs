//! What only some may read: shared where the operator said so, and for nobody else's eyes where he did not.

use super::{
    super::support::{
        door::{realm, registry},
        generation::Generation,
        image::Catalogue,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
        token_server::{PASSWORD, TokenServer, USER},
    },
    support::{Docxy, blob_bytes, words},
    tool::{Client, Login, Tool},
};

const NAME: &str = "private/app";

#[tokio::test]
async fn with_docxys_own_credential_private_images_come_offline_too() {
    // Matters to teams that gave docxy a robot's account so that nobody else needs one: an outage changes nothing.
    let sandbox = Sandbox::new();
    let tokens = TokenServer::start(&sandbox).await;
    let images = Catalogue::light(50).await;
    let hub = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &[(NAME, &images)]).await;
    let password = sandbox.secret("password", PASSWORD);
    let own = format!(
        "auth = \"configured\"\nusername = {USER:?}\npassword_file = {:?}\n",
        password.to_str().expect("a printable path")
    );
    let docxy = Docxy::start(&registry("docker.io", &hub, &(realm(&tokens) + &own))).await;
    let tags = [("oci", &images.oci), ("docker", &images.docker)];
    let warmer = Client::start(Tool::Dockerd(Generation::Sid), &sandbox, docxy.addr()).await;
    for (tag, index) in tags {
        warmer.gets(NAME, tag, index).await;
        warmer.forget(NAME, tag).await;
    }
    let begin = docxy.served(NAME).len();
    hub.stop().await;
    drop(tokens);

    let podman = Client::start(Tool::Podman, &sandbox, docxy.addr()).await;
    for client in [&warmer, &podman] {
        for (tag, index) in tags {
            client.gets(NAME, tag, index).await;
        }
    }
    let served = docxy.served(NAME).split_off(begin);
    println!(
        "configured, registry and token service gone: 4 pulls, {} bytes of blobs, {}",
        blob_bytes(&served),
        words(&served).join(" ")
    );
}

#[tokio::test]
async fn what_one_person_may_read_is_not_served_to_another() {
    // Matters to everyone with private images behind a shared docxy: that it has the bytes is no reason to give them away.
    let (sandbox, sid) = (Sandbox::new(), Sandbox::new());
    let tokens = TokenServer::start(&sandbox).await;
    let images = Catalogue::light(51).await;
    let hub = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &[(NAME, &images)]).await;
    let docxy = Docxy::start(&registry("docker.io", &hub, &realm(&tokens))).await;
    let tags = [("oci", &images.oci), ("docker", &images.docker)];
    let owner = Client::start(Tool::Ctr(Generation::Debian12), &sandbox, docxy.addr()).await;
    for (tag, index) in tags {
        drop(owner.pull_as(Login::Own, NAME, tag).await.succeeded());
        owner.assert_holds(NAME, tag, index).await;
    }

    let strangers = [
        (Tool::Ctr(Generation::Sid), Login::Nobody),
        (Tool::Ctr(Generation::Sid), Login::Wrong),
        (Tool::Dockerd(Generation::Debian12), Login::Nobody),
        (Tool::Skopeo, Login::Nobody),
        (Tool::Skopeo, Login::Wrong),
    ];
    let mut clients = Vec::new();
    for (tool, login) in strangers {
        if login == Login::Nobody {
            let place = if tool == Tool::Ctr(Generation::Sid) {
                &sid
            } else {
                &sandbox
            };
            clients.push(Client::start(tool, place, docxy.addr()).await);
        }
    }
    let mut tried = 0;
    let mut refused = async |when: &str| {
        let before = docxy.served(NAME).len();
        for client in &clients {
            for (_, login) in strangers.iter().filter(|(tool, _)| *tool == client.tool) {
                for (tag, _) in tags {
                    drop(client.pull_as(*login, NAME, tag).await.failed());
                    tried += 1;
                }
            }
        }
        let served = docxy.served(NAME).split_off(before);
        let given: Vec<_> = served.iter().filter(|one| one.status < 300).collect();
        println!(
            "{when}: {tried} pulls by strangers refused, {} of {} requests answered with content",
            given.len(),
            served.len()
        );
        assert!(given.is_empty(), "{given:#?}");
    };
    refused("the registry up").await;

    // Who may read it gets it from docxy's disk: the registry gives its word, and no content.
    let seen = hub.requests().await.len();
    for (tag, index) in tags {
        owner.forget(NAME, tag).await;
        drop(owner.pull_as(Login::Own, NAME, tag).await.succeeded());
        owner.assert_holds(NAME, tag, index).await;
    }
    let asked = hub.requests().await.split_off(seen);
    let content: Vec<_> = asked
        .iter()
        .filter(|one| one.method == "GET" && one.status == 200 && one.path != "/v2/")
        .collect();
    assert!(content.is_empty(), "{content:#?}");

    hub.stop().await;
    refused("the registry gone").await;
    drop(tokens);
    refused("its token service gone too").await;
}
