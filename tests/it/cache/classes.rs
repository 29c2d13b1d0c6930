//! I8: clients differ in what they accept. Nobody is given an answer of a type he excluded, and a tag that one tool warmed
//! is warm for the others.

use std::time::{Duration, Instant};

use super::support::{Cached, REPOSITORY, TAG};
use crate::support::{
    client::{Request, Response},
    image::{DOCKER_LIST, DOCKER_MANIFEST, Image, OCI_INDEX, OCI_MANIFEST},
    puller::ACCEPT,
    stub::{Fault, Gate, On},
};

/// dockerd 20.10 and 28, several lines.
const DOCKERD: &[&str] = &ACCEPT;

/// containerd 1.6 to 2.1, one line.
const CONTAINERD: &[&str] = &[
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*",
];

/// podman, skopeo, buildah and CRI-O (containers/image), several lines.
const PODMAN: &[&str] = &[
    OCI_MANIFEST,
    DOCKER_MANIFEST,
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
    DOCKER_LIST,
    OCI_INDEX,
];

/// An old tool that knows one image and no lists.
const OLD: &[&str] = &[DOCKER_MANIFEST];

const OLD_OCI: &[&str] = &[OCI_MANIFEST, DOCKER_MANIFEST];

const CURL: &[&str] = &[];

fn tag(accept: &[&str]) -> Request {
    accept
        .iter()
        .fold(Request::get(TAG), |request, line| request.header("Accept", *line))
}

fn names(accept: &[&str], answer: &Response) -> bool {
    let kind = answer.header("content-type").unwrap_or_default();
    accept.is_empty()
        || accept
            .iter()
            .any(|line| line.contains(kind) || line.contains("*/*"))
}

#[tokio::test]
async fn what_one_tool_warmed_is_warm_for_the_others() {
    // A cluster has dockerd, containerd and CRI-O: one of them pulled, the registry went down, the others still start.
    let tools = [
        ("dockerd", DOCKERD),
        ("containerd", CONTAINERD),
        ("podman", PODMAN),
        ("curl", CURL),
    ];
    let (mut served, mut tried) = (0, 0);
    for (warmer, first) in tools {
        for image in [
            Image::layers(1).platforms(&["amd64"]),
            Image::layers(1).oci().platforms(&["amd64"]),
        ] {
            let docxy = Cached::of(image, "[cache]\nrevalidate_timeout = \"1s\"").await;
            let root = docxy.image().root;
            docxy.send(tag(first)).await.assert_is(&root, &docxy.stub);
            docxy.stored(&root).await;
            docxy.stub.forget();
            for (tool, accept) in tools {
                let answer = docxy.send(tag(accept)).await;
                assert_eq!(
                    docxy.stub.gets("*/manifests/*").len(),
                    0,
                    "{tool} after {warmer}: {}",
                    docxy.stub.story()
                );
                answer.assert_is(&root, &docxy.stub);
            }
            docxy.stub.down().await;
            for (tool, accept) in tools {
                let answer = docxy.send(tag(accept)).await;
                tried += 1;
                let right = answer.status == 200 && answer.body == root.bytes;
                served += usize::from(right);
                if !right {
                    println!("warmed by {warmer}, asked by {tool}: {}", answer.everything());
                }
            }
        }
    }
    println!("I8 tags warmed by each of 4 tools, upstream down: {served} of {tried} served to the others");
    assert_eq!(served, tried);
}

/// A registry that gives an index to those who accept one, and the image itself to those who do not.
fn two_faced(docxy: &Cached, image: &Image) {
    let child = &image.children[0];
    let body = String::from_utf8(child.bytes.to_vec()).unwrap();
    let headers = vec![
        ("content-type", child.media_type.clone()),
        ("docker-content-digest", child.digest.clone()),
    ];
    docxy.stub.fault(
        On::path(TAG),
        Fault::Answer {
            status: 200,
            headers,
            body,
        },
    );
}

#[tokio::test]
async fn a_client_without_indexes_gets_the_other_answer() {
    // Docker Hub and docker-registry give a list to those who name it and one platform's image to the others: two answers.
    let image = Image::layers(1).platforms(&["amd64"]).build();
    let docxy = Cached::of(image.clone(), "[cache]\nrevalidate_timeout = \"1s\"").await;
    docxy.send(tag(DOCKERD)).await.assert_is(&image.root, &docxy.stub);
    docxy.stored(&image.root).await;
    two_faced(&docxy, &image);
    docxy.stub.forget();
    let old = docxy.send(tag(OLD)).await;
    old.assert_is(&image.children[0], &docxy.stub);
    let asked = docxy.stub.requests();
    let excluded = |line: &&str| line.contains(DOCKER_LIST) || line.contains(OCI_INDEX);
    assert!(
        !asked.iter().any(|seen| seen.lines("accept").iter().any(excluded)),
        "{}",
        docxy.stub.story()
    );
    docxy.stored(&image.children[0]).await;
    docxy.stub.clear_faults();
    docxy.send(tag(DOCKERD)).await.assert_is(&image.root, &docxy.stub);
    // Offline each has its own.
    docxy.stub.down().await;
    docxy
        .send(tag(OLD))
        .await
        .assert_is(&image.children[0], &docxy.stub);
    docxy.send(tag(DOCKERD)).await.assert_is(&image.root, &docxy.stub);
    println!("I8 two classes of one tag: each its own answer, offline too");
}

