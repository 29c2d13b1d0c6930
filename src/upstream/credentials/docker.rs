//! What docker keeps: its `config.json` and its credential helpers, whose protocol is `docker-credential-NAME get` with the
//! server's name on standard input and one JSON object on standard output.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{Proof, Reading, exec, file};
use crate::config::values::{Credential, Secret};

/// Helpers do not say how long their credential is good; docker itself runs them for every command. They keep a store of
/// their own, so that this is cheap.
const LIFE: Duration = Duration::from_mins(10);

/// The user name under which a helper gives an identity token.
const TOKEN: &str = "<token>";

/// What a helper prints when it has nothing for a server; a failure all the same.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

const KEY: &str = "docker_config";

/// `helper`: what `docker-credential-NAME` has for this server.
pub(super) async fn from_helper(
    name: &str,
    server: &str,
    lifetime: Option<Duration>,
) -> Result<Reading, String> {
    match ask(name, server).await? {
        Some(proof) => Ok(Reading {
            proof,
            life: Some(lifetime.unwrap_or(LIFE)),
        }),
        None => Err(format!(
            "helper docker-credential-{name} has no credential for {server}"
        )),
    }
}

/// `docker_config`: what docker would show to this server.
pub(super) async fn from_config(path: &Path, server: &str) -> Result<Reading, String> {
    let file = file::open(KEY, path).await?;
    let shown = path.display();
    let config: Config = serde_json::from_slice(&file.content).map_err(|error| {
        // The parser's own message may quote the file.
        format!(
            "{KEY} {shown} is no configuration of docker's (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    let helper = find(&config.cred_helpers, server)
        .or(config.creds_store.as_ref())
        .filter(|name| !name.is_empty());
    if let Some(name) = helper {
        if !is_helper(name) {
            return Err(format!(
                "{KEY} {shown} names a helper with a slash or nothing in its name"
            ));
        }
        if let Some(proof) = ask(name, server).await? {
            return Ok(Reading {
                proof,
                life: Some(LIFE),
            });
        }
    }
    let Some(entry) = find(&config.auths, server) else {
        return Err(format!(
            "{KEY} {shown} has nothing for {server}; `docker login` puts it there"
        ));
    };
    file.refuse_exposed()?;
    let proof = entry
        .proof()
        .map_err(|why| format!("{KEY} {shown}: the entry for {server} {why}"))?;
    Ok(Reading { proof, life: None })
}

/// A name that makes a program's name, and no path.
pub(super) fn is_helper(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

async fn ask(name: &str, server: &str) -> Result<Option<Proof>, String> {
    const KEY: &str = "helper";
    let program = format!("docker-credential-{name}");
    let (ended, printed) = exec::run(KEY, &program, &["get".to_owned()], server.as_bytes()).await?;
    if !ended.success() {
        if printed.trim_ascii().starts_with(NOT_FOUND) {
            return Ok(None);
        }
        return Err(format!(
            "{KEY} {program} failed ({ended}); run it by hand to see why: echo {server} | {program} get"
        ));
    }
    let answer: Answer = serde_json::from_slice(&printed)
        .map_err(|_| format!("{KEY} {program} printed no {{\"Username\": ..., \"Secret\": ...}}"))?;
    if answer.username.is_empty() || answer.secret.is_empty() {
        return Err(format!(
            "{KEY} {program} printed an empty user or secret for {server}"
        ));
    }
    Ok(Some(if answer.username == TOKEN {
        Proof::IdentityToken(Secret::new(answer.secret.into()))
    } else {
        Proof::Password(Credential {
            username: answer.username,
            password: Secret::new(answer.secret.into_bytes()),
        })
    }))
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Of docker's `config.json`, or podman's `auth.json`, what is about credentials.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Entry {
    fn proof(&self) -> Result<Proof, &'static str> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Proof::IdentityToken(Secret::new(token.into())));
        }
        let credential = match (given(&self.auth), given(&self.username), given(&self.password)) {
            (Some(auth), _, _) => decode(&auth).ok_or("has an `auth` that is not base64 of user:password")?,
            (None, Some(username), Some(password)) => Credential {
                username,
                password: Secret::new(password.into_bytes()),
            },
            _ if given(&self.registrytoken).is_some() => {
                return Err("has a `registrytoken` alone, which docxy does not use; sign in with a password");
            }
            // With a credsStore docker leaves an empty entry behind.
            _ => return Err("is empty: the password is in a store that the file does not name any more"),
        };
        Ok(Proof::Password(credential))
    }
}

fn decode(auth: &str) -> Option<Credential> {
    let plain = BASE64_STANDARD.decode(auth.trim()).ok()?;
    let colon = plain.iter().position(|byte| *byte == b':')?;
    let (username, password) = (&plain[..colon], &plain[colon + 1..]);
    // docker pads with them.
    let end = password.iter().rposition(|byte| *byte != 0)? + 1;
    let username = std::str::from_utf8(username)
        .ok()
        .filter(|name| !name.is_empty())?;
    Some(Credential {
        username: username.to_owned(),
        password: Secret::new(password[..end].to_vec()),
    })
}

/// By the very key, else by its host: docker has written `https://HOST/v1/`, `HOST/v2/` and `HOST` over the years. Keys
/// with any other path are podman's, for a part of a registry.
fn find<'e, T>(entries: &'e BTreeMap<String, T>, server: &str) -> Option<&'e T> {
    entries.get(server).or_else(|| {
        let host = host_of(server)?;
        entries
            .iter()
            .find(|(key, _)| host_of(key) == Some(host))
            .map(|(_, entry)| entry)
    })
}

/// Docker Hub's names in such files mean one.
fn host_of(key: &str) -> Option<&str> {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match (host, path.trim_end_matches('/')) {
        ("index.docker.io" | "registry-1.docker.io", "" | "v1" | "v2") => Some("docker.io"),
        (host, "" | "v1" | "v2") => Some(host),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(json: &str, server: &str) -> Result<(String, Vec<u8>), String> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        from_config(&path, server)
            .await
            .map(|reading| match reading.proof {
                Proof::Password(credential) => (credential.username, credential.password.expose().clone()),
                Proof::IdentityToken(token) => (TOKEN.to_owned(), token.expose().as_bytes().to_vec()),
            })
    }

    #[tokio::test]
    async fn every_form_of_entry_that_docker_and_podman_write() {
        // Whoever has signed in with docker on the machine should need nothing more.
        let auth = BASE64_STANDARD.encode(b"ann:p:w \xff");
        let entry = format!(r#"{{"auth":"{auth}"}}"#);
        let with_colon = ("ann".to_owned(), b"p:w \xff".to_vec());
        for (key, server) in [
            ("https://index.docker.io/v1/", "https://index.docker.io/v1/"),
            ("docker.io", "https://index.docker.io/v1/"),
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("localhost:5000", "localhost:5000"),
        ] {
            let json =
                format!(r#"{{"auths":{{"{key}":{entry}}},"HttpHeaders":{{"x":"y"}},"experimental":"on"}}"#);
            assert_eq!(read(&json, server).await.as_ref(), Ok(&with_colon), "{key}");
        }
        let plain = r#"{"auths":{"ghcr.io":{"username":"ann","password":"secret","email":"a@b"}}}"#;
        assert_eq!(read(plain, "ghcr.io").await.unwrap().1, b"secret");
        let identity = r#"{"auths":{"x.azurecr.io":{"auth":"MDAwMDA6","identitytoken":"refresh"}}}"#;
        assert_eq!(
            read(identity, "x.azurecr.io").await.unwrap(),
            (TOKEN.to_owned(), b"refresh".to_vec())
        );
    }

    #[tokio::test]
    async fn what_can_not_be_used_is_said_without_its_secret() {
        // The log of a failed start is read by many (S12); it must say which entry of which file, and no more.
        let canary = BASE64_STANDARD.encode("CANARY");
        for (json, said) in [
            ("{}".to_owned(), "has nothing for ghcr.io"),
            (
                r#"{"auths":{"ghcr.io/owner":{"auth":"YTpi"}}}"#.to_owned(),
                "has nothing for ghcr.io",
            ),
            (r#"{"auths":{"ghcr.io":{}}}"#.to_owned(), "is empty"),
            (
                format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{canary}"}}}}}}"#),
                "not base64 of user:password",
            ),
            (
                r#"{"auths":{"ghcr.io":{"auth":"CANARY!"}}}"#.to_owned(),
                "not base64 of user:password",
            ),
            (
                r#"{"auths":{"ghcr.io":{"registrytoken":"CANARY"}}}"#.to_owned(),
                "registrytoken",
            ),
            (r#"{"auths":{"ghcr.io":"CANARY"}}"#.to_owned(), "line 1, column"),
            (
                r#"{"credHelpers":{"ghcr.io":"../CANARY"}}"#.to_owned(),
                "names a helper",
            ),
            (
                r#"{"credsStore":"no-such-helper-of-docxys"}"#.to_owned(),
                "can't be started",
            ),
        ] {
            let error = read(&json, "ghcr.io").await.unwrap_err();
            assert!(error.contains(said), "{json}: {error}");
            assert!(!error.contains("CANARY") && !error.contains(&canary), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_not_used() {
        // 0600 is enforced where there is a password, and not where there is none (S12).
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, r#"{"auths":{"ghcr.io":{"auth":"YTpi"}}}"#).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = from_config(&path, "ghcr.io").await.unwrap_err();
        assert!(error.contains("chmod 600"), "{error}");
        let error = from_config(&path, "quay.io").await.unwrap_err();
        assert!(error.contains("has nothing for quay.io"), "{error}");
    }
}
