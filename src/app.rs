//! The composition root: the configuration becomes each module's own, the modules become parts, the parts a process.
//! The only file that knows everyone.

pub mod accounts;
mod acme;
pub mod authority;
mod fixed;
mod generation;
mod hand_over;
mod intercept;
mod limits;
mod reload;
mod resolve;
mod roads;
mod state;
pub mod storage;
mod traces;

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use http::HeaderValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use reload::Load;
pub use resolve::{addresses, policy, setup, tag_rules};

use self::acme::Renewal;
use self::generation::{CERTIFICATE_CHECK, Generation, Ground};
use self::hand_over::{Heritage, Operators, Program, Steward, Succession, Turns};
use self::reload::{Outside, Reloader};
use self::roads::Roads;
use crate::admin::api::health::Listening;
use crate::admin::{self, Control};
use crate::config::Schema;
use crate::config::load::Loaded;
use crate::listen::{self, Deed, Listener, Settings, systemd};
use crate::server::Live;
use crate::telemetry::logging::{self, LogHandle};
use crate::telemetry::metrics::Certificate;
use crate::telemetry::{Metrics, Tracer, har};
use crate::tls::Certificates;
use crate::tls::acme::Issued;

/// Serves until SIGTERM or SIGINT. The exit code is that of an orderly end, or of the impatient second signal.
/// All requests are recorded in the file `trace`, if there is to be one. `load` reads the configuration again; `listening` is
/// called once the sockets are open.
pub fn run(
    loaded: &Loaded,
    trace: Option<PathBuf>,
    load: Load,
    listening: impl FnOnce(),
) -> Result<ExitCode> {
    let schema = &loaded.schema;
    let logging = logging::start(&resolve::logging(schema))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let open_files = limits::raise_open_files();
    let program = Program::of_process().context("docxy's own program")?;
    let (predecessor, inherited) = Heritage::receive()?.map(|had| (had.line, had.sockets)).unzip();
    let sockets = Sockets::open(schema, inherited)?;
    let tracer = Tracer::default();
    match trace {
        Some(_) if predecessor.is_some() => {
            tracing::warn!("--trace-http: the recording ends with the process that handed over");
        }
        Some(file) => tracer.start(har::Wanted::all(file)).context("--trace-http")?,
        None => {}
    }
    if predecessor.is_none() {
        listening();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(
        Arc::new(loaded.clone()),
        sockets,
        open_files,
        logging.handle().clone(),
        &tracer,
        load,
        (program, predecessor),
    ));
    tracer.stop("docxy has ended");
    // Without this a name that is still being looked up could delay the end by half a minute.
    runtime.shutdown_background();
    ended
}

