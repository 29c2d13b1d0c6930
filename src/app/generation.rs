//! What one configuration makes: everything behind the listeners. A reload makes the next one out of it, and what nothing
//! changed for goes over as it is, with all that it has learnt.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::roads::Roads;
use super::state::Secrets;
use super::{accounts, acme, authority, intercept, resolve};
use crate::access::{Access, Addresses, Limits};
use crate::cache::Store;
use crate::config::load::{Contents, Loaded};
use crate::config::schema::{ProxyList, Registry, Schema};
use crate::listen::Drain;
use crate::oci::RegistryName;
use crate::pull::Pull;
use crate::push::Push;
use crate::server::{Parts, Shared};
use crate::telemetry::logging::LogHandle;
use crate::telemetry::metrics::Certificate;
use crate::telemetry::{Metrics, Tracer, Traces};
use crate::tls::{Authority, Certificates, Identity};
use crate::upstream::Upstream;

/// How often certificate files are looked at for changes.
pub const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);

/// How often files of users and of addresses are.
const ACCESS_CHECK: Duration = Duration::from_secs(1);

/// How often the intercepting authority's are: whoever says `docxy ca activate` waits for it.
const AUTHORITY_CHECK: Duration = Duration::from_secs(1);

/// What all generations stand on; it lives as long as the process.
pub struct Ground {
    pub metrics: Metrics,
    pub log: LogHandle,
    pub tracer: Tracer,
    pub traces: Traces,
    pub drain: Drain,
    /// What is listened on, in the order of [`resolve::bindings`].
    pub listening: Vec<SocketAddr>,
    /// The same, and where operators are answered: nobody is to reach these through docxy (threat S3).
    pub own: Vec<SocketAddr>,
    pub store: Option<Store>,
    /// What the TLS listeners show.
    pub certificates: Option<Arc<Certificates>>,
    pub secrets: Secrets,
    /// Nobody is served any more.
    pub end: CancellationToken,
    /// What looks at files.
    pub watchers: TaskTracker,
}

/// One of them. Its watchers end with it.
pub struct Generation {
    pub loaded: Arc<Loaded>,
    pub parts: Shared,
    /// Registries whose clients are not those of the generation before.
    pub renewed: Vec<RegistryName>,
    roads: Roads,
    identities: Identities,
    files: Files,
    /// Where each registry is, or was when it was configured last.
    homes: Homes,
    end: CancellationToken,
    _ends: DropGuard,
}

/// What the files held that each registry's client was made with, if they could be read.
type Files = HashMap<RegistryName, Vec<(PathBuf, Option<Contents>)>>;

/// The certificates that are shown to each registry.
type Identities = Vec<(RegistryName, Arc<Identity>)>;

/// The address that speaks for a registry.
type Homes = BTreeMap<RegistryName, String>;

/// The parts that are not made of the configuration alone.
struct Known {
    access: Access,
    pull: Pull,
    limits: Arc<Limits>,
    authority: Option<Arc<Authority>>,
}

impl Generation {
    /// The process's first one. Blocks on files.
    pub fn first(ground: &Ground, loaded: Arc<Loaded>, roads: Roads) -> Result<Self> {
        let schema = &loaded.schema;
        let accounts = Arc::new(accounts::open(schema, &ground.secrets)?);
        let clients = Clients::make(schema, &roads, None)?;
        let pull = match &ground.store {
            Some(store) => Pull::caching(
                resolve::pull(schema),
                clients.upstreams.clone(),
                store.clone(),
                resolve::pull_cache(schema),
                ground.metrics.clone(),
            ),
            None => Pull::forwarding(resolve::pull(schema), clients.upstreams.clone()),
        };
        let known = Known {
            access: Access::new(ground.secrets.tokens()?, accounts, schema.access.grace)
                .ruled_by(resolve::policy(schema), Arc::default()),
            pull,
            limits: Arc::new(Limits::new(resolve::request_limits(schema))),
            authority: authority::open(schema)?,
        };
        let homes = homes(schema);
        settle(ground, &homes);
        Self::of(ground, loaded, roads, clients, known, homes)
    }

