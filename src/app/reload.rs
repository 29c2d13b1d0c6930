//! Another configuration while docxy serves (feature U3): read whole, made whole, and taken at once; or refused, and what is
//! served stays as it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};

use super::fixed;
use super::generation::{Generation, Ground};
use super::{authority, resolve, storage};
use crate::admin::{Control, Mistake, NotReloaded, Reloaded};
use crate::config::load::{Contents, Loaded};
use crate::config::origin::{Origin, Problem};
use crate::config::{Problems, show, validate};
use crate::listen::{Settings, systemd};
use crate::server::{Live, Shared};
use crate::tls::Certificates;

/// How often the configuration's file is looked at, where that is wanted.
const CHECK: Duration = Duration::from_secs(1);

/// Reads the configuration again, from where it came.
pub type Load = Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>;

/// What a reload changes beside the generation.
pub struct Outside {
    pub live: Live,
    pub settings: Settings,
    pub certificates: Option<Arc<Certificates>>,
    pub open_files: u64,
}

/// The one who reloads.
pub struct Reloader {
    ground: Ground,
    outside: Outside,
    load: Load,
    current: Mutex<Generation>,
    /// Held by the reload that is under way.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    /// `first` is served already.
    pub fn new(ground: Ground, outside: Outside, load: Load, first: Generation) -> Arc<Self> {
        Arc::new(Self {
            ground,
            outside,
            load,
            current: Mutex::new(first),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// At each SIGHUP, and where `reload_on_change` is on, when the file changes; until nobody is served any more.
    ///
    /// # Errors
    /// The runtime could not install a signal handler.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let this = Arc::clone(self);
        let end = self.ground.end.clone();
        self.ground.watchers.spawn(async move {
            let mut seen = this.loaded().contents;
            loop {
                let changed = tokio::select! {
                    _ = hangups.recv() => {
                        seen = this.contents().await;
                        true
                    }
                    () = tokio::time::sleep(CHECK), if this.is_looking() => {
                        let now = this.contents().await;
                        let changed = now != seen;
                        seen = now;
                        changed
                    }
                    () = end.cancelled() => return,
                };
                if changed {
                    systemd::reloading();
                    // What came of it is in the log.
                    let _ = Arc::clone(&this).reload().await;
                    systemd::ready();
                }
            }
        });
        Ok(())
    }

    fn current(&self) -> MutexGuard<'_, Generation> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.current().loaded)
    }

    fn is_looking(&self) -> bool {
        self.loaded().schema.reload_on_change
    }

    /// Of the configuration's file.
    async fn contents(&self) -> Option<Contents> {
        let file: PathBuf = self.loaded().file.clone()?;
        let read = move || std::fs::read(file).ok().map(|bytes| Contents::of(&bytes));
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Blocks on files; must be called on a thread of the runtime's.
    fn take(&self) -> Result<Reloaded, NotReloaded> {
        let mut loaded = (self.load)().map_err(|problems| mistakes(&problems))?;
        let warnings = validate::files(&loaded).map_err(|problems| mistakes(&problems))?;
        loaded.warnings.extend(warnings);
        let old = self.loaded();
        let asked = show::values(&loaded.schema);
        let mut needs_restart = fixed::keep(&old.schema, &mut loaded.schema);
        let taken = show::values(&loaded.schema);
        let changed = differing(&show::values(&old.schema), &taken);
        needs_restart.extend(differing(&taken, &asked));

        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let loaded = Arc::new(loaded);
        let schema = &loaded.schema;
        warnings.extend(authority::check(schema).map_err(|error| broken(&error))?);
        // All that can fail comes before anything is changed.
        let certificates = match &self.outside.certificates {
            Some(certificates) => Some(
                certificates
                    .prepare(&resolve::certificate_files(schema))
                    .map_err(|error| broken(&anyhow::Error::new(error).context("tls")))?,
            ),
            None => None,
        };
        let next = {
            let current = self.current();
            current
                .next(&self.ground, Arc::clone(&loaded))
                .map_err(|error| broken(&error))?
        };
        self.ground
            .log
            .filter(&schema.log.level)
            .map_err(|error| broken(&error.into()))?;
        if let (Some(shown), Some(prepared)) = (&self.outside.certificates, certificates) {
            shown.take(prepared);
        }
        self.outside
            .settings
            .set(resolve::listen(schema, self.outside.open_files));
        if let Some(store) = &self.ground.store {
            store.set_quotas(storage::quotas(schema));
        }
        self.outside.live.swap(Arc::clone(&next.parts));
        next.watch(&self.ground);
        let registries = next.renewed.iter().map(ToString::to_string).collect();
        // The one before ends here, but for the requests that hold its parts.
        *self.current() = next;
        Ok(Reloaded {
            changed,
            needs_restart,
            registries,
            warnings,
        })
    }

    fn tell(&self, outcome: &Result<Reloaded, NotReloaded>) {
        self.ground.metrics.reloaded(outcome.is_ok());
        match outcome {
            Ok(reloaded) => {
                for warning in &reloaded.warnings {
                    tracing::warn!("{warning}");
                }
                if !reloaded.needs_restart.is_empty() {
                    tracing::warn!(
                        keys = reloaded.needs_restart.join(", "),
                        "these keys count only in a new process: hand over to one (SIGUSR2), or restart"
                    );
                }
                tracing::info!(
                    changed = reloaded.changed.join(", "),
                    registries = reloaded.registries.join(", "),
                    "the configuration was reloaded"
                );
            }
            Err(refused) => {
                tracing::error!(
                    "the configuration was not reloaded, docxy goes on with the one before:\n{refused}"
                );
            }
        }
    }
}

impl Control for Reloader {
    fn parts(&self) -> Shared {
        self.outside.live.parts()
    }

    fn reload(self: Arc<Self>) -> BoxFuture<'static, Result<Reloaded, NotReloaded>> {
        async move {
            let _turn = self.turn.lock().await;
            let this = Arc::clone(&self);
            let outcome = tokio::task::spawn_blocking(move || this.take())
                .await
                .unwrap_or_else(|panic| Err(broken(&panic.into())));
            self.tell(&outcome);
            outcome
        }
        .boxed()
    }

    fn configuration(&self) -> serde_json::Value {
        show::as_json(&self.loaded())
    }
}

fn mistakes(problems: &Problems) -> NotReloaded {
    NotReloaded {
        text: problems.to_string(),
        mistakes: problems.iter().map(mistake).collect(),
    }
}

fn mistake(problem: &Problem) -> Mistake {
    let place = match &problem.origin {
        Origin::File(place) => Some(place),
        _ => None,
    };
    Mistake {
        origin: match place {
            Some(place) => place.file.name.clone(),
            None => problem.origin.to_string(),
        },
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        key: problem.key.clone(),
        what: problem.what.clone(),
        fix: problem.fix.clone(),
    }
}

/// Something that the configuration names can't be used.
fn broken(error: &anyhow::Error) -> NotReloaded {
    NotReloaded {
        text: format!("{error:#}"),
        mistakes: Vec::new(),
    }
}

/// The keys of the second that have another value in the first, or none, and the other way round.
fn differing(one: &show::Values, other: &show::Values) -> Vec<String> {
    let gone = one.keys().filter(|key| !other.contains_key(*key));
    let others = other.iter().filter(|(key, value)| one.get(*key) != Some(value));
    let mut keys: Vec<String> = gone.chain(others.map(|(key, _)| key)).cloned().collect();
    keys.sort_unstable();
    keys
}
