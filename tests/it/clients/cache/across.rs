//! What one program warmed is there for all the others when the registry is gone: they ask by other doors, for other media
//! types, in another order, and spell Docker Hub's names in other ways.

use futures_util::future::join_all;

use super::{
    super::support::{
        door::registry,
        generation::Generation,
        image::{Catalogue, Index},
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
    },
    support::Docxy,
    tool::{Client, Tool},
};

#[tokio::test]
async fn what_one_program_warmed_is_there_for_the_others() {
    // Matters to every site with more than one kind of client: whoever pulled first, the others start during an outage too.
    let (debian12, sid) = (Sandbox::new(), Sandbox::new());
    let catalogues: Vec<Catalogue> = join_all((1..=6).map(|n| Catalogue::light(n * 10_000))).await;
    let names = Tool::ALL.map(|tool| format!("library/{}", tool.name()));
    let content: Vec<(&str, &Catalogue)> = names.iter().map(String::as_str).zip(&catalogues).collect();
    let hub = DockerRegistry::start(&debian12, SignIn::Nobody, &content).await;
    let docxy = Docxy::start(&registry("docker.io", &hub, "")).await;
    let clients = join_all(Tool::ALL.map(|tool| {
        let sandbox = match tool {
            Tool::Dockerd(Generation::Sid) | Tool::Ctr(Generation::Sid) => &sid,
            _ => &debian12,
        };
        Client::start(tool, sandbox, docxy.addr())
    }))
    .await;

    let tags = |catalogue: &'_ Catalogue| -> [(&'static str, Index); 2] {
        [
            ("oci", catalogue.oci.clone()),
            ("docker", catalogue.docker.clone()),
        ]
    };
    join_all(
        clients
            .iter()
            .zip(&content)
            .map(|(client, (name, catalogue))| async move {
                for (tag, index) in tags(catalogue) {
                    client.gets(name, tag, &index).await;
                }
            }),
    )
    .await;
    hub.stop().await;

    let pulls = clients.iter().map(|client| {
        let content = &content;
        async move {
            let (mut came, mut failures) = (0, Vec::new());
            let others = Tool::ALL
                .into_iter()
                .zip(content)
                .filter(|(warmer, _)| *warmer != client.tool);
            for (warmer, (name, catalogue)) in others {
                for (tag, index) in tags(catalogue) {
                    let pull = client.pull(name, tag).await;
                    if pull.is_success() {
                        client.assert_holds(name, tag, &index).await;
                        came += 1;
                    } else {
                        failures.push(format!("{tag} warmed by {}: {pull}", warmer.name()));
                    }
                }
            }
            (client.tool, came, failures)
        }
    });
    let results = join_all(pulls).await;
    let mut lost = 0;
    for (tool, came, failures) in &results {
        println!(
            "{}: {came} of {} images that others warmed",
            tool.name(),
            came + failures.len()
        );
        for failure in failures {
            println!("  {failure}");
        }
        lost += failures.len();
    }
    assert_eq!(lost, 0);
}