#[tokio::test]
async fn an_answer_of_an_excluded_type_is_never_served() {
    // The index is all that is stored: a tool without indexes can do nothing with it, and docxy says so.
    let image = Image::layers(1).oci().platforms(&["amd64"]).build();
    let docxy = Cached::of(image.clone(), "[cache]\nrevalidate_timeout = \"1s\"").await;
    docxy.send(tag(DOCKERD)).await.assert_is(&image.root, &docxy.stub);
    docxy.stored(&image.root).await;
    let mut excluded = 0;
    for state in ["up", "503", "down"] {
        match state {
            "503" => docxy.stub.fault(On::path("/v2/*"), Fault::Status(503)),
            "down" => docxy.stub.down().await,
            _ => {}
        }
        for accept in [OLD, OLD_OCI] {
            let answer = docxy.send(tag(accept)).await;
            let served = answer.status == 200 && !names(accept, &answer);
            // While the upstream is up its own answer decides, and this one gives the index whatever is asked.
            excluded += usize::from(served && state != "up");
            if state != "up" {
                assert!(answer.status >= 400, "{state}: {}", answer.everything());
            }
        }
    }
    println!("I8 stored answers served to a class that excludes them: {excluded} of 6");
    assert_eq!(excluded, 0);
    let path = format!("/v2/{REPOSITORY}/manifests/{}", image.root.digest);
    let by_digest = docxy
        .send(Request::get(path).header("Accept", DOCKER_MANIFEST))
        .await;
    assert!(by_digest.status != 200 || by_digest.body == image.root.bytes);
}

#[tokio::test]
async fn types_that_a_tool_added_go_upstream_with_its_class() {
    // helm and oras ask for types of their own: these reach the registry, beside the class's full list.
    let docxy = Cached::of(Image::layers(1).oci(), "").await;
    let own = "application/vnd.example.model.v1+json";
    let root = docxy.image().root;
    let accept = [OCI_MANIFEST, OCI_INDEX, own];
    docxy.send(tag(&accept)).await.assert_is(&root, &docxy.stub);
    let asked = docxy.stub.gets(TAG).pop().expect("a GET of the tag");
    let lines = asked.lines("accept").join(", ");
    for kind in [OCI_MANIFEST, OCI_INDEX, own] {
        assert!(lines.contains(kind), "{kind} is not in {lines}");
    }
    assert!(
        !lines.contains(DOCKER_LIST),
        "this client excluded Docker's types: {lines}"
    );
    assert!(!lines.contains("*/*"), "{lines}");
}

#[tokio::test]
async fn another_classs_answer_is_served_while_nobody_can_be_asked() {
    // dockerd pulled an image of one platform; a tool that knows fewer types can read it too: offline, and where the registry
    // hangs, after the usual patience and then at once.
    let docxy = Cached::of(Image::layers(1).oci(), "").await;
    let root = docxy.image().root;
    docxy.send(tag(DOCKERD)).await.assert_is(&root, &docxy.stub);
    docxy.stored(&root).await;
    let docxy = docxy.stop().await.start_with("[cache]\noffline = true").await;
    let offline = docxy.send(tag(OLD_OCI)).await;
    offline.assert_is(&root, &docxy.stub);
    assert_eq!(super::support::word(&offline), "stale");
    assert!(docxy.send(tag(OLD)).await.status >= 400, "an excluded type");
    let patience = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nheaders = \"30s\"";
    let docxy = docxy.stop().await.start_with(patience).await;
    let gate = Gate::closed();
    docxy.stub.fault(On::path("/v2/*"), Fault::Head(gate.clone()));
    let mut times = Vec::new();
    for _ in 0..10 {
        let begin = Instant::now();
        let answer = docxy.send(tag(OLD_OCI)).await;
        times.push(begin.elapsed());
        answer.assert_is(&root, &docxy.stub);
        assert_eq!(super::support::word(&answer), "stale");
    }
    let (first, slowest) = (times[0], times[1..].iter().max().copied().unwrap_or_default());
    println!(
        "I8 another class's answer: offline 1 of 1; the registry hangs: first {first:.1?}, then {slowest:.1?}"
    );
    assert!(first < Duration::from_millis(1500) && slowest < Duration::from_millis(250));
    gate.open();
}
