//! Another configuration while docxy serves (feature U3): read whole, made whole, and taken at once; or refused, and what is
//! served stays as it is.

mod looks;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::looks::{Absent, Looks, Seen};
use super::acme::Renewal;
use super::fixed;
use super::generation::{Generation, Ground};
use super::hand_over::{Held as _, Program, Turns};
use super::{acme, authority, resolve, storage};
use crate::admin::{Control, Mistake, Mistaken, NotReloaded, OnlyIf, Reloaded};
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
    pub renewal: Arc<Renewal>,
}

/// The one who reloads.
pub struct Reloader {
    ground: Ground,
    outside: Outside,
    load: Load,
    current: Mutex<Arc<Generation>>,
    turns: Turns,
    program: Program,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

/// Why the configuration is read again.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// Somebody said so.
    Asked,
    /// The file changed to this, and has lain still since.
    Changed(Contents),
}

/// Takes over SIGHUP at once: until then it kills.
///
/// # Errors
/// The runtime could not install a signal handler.
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

impl Reloader {
    /// `first` is served already.
    pub fn new(
        ground: Ground,
        outside: Outside,
        load: Load,
        first: Generation,
        (program, turns): (Program, Turns),
    ) -> Arc<Self> {
        Arc::new(Self {
            ground,
            outside,
            load,
            current: Mutex::new(Arc::new(first)),
            turns,
            program,
        })
    }

    /// At each SIGHUP, and where `reload_on_change` is on, when the file changes; until nobody is served any more. One
    /// that is gone or empty changes nothing.
    pub fn watch(self: &Arc<Self>, mut hangups: Signal) {
        let this = Arc::clone(self);
        let end = self.ground.end.clone();
        self.ground.watchers.spawn(async move {
            let mut looks = Looks::from(this.loaded().contents);
            loop {
                let why = tokio::select! {
                    _ = hangups.recv() => Why::Asked,
                    () = tokio::time::sleep(CHECK), if this.is_looking() => {
                        match looks.see(this.contents().await) {
                            Seen::Changed(now) => Why::Changed(now),
                            Seen::Absent(absent) => {
                                this.tell_absence(absent);
                                continue;
                            }
                            Seen::Nothing => continue,
                        }
                    }
                    () = end.cancelled() => return,
                };
                if matches!(why, Why::Asked) {
                    looks.took(this.contents().await);
                }
                systemd::reloading();
                // What came of it is in the log.
                let _ = Arc::clone(&this).again(why, None).await;
                if !this.ground.drain.ends_service() {
                    systemd::ready();
                }
            }
        });
    }

    fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.current().loaded)
    }

    fn is_looking(&self) -> bool {
        self.loaded().schema.reload_on_change
    }

    fn tell_absence(&self, absent: Absent) {
        if let Some(file) = &self.loaded().file {
            tracing::warn!(
                "{} {absent}: the configuration from before goes on",
                file.display()
            );
        }
    }

    /// Of the configuration's file.
    async fn contents(&self) -> Option<Contents> {
        let file: PathBuf = self.loaded().file.clone()?;
        let read = move || std::fs::read(file).ok().map(|bytes| Contents::of(&bytes));
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    async fn again(self: Arc<Self>, why: Why, only_if: Option<OnlyIf>) -> Result<Reloaded, NotReloaded> {
        let turn = self.turns.take().await;
        // What counts in a process that serves instead, nobody has seen here.
        let has_handed_over = turn.is_some();
        if only_if.is_some_and(|is_as_seen| has_handed_over || !is_as_seen(&self.configuration())) {
            return Err(NotReloaded::ChangedMeanwhile);
        }
        if let Some(text) = turn.pass_on() {
            tracing::warn!("{text}");
            return Err(NotReloaded::from(Mistaken {
                text,
                mistakes: Vec::new(),
            }));
        }
        let this = Arc::clone(&self);
        let outcome = tokio::task::spawn_blocking(move || this.take(why))
            .await
            .unwrap_or_else(|panic| Err(broken(&panic.into())));
        self.tell(&outcome);
        Ok(outcome?)
    }

    /// Blocks on files; must be called on a thread of the runtime's, by one at a time.
    fn take(&self, why: Why) -> Result<Reloaded, Mistaken> {
        let mut loaded = (self.load)().map_err(|problems| mistakes(&problems))?;
        let warnings = validate::files(&loaded).map_err(|problems| mistakes(&problems))?;
        loaded.warnings.extend(warnings);
        let current = self.current();
        let old = &current.loaded;
        is_still_there(old, &loaded, why)?;
        let asked = show::values(&loaded.schema);
        let mut needs_restart = fixed::keep(&old.schema, &mut loaded.schema);
        let taken = show::values(&loaded.schema);
        let mut changed = differing(&show::values(&old.schema), &taken);
        changed.extend(fixed::secret(&old.schema, &loaded.schema, &changed));
        needs_restart.extend(differing(&taken, &asked));
        fixed::refuse_doors(&needs_restart).map_err(|text| Mistaken {
            text,
            mistakes: Vec::new(),
        })?;

        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let loaded = Arc::new(loaded);
        let schema = &loaded.schema;
        warnings.extend(authority::check(schema).map_err(|error| broken(&error))?);
        // All that can fail comes before anything is changed.
        let certificates = match &self.outside.certificates {
            Some(certificates) => Some(
                certificates
                    .prepare(&resolve::certificate_files(schema), acme::is_wanted(schema))
                    .map_err(|error| broken(&anyhow::Error::new(error).context("tls")))?,
            ),
            None => None,
        };
        let renewal = &self.outside.renewal;
        let prepared = renewal.prepare(schema).map_err(|error| broken(&error))?;
        let renewal = (!renewal.is_as_before(&old.schema, schema, prepared.as_ref())).then_some(prepared);
        let next = current
            .next(&self.ground, Arc::clone(&loaded))
            .map_err(|error| broken(&error))?;
        let limits = storage::limits(schema);
        if let Some(store) = &self.ground.store {
            store.check(&limits).map_err(|error| broken(&error.into()))?;
        }
        self.ground
            .log
            .filter(&schema.log.level)
            .map_err(|error| broken(&error.into()))?;
        if let (Some(shown), Some(prepared)) = (&self.outside.certificates, certificates) {
            shown.take(prepared);
        }
        self.outside.settings.set(resolve::listen(
            schema,
            self.outside.open_files,
            &self.ground.metrics,
        ));
        if let Some(store) = &self.ground.store {
            store.reconfigure(limits);
        }
        current.give_way_to(&next, &self.ground);
        self.outside.live.swap(Arc::clone(&next.parts));
        if let Some(renewal) = renewal {
            // What is shown now is found where it is kept.
            self.outside.renewal.take(renewal, None);
        }
        next.watch(&self.ground);
        self.ground
            .metrics
            .keep_meters(|own| schema.enabled_registries().any(|(name, _)| name.as_str() == own));
        let registries = next.renewed.iter().map(ToString::to_string).collect();
        // The one before ends here, but for the requests that hold its parts.
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(Reloaded {
            changed,
            needs_restart,
            registries,
            warnings,
        })
    }

    fn tell(&self, outcome: &Result<Reloaded, Mistaken>) {
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

    fn reload(self: Arc<Self>, only_if: Option<OnlyIf>) -> BoxFuture<'static, Result<Reloaded, NotReloaded>> {
        self.again(Why::Asked, only_if).boxed()
    }

    fn configuration(&self) -> serde_json::Value {
        show::as_json(&self.loaded())
    }

    /// By the signal, so that there is one way in, and one who decides.
    fn hand_over(&self) -> Result<(), String> {
        let drain = &self.ground.drain;
        if drain.ends_service() || drain.is_handed_over() {
            return Err(
                "this process has handed over already, or ends: ask the one that serves now".to_owned(),
            );
        }
        if let Some(why) = self.program.is_waited_for() {
            return Err(why.to_owned());
        }
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::USR2).map_err(|error| error.to_string())
    }
}

/// Without its file docxy would serve what nobody wrote, and to whom nobody wrote.
fn is_still_there(old: &Loaded, new: &Loaded, why: Why) -> Result<(), Mistaken> {
    let gone = new.file.is_none().then_some(old.file.as_ref()).flatten();
    let text = match (gone, why) {
        (Some(file), _) => format!("{}: there is no such file any more", file.display()),
        (None, Why::Changed(seen)) if new.contents != Some(seen) => {
            "the configuration's file changed while it was read; it is looked at again".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Mistaken {
        text,
        mistakes: Vec::new(),
    })
}

fn mistakes(problems: &Problems) -> Mistaken {
    Mistaken {
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
fn broken(error: &anyhow::Error) -> Mistaken {
    Mistaken {
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
