//! The composition root: the configuration becomes each module's own, the modules become parts, the parts a process.
//! The only file that knows everyone.

pub mod accounts;
mod acme;
pub mod authority;
mod intercept;
mod limits;
mod resolve;
mod roads;
mod state;
pub mod storage;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use http::HeaderValue;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use resolve::{addresses, policy, setup, tag_rules};

use self::roads::Roads;
use crate::access::{Access, Accounts, Addresses, Limits};
use crate::admin;
use crate::cache::Store;
use crate::config::Schema;
use crate::config::load::Loaded;
use crate::listen::{self, Drain, Listener, systemd};
use crate::oci::RegistryName;
use crate::pull::Pull;
use crate::push::Push;
use crate::server::{self, Parts};
use crate::telemetry::{AccessLog, Metrics, Tracer, har, logging};
use crate::tls::acme::Issued;
use crate::tls::{Authority, Certificates};
use crate::upstream::Upstream;

/// How often certificate files are looked at for changes.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);

/// How often files of users and of addresses are.
const ACCESS_CHECK: Duration = Duration::from_secs(1);

/// How often the intercepting authority's are: whoever says `docxy ca activate` waits for it.
const AUTHORITY_CHECK: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. The exit code is that of an orderly end, or of the impatient second signal.
/// All requests are recorded in the file `trace`, if there is to be one. `listening` is called once the sockets are open.
pub fn run(loaded: &Loaded, trace: Option<PathBuf>, listening: impl FnOnce()) -> Result<ExitCode> {
    let schema = &loaded.schema;
    let logging = logging::start(&resolve::logging(schema))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let open_files = limits::raise_open_files();
    let (certificates, issued) = resolve::certificates(schema)?;
    let bindings = resolve::bindings(schema, certificates.as_ref());
    // Taken before any thread exists, because it clears environment variables.
    let listeners = match systemd::listeners(&bindings)? {
        Some(inherited) => inherited,
        None => bindings
            .into_iter()
            .map(|binding| {
                Listener::bind(binding.address, binding.proxy_protocol, binding.tls)
                    .map(|listener| listener.taking_connect(binding.connect))
            })
            .collect::<Result<_, _>>()?,
    };
    let tracer = Tracer::default();
    if let Some(file) = trace {
        tracer.start(har::Wanted::all(file)).context("--trace-http")?;
    }
    listening();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(
        loaded,
        listeners,
        (certificates, issued),
        open_files,
        logging.access(schema.log.access),
        &tracer,
    ));
    tracer.stop("docxy has ended");
    // Without this a name that is still being looked up could delay the end by half a minute.
    runtime.shutdown_background();
    ended
}

async fn serve(
    loaded: &Loaded,
    listeners: Vec<Listener>,
    (certificates, issued): (Option<Arc<Certificates>>, Option<Arc<Issued>>),
    open_files: u64,
    access_log: AccessLog,
    tracer: &Tracer,
) -> Result<ExitCode> {
    let schema = &loaded.schema;
    let (trigger, drain) = listen::drain();
    let signals = listen::watch_signals(trigger).context("signals can't be watched")?;
    let metrics = Metrics::default();
    let store = storage::open(schema, &metrics)?;
    let secrets = state::Secrets::open(schema)?;
    let accounts = Arc::new(accounts::open(schema, &secrets)?);
    accounts.end_tokens_of_the_gone();
    // After the cache's lock: whoever has that may also take the socket. Answered while transfers drain, too.
    let operators = admin::open(&resolve::admin(schema)?).await?;
    let no_more_readers = CancellationToken::new();
    let keeping = store
        .as_ref()
        .map(|store| store.start(no_more_readers.clone().cancelled_owned()));
    let decisions = Arc::default();
    let access = Access::new(secrets.tokens()?, Arc::clone(&accounts), schema.access.grace)
        .ruled_by(resolve::policy(schema), Arc::clone(&decisions));
    let addresses = listeners.iter().map(Listener::local_addr).collect();
    let acme = acme::start(schema, addresses, certificates.as_ref(), issued, &metrics)?;
    let mut parts = build(
        loaded,
        &listeners,
        drain.clone(),
        &Telling {
            metrics: &metrics,
            access_log,
            tracer,
        },
        store.as_ref(),
        access,
    )?;
    parts.challenges = acme::challenges(schema, certificates.as_ref());
    let operators = operators.serve(admin::Parts {
        metrics: metrics.clone(),
        store,
        accounts: Arc::clone(&accounts),
        pull: Arc::clone(&parts.pull),
        decisions,
        tracer: tracer.clone(),
        traces: storage::traces(schema)?,
    });
    let watching = watch(&accounts, &parts.addresses, &no_more_readers);
    for listener in &listeners {
        tracing::info!(address = %listener.local_addr(), tls = listener.is_secure(), "listening");
    }
    if let Some(certificates) = certificates {
        certificates.tell(&metrics);
        let until = drain.clone();
        tokio::spawn(certificates.watch(CERTIFICATE_CHECK, async move { until.started().await }));
    }
    tokio::spawn(systemd::watchdog());
    let config = resolve::listen(schema, open_files);
    let serving = tokio::spawn(listen::serve(
        listeners,
        config,
        server::router(Arc::new(parts)),
        drain.clone(),
    ));
    let stopping = async {
        drain.started().await;
        // Whoever comes next renews.
        drop(acme);
        systemd::stopping();
        std::future::pending().await
    };
    systemd::ready();
    tokio::select! {
        // Looked at first: where nothing is in flight, the drain's beginning and its end come together.
        biased;
        never = stopping => never,
        report = serving => {
            let report = report.context("the accept loop failed")?.context("the listeners can't be used")?;
            // Downloads go on for as long as somebody may read them.
            no_more_readers.cancel();
            if let Some(keeping) = keeping {
                keeping.await.context("the cache's housekeeping failed")?;
            }
            watching.await.context("watching the files of [access] failed")?;
            operators.stop().await;
            tracing::info!(accepted = report.accepted, cut = report.cut, "stopped");
            Ok(ExitCode::SUCCESS)
        }
        code = signals => Ok(ExitCode::from(code)),
    }
}