    /// The next one, for another configuration. Blocks on files. Nothing of this one has changed afterwards, whatever comes
    /// of it.
    pub fn next(&self, ground: &Ground, loaded: Arc<Loaded>) -> Result<Self> {
        let (old, new) = (&self.loaded.schema, &loaded.schema);
        let roads = self
            .roads
            .renewed(old.network == new.network && old.timeouts == new.timeouts);
        let accounts = accounts::renewed(self.parts.access.accounts(), (old, new), &ground.secrets)?;
        let clients = Clients::make(new, &roads, Some(self))?;
        let limits = resolve::request_limits(new);
        let known = Known {
            access: self
                .parts
                .access
                .renewed(Arc::new(accounts), resolve::policy(new), new.access.grace),
            pull: self.parts.pull.renewed(
                resolve::pull(new),
                clients.upstreams.clone(),
                resolve::pull_cache(new),
            ),
            limits: if limits == resolve::request_limits(old) {
                Arc::clone(&self.parts.limits)
            } else {
                Arc::new(Limits::new(limits))
            },
            authority: match &self.parts.authority {
                Some(authority) if authority::is_as_before(old, new)? => Some(Arc::clone(authority)),
                _ => authority::open(new)?,
            },
        };
        let mut homes_known = self.homes.clone();
        homes_known.extend(homes(new));
        Self::of(ground, loaded, roads, clients, known, homes_known)
    }

    /// To be called right before the next one is served, which nothing can prevent any more: registries that are others now, and
    /// what docxy knows of them, are forgotten. Blocks on files.
    pub fn give_way_to(&self, next: &Self, ground: &Ground) {
        self.parts.pull.give_way_to(&next.parts.pull);
        for (name, home) in &next.homes {
            if self.homes.get(name).is_some_and(|before| before != home) {
                next.parts.access.tokens().forget(name);
            }
        }
        settle(ground, &next.homes);
    }

    fn of(
        ground: &Ground,
        loaded: Arc<Loaded>,
        roads: Roads,
        clients: Clients,
        known: Known,
        homes: Homes,
    ) -> Result<Self> {
        let schema = &loaded.schema;
        let pull = Arc::new(known.pull);
        let access_log = ground.log.access(schema.log.access);
        let parts = Parts {
            config: resolve::server(schema, roads.via(), access_log, &ground.listening),
            routes: resolve::routes(schema).build()?,
            access: known.access,
            addresses: Addresses::load(resolve::addresses(schema))
                .context("lists of addresses of [access]")?,
            limits: known.limits,
            intercept: intercept::build(schema, &roads, &ground.own)?,
            push: Push::new(Arc::clone(&pull)),
            pull,
            challenges: acme::challenges(schema, ground.certificates.as_ref()),
            authority: known.authority,
            drain: ground.drain.clone(),
            metrics: ground.metrics.clone(),
            tracer: ground.tracer.clone(),
            traces: ground.traces.clone(),
            sign_in_hint: Once::new(),
        };
        let end = ground.end.child_token();
        Ok(Self {
            parts: Arc::new(parts),
            loaded,
            renewed: clients.renewed,
            roads,
            identities: clients.identities,
            files: clients.files,
            homes,
            _ends: end.clone().drop_guard(),
            end,
        })
    }

    /// Looks at files that may change, until the next generation is there or nobody is served any more, and tells when its
    /// certificates end. Must be called on the runtime.
    pub fn watch(&self, ground: &Ground) {
        let parts = &self.parts;
        let ends = || self.end.clone().cancelled_owned();
        let accounts = Arc::clone(parts.access.accounts());
        accounts.end_tokens_of_the_gone();
        ground
            .watchers
            .spawn(accounts.watch(ACCESS_CHECK, ends().shared()));
        ground
            .watchers
            .spawn(parts.addresses.clone().watch(ACCESS_CHECK, ends()));
        for identity in self.roads.identities() {
            ground.watchers.spawn(identity.watch(CERTIFICATE_CHECK, ends()));
        }
        if let Some(authority) = &parts.authority {
            let authority = Arc::clone(authority);
            ground.watchers.spawn(authority.watch(AUTHORITY_CHECK, ends()));
        }
        self.tell_certificates(&ground.metrics);
    }

    fn tell_certificates(&self, metrics: &Metrics) {
        let authority = self.parts.authority.clone();
        metrics.certificates(Certificate::Authority, move || {
            let expiries = authority.as_ref().map(|authority| authority.expiries());
            expiries.unwrap_or_default()
        });
        let identities = self.identities.clone();
        metrics.certificates(Certificate::Registry, move || {
            let ends =
                |(name, identity): &(RegistryName, Arc<Identity>)| (name.to_string(), identity.ends_at());
            identities.iter().map(ends).collect()
        });
    }
}

