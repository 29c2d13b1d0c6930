//! The clients of registries: where each of them is, and what it is shown. Over which roads: [`Roads`].

use anyhow::{Context, Result};

use crate::app::roads::Roads;
use crate::config::schema::{self, Registry, Schema, Source};
use crate::oci::RegistryName;
use crate::upstream::{self, CredentialSource, Mirror, Upstream, transport};

/// A token service's answer is a few kilobytes (threat I9).
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// Feature P5.
const MAX_REDIRECTS: u8 = 10;

/// The client of one registry.
pub fn upstream(
    schema: &Schema,
    name: &RegistryName,
    registry: &Registry,
    roads: &Roads,
) -> Result<Upstream> {
    let (mut config, transport) = place(schema, name, registry, roads)?;
    // Whoever looks for what is wrong must find the key that he wrote.
    if registry.password_file.is_some() && registry.password_file == schema.parent.password_file {
        for account in &mut config.credentials {
            "parent.password_file".clone_into(&mut account.key);
        }
    }
    let mut mirrors = Vec::new();
    for (index, mirror) in registry.mirrors() {
        let (mut config, transport) =
            place(schema, name, &mirror, roads).with_context(|| format!("url {}", index + 1))?;
        for account in &mut config.credentials {
            account.key = format!("registries.\"{name}\".urls, url {}", index + 1);
        }
        mirrors.push(Mirror::new(config, transport));
    }
    Ok(Upstream::new(config, transport).with_mirrors(mirrors, registry.mirrors_first))
}

/// One place of a registry: the first of its `urls`, with its other keys.
fn place(
    schema: &Schema,
    name: &RegistryName,
    registry: &Registry,
    roads: &Roads,
) -> Result<(upstream::Config, transport::Transport)> {
    let transport = roads.to(schema, name, registry)?;
    let config = upstream::Config {
        name: name.clone(),
        url: registry
            .urls
            .first()
            .map(|entry| entry.url.clone())
            .with_context(|| format!("registries.\"{name}\".urls is empty"))?,
        library_prefix: registry.library_prefix,
        credentials: registry.accounts(name).into_iter().map(account).collect(),
        realms: registry.realms.clone(),
        shows_certificate: registry.client_cert.is_some(),
        max_token_answer: MAX_TOKEN_ANSWER,
        timeouts: transport.timeouts,
        max_redirects: MAX_REDIRECTS,
        segments: u8::try_from(schema.network.segments).unwrap_or(u8::MAX),
        segment_threshold: schema.network.segment_threshold.bytes(),
        max_connections: registry.max_connections as usize,
    };
    Ok((config, transport.build()?))
}

fn account(account: schema::Account) -> upstream::Account {
    let source = match account.source {
        Source::Fixed(credential) => CredentialSource::Fixed(credential),
        Source::PasswordFile { username, path } => CredentialSource::PasswordFile { username, path },
        Source::Exec { command, lifetime } => CredentialSource::Exec { command, lifetime },
        Source::Helper {
            name,
            server,
            lifetime,
        } => CredentialSource::Helper {
            name,
            server,
            lifetime,
        },
        Source::DockerConfig { path, server } => CredentialSource::DockerConfig { path, server },
    };
    upstream::Account {
        name: account.name,
        key: account.key,
        source,
    }
}