/// Files of users and of addresses, and access tokens, are looked at for as long as anybody may be served.
fn watch(accounts: &Arc<Accounts>, addresses: &Addresses, end: &CancellationToken) -> JoinHandle<()> {
    let ends = || end.clone().cancelled_owned();
    let accounts = Arc::clone(accounts).watch(ACCESS_CHECK, ends().shared());
    let addresses = addresses.clone().watch(ACCESS_CHECK, ends());
    tokio::spawn(async move {
        tokio::join!(accounts, addresses);
    })
}

/// Who is told of requests.
struct Telling<'a> {
    metrics: &'a Metrics,
    access_log: AccessLog,
    tracer: &'a Tracer,
}

/// Everything behind the listeners.
fn build(
    loaded: &Loaded,
    listeners: &[Listener],
    drain: Drain,
    telling: &Telling<'_>,
    store: Option<&Store>,
    access: Access,
) -> Result<Parts> {
    let schema = &loaded.schema;
    let Telling {
        metrics,
        access_log,
        tracer,
    } = telling;
    let addresses: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    // Another name in each process: one docxy may stand behind another.
    let via = HeaderValue::from_str(&format!("1.1 docxy-{:016x}", rand::random::<u64>()))?;
    let roads = Roads::new(addresses.clone(), via, (*tracer).clone());
    let mut upstreams: HashMap<RegistryName, Arc<Upstream>> = HashMap::new();
    for (name, registry) in schema.enabled_registries() {
        let upstream = resolve::upstream(schema, name, registry, &roads)
            .with_context(|| format!("registries.\"{name}\""))?;
        upstreams.insert(name.clone(), Arc::new(upstream));
    }
    for identity in roads.identities() {
        let until = drain.clone();
        tokio::spawn(identity.watch(CERTIFICATE_CHECK, async move { until.started().await }));
    }
    let pull = Arc::new(match store {
        Some(store) => Pull::caching(
            resolve::pull(schema),
            upstreams,
            store.clone(),
            resolve::pull_cache(schema),
            (*metrics).clone(),
        ),
        None => Pull::forwarding(resolve::pull(schema), upstreams),
    });
    let intercept = intercept::build(schema, &roads, &addresses)?;
    Ok(Parts {
        config: resolve::server(schema, roads.via(), access_log.clone(), &addresses),
        routes: resolve::routes(schema).build()?,
        access,
        addresses: Addresses::load(resolve::addresses(schema)).context("lists of addresses of [access]")?,
        limits: Limits::new(resolve::request_limits(schema)),
        intercept,
        push: Push::new(Arc::clone(&pull)),
        pull,
        challenges: None,
        authority: authority(schema, &drain)?,
        drain,
        metrics: (*metrics).clone(),
        tracer: (*tracer).clone(),
        sign_in_hint: Once::new(),
    })
}

/// What signs for the hosts that are intercepted, looked at for as long as docxy serves.
fn authority(schema: &Schema, drain: &Drain) -> Result<Option<Arc<Authority>>> {
    let authority = authority::open(schema)?;
    if let Some(authority) = &authority {
        let until = drain.clone();
        let authority = Arc::clone(authority);
        tokio::spawn(authority.watch(AUTHORITY_CHECK, async move { until.started().await }));
    }
    Ok(authority)
}