/// The clients of all registries.
struct Clients {
    upstreams: HashMap<RegistryName, Arc<Upstream>>,
    renewed: Vec<RegistryName>,
    identities: Identities,
    files: Files,
}

impl Clients {
    /// Those that nothing changed for stay as they are: with their connections, tokens, and what is known of their health and
    /// limits.
    fn make(schema: &Schema, roads: &Roads, before: Option<&Generation>) -> Result<Self> {
        let mut clients = Self {
            upstreams: HashMap::new(),
            renewed: Vec::new(),
            identities: Vec::new(),
            files: HashMap::new(),
        };
        for (name, registry) in schema.enabled_registries() {
            let context = || format!("registries.\"{name}\"");
            let files = files_of(schema, registry);
            let kept = before.and_then(|before| before.kept(schema, name, &files));
            let shown = roads.shown_to(registry).with_context(context)?;
            clients
                .identities
                .extend(shown.into_iter().map(|identity| (name.clone(), identity)));
            let upstream = if let Some(upstream) = kept {
                upstream
            } else {
                clients.renewed.push(name.clone());
                Arc::new(resolve::upstream(schema, name, registry, roads).with_context(context)?)
            };
            clients.upstreams.insert(name.clone(), upstream);
            clients.files.insert(name.clone(), files);
        }
        Ok(clients)
    }
}

impl Generation {
    /// The client of a registry, where it would be made the same again.
    fn kept(
        &self,
        new: &Schema,
        name: &RegistryName,
        files: &[(PathBuf, Option<Contents>)],
    ) -> Option<Arc<Upstream>> {
        let old = &self.loaded.schema;
        let (before, now) = (old.registries.get(name)?, new.registries.get(name)?);
        let is_as_before = old.network == new.network
            && old.timeouts == new.timeouts
            && old.parent == new.parent
            && upstream_part(before) == upstream_part(now)
            && self.files.get(name).map(Vec::as_slice) == Some(files);
        let upstream = self.parts.pull.upstream(name).ok()?;
        is_as_before.then(|| Arc::clone(upstream))
    }
}

fn homes(schema: &Schema) -> Homes {
    let home = |(name, registry): (&RegistryName, &Registry)| {
        let url = &registry.urls.first()?.url;
        Some((name.clone(), url.to_string()))
    };
    schema.enabled_registries().filter_map(home).collect()
}

/// Public marks are of the registry that made them.
fn settle(ground: &Ground, homes: &Homes) {
    let Some(store) = &ground.store else {
        return;
    };
    match store.settle(homes) {
        Ok(moved) => {
            for name in moved {
                tracing::info!(
                    registry = %name,
                    "the registry is at another address: what is public there is asked anew"
                );
            }
        }
        Err(error) => tracing::warn!("where registries are can't be written down in the cache: {error}"),
    }
}

/// Without the keys that its client knows nothing of.
fn upstream_part(registry: &Registry) -> Registry {
    let none = Registry::default();
    Registry {
        aliases: none.aliases,
        hosts: none.hosts,
        clients: none.clients,
        challenge: none.challenge,
        rate_limited: none.rate_limited,
        cache_quota: none.cache_quota,
        push: none.push,
        enabled: none.enabled,
        ..registry.clone()
    }
}

/// The files that are read when a client is made, and only then.
fn files_of(schema: &Schema, registry: &Registry) -> Vec<(PathBuf, Option<Contents>)> {
    let mirrors: Vec<Registry> = registry.mirrors().map(|(_, mirror)| mirror).collect();
    let places = || std::iter::once(registry).chain(&mirrors);
    let authorities = places().filter_map(|place| place.ca_file.clone());
    let proxies = places()
        .filter_map(|place| schema.proxy_of(place))
        .flat_map(ProxyList::proxies)
        .filter_map(|proxy| proxy.password_file.clone());
    authorities
        .chain(proxies)
        .map(|path| {
            let contents = std::fs::read(&path).ok().map(|bytes| Contents::of(&bytes));
            (path, contents)
        })
        .collect()
}
