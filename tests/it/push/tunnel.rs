//! A push by a client that has docxy as its `HTTPS_PROXY`, under the registry's own name, in both versions of HTTP.

use reqwest::{Certificate, Client, Proxy, Response, Url, Version};

use super::uploads::{MANIFEST, manifest_of, noise};
use crate::{
    clients::support::{
        door::{Door, registry},
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
    },
    support::{client::Request, image::sha256},
};

const NAME: &str = "registry.example.com";

#[tokio::test]
async fn images_that_keep_their_names_are_pushed_too() {
    // Matters to CI that can be given nothing but a proxy: the upload's way leads back into the tunnel it came from.
    let sandbox = Sandbox::new();
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[]).await;
    let config = "[intercept]\nenabled = true\n".to_owned()
        + &registry(NAME, &upstream, "push = { enabled = true }\n");
    let door = Door::open_cached(&config).await;
    let authority = Request::get("/ca.pem").send(door.app().addr()).await;
    assert_eq!(authority.status, 200, "{}", authority.everything());
    let client = |version: Version| {
        let client = Client::builder()
            .proxy(Proxy::all(door.app().url()).unwrap())
            .tls_certs_only([Certificate::from_pem(&authority.body).unwrap()]);
        match version {
            Version::HTTP_2 => client,
            _ => client.http1_only(),
        }
        .build()
        .unwrap()
    };
    for (seed, version) in [(1, Version::HTTP_11), (2, Version::HTTP_2)] {
        let client = client(version);
        let repository = format!("https://{NAME}/v2/team/app{seed}");
        let bytes = noise(seed, 3_000_000);
        let digest = sha256(&bytes);
        let begun = client.post(format!("{repository}/blobs/uploads/"));
        let begun = begun.send().await.unwrap();
        assert_eq!((begun.status().as_u16(), begun.version()), (202, version));
        let sent = client
            .patch(onward(&begun))
            .body(bytes.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 202);
        let mut end = onward(&sent);
        end.query_pairs_mut().append_pair("digest", &digest);
        let stored = client.put(end).send().await.unwrap();
        assert_eq!(stored.status(), 201);
        assert_eq!(onward(&stored).as_str(), format!("{repository}/blobs/{digest}"));
        assert!(std::fs::read(upstream.blob_file(&digest)).unwrap() == bytes);

        let manifest = manifest_of((&digest, bytes.len()), (&digest, bytes.len()));
        let at = format!("{repository}/manifests/1");
        let put = client.put(&at).header("Content-Type", MANIFEST);
        let stored = put.body(manifest.clone()).send().await.unwrap();
        assert_eq!(stored.status(), 201);
        let pulled = client.get(&at).header("Accept", MANIFEST).send().await.unwrap();
        assert_eq!(pulled.bytes().await.unwrap(), manifest);
    }
}

/// Where the answer's Location leads, as the client sees it.
fn onward(answer: &Response) -> Url {
    let location = answer.headers()["location"].to_str().unwrap();
    answer.url().join(location).unwrap()
}