async fn serve(
    loaded: Arc<Loaded>,
    sockets: Sockets,
    open_files: u64,
    log: LogHandle,
    tracer: &Tracer,
    load: Load,
    (program, predecessor): (Program, Option<UnixStream>),
) -> Result<ExitCode> {
    let schema = &loaded.schema;
    let Sockets {
        listeners,
        certificates,
        issued,
    } = sockets;
    let (trigger, drain) = listen::drain();
    let after = if listeners.iter().any(Listener::is_kept) {
        listen::Sockets::Kept
    } else {
        listen::Sockets::Own
    };
    let signals = listen::watch_signals(trigger.clone(), after).context("signals can't be watched")?;
    let hangups = reload::hangups().context("signals can't be watched")?;
    let hand_over_requests = hand_over::requests().context("signals can't be watched")?;
    let metrics = Metrics::default();
    metrics.tell_aliases(schema.metrics_aliases);
    if let Some(certificates) = certificates.clone() {
        metrics.certificates(Certificate::Listener, move || certificates.expiries());
    }
    let exporting = traces::start(schema, &metrics)?;
    let secrets = state::Secrets::open(schema)?;
    let admins = Arc::new(accounts::admins(schema)?);
    let admin_config = resolve::admin(&loaded, certificates.as_ref())?;
    let mut succession = Succession::begin(predecessor)?;
    succession.prepared().await?;
    let store = storage::open(schema, &metrics)?;
    // After the cache's lock: whoever has that may also take the socket. Answered while transfers drain, too.
    let operators = admin::open(&admin_config).await?;
    let guard = Arc::new(admin::Guard::new(
        admins,
        schema.admin.allowed_hosts.clone(),
        metrics.clone(),
    ));
    let no_more_readers = CancellationToken::new();
    let watchers = TaskTracker::new();
    let addresses: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    let ground = Ground {
        metrics: metrics.clone(),
        log,
        tracer: tracer.clone(),
        traces: exporting.traces().clone(),
        drain: drain.clone(),
        own: addresses.iter().copied().chain(operators.addresses()).collect(),
        listening: addresses,
        store: store.clone(),
        certificates: certificates.clone(),
        secrets,
        end: no_more_readers.clone(),
        watchers: watchers.clone(),
    };
    // Another name in each process: one docxy may stand behind another.
    let via = HeaderValue::from_str(&format!("1.1 docxy-{:016x}", rand::random::<u64>()))?;
    let roads = Roads::new(ground.own.clone(), via, tracer.clone(), ground.metrics.clone());
    let first = Generation::first(&ground, Arc::clone(&loaded), roads)?;
    first.watch(&ground);
    let live = Live::new(Arc::clone(&first.parts));
    let settings = Settings::from(resolve::listen(schema, open_files, &metrics));
    let renewal = Arc::new(Renewal::new(&ground));
    let renewed = renewal.prepare(schema)?;
    let outside = Outside {
        live: live.clone(),
        settings: settings.clone(),
        certificates: certificates.clone(),
        open_files,
        renewal: Arc::clone(&renewal),
    };
    let predecessor = succession
        .ready(store.as_ref(), &first.parts.pull, &metrics)
        .await;
    // From now on authorities that come to look come to this process.
    renewal.take(renewed, issued);
    let keeping = store
        .as_ref()
        .map(|store| store.start(no_more_readers.clone().cancelled_owned()));
    let turns = Turns::default();
    let reloader = Reloader::new(ground, outside, load, first, (program.clone(), turns.clone()));
    let operators_parts = admin::Parts {
        metrics: metrics.clone(),
        store: store.clone(),
        control: Arc::clone(&reloader) as Arc<dyn Control>,
        tracer: tracer.clone(),
        traces: storage::traces(schema)?,
        guard: Arc::clone(&guard),
        listeners: listeners.iter().map(listening).collect(),
        certificates: certificates.clone(),
        started: SystemTime::now(),
        verifying: admin::Turn::default(),
        prefetching: admin::Turn::default(),
        looks: admin::Looks::default(),
    };
    let mut steward = Steward::new(
        (program, turns),
        &listeners,
        store,
        Operators::new(admin_config, operators_parts, operators),
        metrics.clone(),
        (trigger, drain.clone()),
        schema.limits.hand_over,
    )
    .context("the listening sockets")?;
    for listener in &listeners {
        tracing::info!(address = %listener.local_addr(), tls = listener.is_secure(), "listening");
    }
    if let Some(certificates) = certificates {
        let until = no_more_readers.clone().cancelled_owned();
        watchers.spawn(certificates.watch(CERTIFICATE_CHECK, until));
    }
    let ended = no_more_readers.clone().cancelled_owned();
    watchers.spawn(Arc::clone(guard.admins()).watch(ended));
    reloader.watch(hangups);
    watchers.close();
    tokio::spawn(systemd::watchdog(drain.clone()));
    let serving = tokio::spawn(listen::serve(listeners, settings, live, drain.clone()));
    let stopping = async {
        drain.started().await;
        // Whoever comes next renews.
        renewal.stop();
        drain.ending().await;
        systemd::stopping();
        std::future::pending().await
    };
    systemd::ready();
    tokio::select! {
        // Looked at first: where nothing is in flight, the drain's beginning and its end come together.
        biased;
        never = stopping => never,
        never = steward.serve(hand_over_requests) => match never {},
        report = serving => {
            let report = report.context("the accept loop failed")?.context("the listeners can't be used")?;
            // Downloads go on for as long as somebody may read them.
            no_more_readers.cancel();
            if let Some(keeping) = keeping {
                keeping.await.context("the cache's housekeeping failed")?;
            }
            watchers.wait().await;
            let is_well = steward.finish(predecessor).await;
            exporting.finish().await;
            tracing::info!(accepted = report.accepted, cut = report.cut, "stopped");
            Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        code = signals => Ok(ExitCode::from(code)),
    }
}

fn listening(listener: &Listener) -> Listening {
    Listening {
        address: listener.local_addr(),
        tls: listener.is_secure(),
    }
}

/// What is listened on, open before anything else is done.
struct Sockets {
    listeners: Vec<Listener>,
    certificates: Option<Arc<Certificates>>,
    /// The one of them that an authority issued to docxy.
    issued: Option<Arc<Issued>>,
}

impl Sockets {
    /// Must be called before any thread exists, because it clears environment variables. `inherited` from the process
    /// before.
    fn open(schema: &Schema, inherited: Option<Vec<(Deed, TcpListener)>>) -> Result<Self> {
        let (certificates, issued) = resolve::certificates(schema)?;
        let bindings = resolve::bindings(schema, certificates.as_ref());
        let listeners = match (inherited, systemd::listeners(&bindings)?) {
            (Some(inherited), _) => listen::inherit(inherited, &bindings)?,
            (None, Some(activated)) => activated,
            (None, None) => bindings.iter().map(Listener::open).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            listeners,
            certificates,
            issued,
        })
    }
}
