//! DNS is poisoned, and only a SOCKS5 proxy leads out: the four lines of the README, and `docker pull`.

use url::Url;

use super::{
    both_generations,
    support::{
        authority::Authority,
        dockerd::{Dockerd, Setup},
        door::{Door, trusting},
        generation::Generation,
        image::Catalogue,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
    },
};
use crate::support::{
    dns::{A, AAAA, DnsServer, Manner},
    proxy::Outbound,
};

both_generations!(pulls_where_dns_lies_and_only_a_socks_proxy_leads_out);
async fn pulls_where_dns_lies_and_only_a_socks_proxy_leads_out(generation: Generation) {
    // Matters to everyone in a network where Docker Hub's names are forged and its addresses are blocked.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let authority = Authority::new(&sandbox);
    let hub =
        DockerRegistry::start_tls(&sandbox, SignIn::Nobody, &authority, &[("library/app", &images)]).await;
    let behind = Url::parse(&hub.url()).expect("a URL");
    let behind = behind.socket_addrs(|| None).expect("its address")[0];
    let proxy = Outbound::leading_to(behind).await;
    // What the network answers for Docker Hub's names: an address where nobody is.
    let lie = [("registry-1.docker.io", "127.0.0.9")];
    let liar = DnsServer::plain(&lie, Manner::Answers, 60).await;
    let four_lines = format!(
        "[network.proxy]\nurl = \"{}\"\nremote_dns = true\nno_proxy = [\"lan.example.com\"]\n",
        proxy.url("socks5h", "")
    );
    // The liar stands for the network's own resolver, and the authority for the world's.
    let network = format!(
        "[network]\ndns = [\"{}\"]\n[registries.\"docker.io\"]\n{}",
        liar.address(),
        trusting(&authority.ca)
    );
    let door = Door::open(&format!("{network}\n{four_lines}")).await;
    let mirror = Some(format!("http://{}", door.authority()));
    let setup = Setup {
        mirror,
        ..Setup::default()
    };
    let docker = Dockerd::start(&sandbox, generation, setup).await;
    drop(docker.docker(&["pull", "app:docker"]).await.succeeded());
    docker
        .assert_holds("app:docker", &images.docker.manifest, images.docker.native())
        .await;
    hub.assert_pulled_native("library/app", "docker", &images.docker)
        .await;
    let asked = proxy.asked();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|asked| asked == "socks registry-1.docker.io:443"),
        "{asked:?}"
    );
    assert_eq!(liar.asked_at_all(A) + liar.asked_at_all(AAAA), 0);
}
