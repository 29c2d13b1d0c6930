//! Looks after one certificate for as long as docxy runs.

mod window;

use std::sync::Arc;
use std::time::Duration;

use super::challenges::Kind;
use super::client::Client;
use super::issued::Issued;
use super::kept::{Attempts, Kept};
use super::order::Ordering;
use super::schedule::{self, Setback, Share, Window};
use super::trouble::{Step, Trouble};
use super::{Config, account};
use crate::access::private::PrivateError;
use crate::config::values::Secret;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Order;
use crate::tls::Certificates;
use crate::tls::authority::Seconds;

/// The wall clock may jump, and another docxy of this state folder may renew: more often than this nothing is waited for.
const LOOK: Duration = Duration::from_hours(1);
/// While another docxy orders.
const WHILE_ANOTHER: Duration = Duration::from_secs(30);
/// An authority that says "come again next year" means something else.
const LONGEST_SAID: i64 = 7 * 24 * 60 * 60;
/// What an order is worth repeating for at once, it is worth so often.
const REPEATS: u32 = 3;
/// One order, with all that an authority may make of it.
const LONGEST_ORDER: Duration = Duration::from_mins(15);

pub struct Worker {
    config: Config,
    certificates: Arc<Certificates>,
    metrics: Metrics,
    kept: Kept,
    client: Client,
    current: Option<Current>,
    /// What is shown and could not be kept, as it is to be.
    unkept: Option<Secret<String>>,
    /// The authority could not be reached: not tried again before, and how often that was so in a row.
    silence: Option<(Seconds, u32)>,
    /// The last pause that was told to the log.
    told: Option<Seconds>,
}

struct Current {
    issued: Arc<Issued>,
    share: Share,
    window: Option<Window>,
    /// When the authority is asked for its window again.
    ask_again: Seconds,
}

impl Current {
    fn new(issued: Arc<Issued>) -> Self {
        Self {
            issued,
            share: Share::random(),
            window: None,
            ask_again: Seconds(0),
        }
    }

    fn due(&self) -> Seconds {
        let validity = self.issued.validity();
        let by_window = self
            .window
            .and_then(|window| schedule::within(window, validity, self.share));
        by_window.unwrap_or_else(|| schedule::by_life(validity, self.share))
    }
}

impl Worker {
    pub fn new(
        config: Config,
        certificates: Arc<Certificates>,
        current: Option<Arc<Issued>>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client: Client::new(config.opener.clone(), config.tls.clone(), &config.directory),
            kept: Kept::in_state(&config.state),
            current: current.map(Current::new),
            config,
            certificates,
            metrics,
            unkept: None,
            silence: None,
            told: None,
        }
    }

    /// Never ends.
    pub async fn run(mut self) {
        if self.current.is_none()
            && let Ok(Some(kept)) = self.with_kept(Kept::certificate).await
        {
            self.show(Arc::new(kept));
        }
        self.tell_beginning();
        loop {
            let pause = self.step().await;
            tokio::time::sleep(pause.clamp(Duration::from_secs(1), LOOK)).await;
        }
    }

    fn tell_beginning(&self) {
        let names = self.config.names.join(", ");
        let shown = self.current.as_ref().map(|current| current.issued.validity());
        if let Some(validity) = shown.filter(|validity| validity.is_over(Seconds::now())) {
            tracing::warn!(
                "the certificate that is shown expired on {}; clients refuse it",
                validity.not_after
            );
        }
        if let Some(current) = self.current.as_ref().filter(|current| self.is_right(current)) {
            tracing::info!(
                "the certificate for {names} is valid until {}; it is renewed from {} on",
                current.issued.validity().not_after,
                current.due()
            );
        } else {
            tracing::warn!(
                "there is no certificate for {names} yet; until {} has issued one, clients that verify certificates refuse \
                 docxy's",
                self.config.host()
            );
        }
    }

    /// Does what is to be done now, and says how long nothing is.
    async fn step(&mut self) -> Duration {
        self.take_what_another_fetched().await;
        let now = Seconds::now();
        if let Some(at) = self.next_look(now).await {
            return between(now, at);
        }
        match self.order(now).await {
            Ok(pause) => pause,
            Err(trouble) => self.wait_in_silence(now, &trouble),
        }
    }

    /// When there is nothing to order until then.
    async fn next_look(&mut self, now: Seconds) -> Option<Seconds> {
        let is_right = self
            .current
            .as_ref()
            .is_some_and(|current| self.is_right(current));
        if !is_right {
            return None;
        }
        self.ask_for_window(now).await;
        let current = self.current.as_ref()?;
        let due = current.due();
        (due > now).then(|| due.min(current.ask_again))
    }

    fn is_right(&self, current: &Current) -> bool {
        self.is_right_one(&current.issued)
    }

    fn is_right_one(&self, issued: &Issued) -> bool {
        issued.covers(&self.config.names) && issued.is_by(self.config.directory.as_str())
    }

    /// An old docxy that hands over to a new one, or several of one state folder, need one certificate only.
    async fn take_what_another_fetched(&mut self) {
        if let Some(text) = self.unkept.take() {
            self.keep_certificate(text).await;
        }
        match self.with_kept(Kept::certificate).await {
            Ok(Some(found)) => {
                let is_newer = self.current.as_ref().is_none_or(|known| {
                    !self.is_right(known) || known.issued.validity().not_before < found.validity().not_before
                });
                if is_newer && self.is_right_one(&found) {
                    tracing::info!(
                        "took the certificate that another docxy of this state folder fetched; it is valid until {}",
                        found.validity().not_after
                    );
                    self.show(Arc::new(found));
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!("looking for a certificate that is kept: {error}"),
        }
    }

    fn show(&mut self, issued: Arc<Issued>) {
        self.certificates.show(Arc::clone(&issued));
        self.current = Some(Current::new(issued));
    }

    /// Makes an order, unless an earlier one that failed forbids it; how long nothing is to be done then. What went wrong
    /// with an order is told and remembered here; an error is what kept it from being made.
    async fn order(&mut self, now: Seconds) -> Result<Duration, Trouble> {
        let silence = self.silence.map(|(until, _)| until);
        if let Some(until) = silence.filter(|until| *until > now && schedule::is_believable(*until, now)) {
            return Ok(between(now, until));
        }
        let before = self.with_kept(Kept::attempts).await?;
        if let Some(until) = self.forbidden(&before, now) {
            return Ok(between(now, until));
        }
        let Some(_alone) = self.with_kept(Kept::alone).await? else {
            return Ok(WHILE_ANOTHER);
        };
        // A docxy that ends within the order, over and over, counts as one whose orders fail.
        let failures = before.failures.saturating_add(1);
        let pause = schedule::pause(failures, Setback::Failure, Share::random());
        let begun = Attempts {
            failures,
            not_before: now.plus(seconds(pause)).0,
            said_by_authority: false,
            wanted: self.wanted(),
            worked: before.worked.clone(),
            why: Some("docxy ended while it ordered".to_owned()),
        };
        self.keep(&begun).await?;
        let trouble = match self.issue(&before).await {
            Ok(worked) => {
                self.metrics.acme_orders.inc(Order::Issued);
                self.silence = None;
                let alone = self
                    .current
                    .as_ref()
                    .map(|current| schedule::at_least(current.issued.validity()));
                let done = Attempts {
                    not_before: now.plus(alone.map_or(0, seconds)).0,
                    wanted: begun.wanted,
                    worked: worked.map(|kind| kind.as_str().to_owned()).or(before.worked),
                    ..Attempts::default()
                };
                self.keep(&done).await?;
                return Ok(Duration::ZERO);
            }
            Err(trouble) => trouble,
        };
        self.metrics.acme_orders.inc(trouble.word());
        if trouble.setback() == Setback::Silence {
            self.keep(&before).await?;
            return Err(trouble);
        }
        let said = trouble.until().map(|until| until.min(now.plus(LONGEST_SAID)));
        let until = Seconds(begun.not_before).max(said.unwrap_or(Seconds(0)));
        let is_challenge = matches!(trouble, Trouble::Challenge { .. });
        self.tell_failure(&trouble, until);
        self.told = Some(until);
        let ended = Attempts {
            not_before: until.0,
            said_by_authority: said.is_some(),
            why: Some(trouble.to_string()),
            worked: begun.worked.clone().filter(|_| !is_challenge),
            ..begun
        };
        self.keep(&ended).await?;
        Ok(between(now, until))
    }

    /// Until when an earlier order forbids another.
    fn forbidden(&mut self, attempts: &Attempts, now: Seconds) -> Option<Seconds> {
        let until = attempts.not_before();
        // A clock that was set back would keep docxy waiting for as long.
        let is_sane = until <= now.plus(LONGEST_SAID + seconds(LOOK));
        let holds = attempts.said_by_authority || attempts.wanted == self.wanted();
        if until <= now || !holds || !is_sane {
            return None;
        }
        let is_news = self.told.replace(until) != Some(until);
        if is_news && attempts.failures == 0 {
            tracing::info!(
                "the certificate for {} is due already, but new: it is left alone until {until}",
                self.config.names.join(", ")
            );
        } else if is_news {
            tracing::warn!(
                "no certificate is ordered before {until}, because the last order failed: {}. To order at once, delete {} and \
                 restart docxy",
                attempts.why.as_deref().unwrap_or("nobody knows why"),
                self.kept.attempts_file().display()
            );
        }
        Some(until)
    }

    /// One certificate; by which kind of challenge, where one was needed.
    async fn issue(&mut self, before: &Attempts) -> Result<Option<Kind>, Trouble> {
        let mut kinds = self.kinds(before);
        let mut replaces = true;
        let mut repeats = 0;
        // After a failure each further order tries one kind: a failed challenge counts against a limit.
        let mut others = if before.failures == 0 { kinds.len() - 1 } else { 0 };
        loop {
            // What it answered to an earlier order is no word about this one.
            let _ = self.client.turned();
            let once = tokio::time::timeout(LONGEST_ORDER, self.issue_once(&kinds, replaces)).await;
            let trouble = match once {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(trouble)) => trouble,
                Err(_) => self.odd(
                    Step::Order,
                    format!("no certificate came of it within {LONGEST_ORDER:?}"),
                ),
            };
            let is_challenge = matches!(trouble, Trouble::Challenge { .. });
            if is_challenge && others > 0 {
                others -= 1;
                kinds.rotate_left(1);
                tracing::warn!("{trouble}. Now by {}", kinds[0]);
                continue;
            }
            repeats += 1;
            if repeats > REPEATS {
                return Err(trouble);
            }
            if trouble.is_about_a_nonce() {
                tracing::debug!("ordering again: {trouble}");
            } else if trouble.is_about_replacing() && replaces {
                replaces = false;
            } else if trouble.is_about_the_account() {
                tracing::warn!("{trouble}. Registering another account");
                let directory = self.config.directory.to_string();
                let id = self.config.binding_id();
                self.with_kept(move |kept| kept.forget_account(&directory, id.as_deref()))
                    .await?;
            } else {
                return Err(trouble);
            }
        }
    }

    async fn issue_once(&mut self, kinds: &[Kind], replaces: bool) -> Result<Option<Kind>, Trouble> {
        let account = account::open(&self.config, &self.kept, &self.client).await?;
        let old = self.current.as_ref().filter(|current| self.is_right(current));
        let ordering = Ordering {
            config: &self.config,
            client: &self.client,
            account: &account,
            challenges: self.certificates.challenges(),
            kinds,
            replaces: old.filter(|_| replaces).and_then(|old| {
                // It was renewed by the window of an authority that knows renewal.
                old.window.and(old.issued.id()).cloned()
            }),
        };
        let (text, kind) = ordering.run().await?;
        let issued = Issued::parse(&self.config.state, text.expose().as_bytes())?;
        if !issued.covers(&self.config.names) {
            let what = "the certificate is for other names than were ordered";
            return Err(self.odd(Step::Certificate, what.to_owned()));
        }
        if let Some(wrong) = schedule::what_is_wrong(issued.validity(), Seconds::now()) {
            let validity = issued.validity();
            return Err(self.odd(
                Step::Certificate,
                format!(
                    "the certificate is of no use: {wrong} ({} to {}); look at this machine's clock",
                    validity.not_before, validity.not_after
                ),
            ));
        }
        // First of all: a docxy that ends now must not have to order another.
        self.keep_certificate(text).await;
        let validity = issued.validity();
        self.show(Arc::new(issued));
        tracing::info!(
            "{} issued a certificate for {}, valid until {}",
            self.config.host(),
            self.config.names.join(", "),
            validity.not_after
        );
        Ok(kind)
    }

    /// What can't be kept now is tried again at each look.
    async fn keep_certificate(&mut self, text: Secret<String>) {
        let again = text.clone();
        let kept = self.with_kept(move |kept| kept.keep_certificate(&text)).await;
        if let Err(error) = kept {
            tracing::error!(
                "the new certificate is in use, but can't be kept: {error}; a restart orders another"
            );
            self.unkept = Some(again);
        }
    }

    fn odd(&self, step: Step, what: String) -> Trouble {
        Trouble::Odd {
            host: self.config.host().to_owned(),
            step,
            what,
        }
    }

    /// What worked last is tried first; where nothing has, each order after a failure begins with the next kind.
    fn kinds(&self, before: &Attempts) -> Vec<Kind> {
        let mut kinds = self.config.kinds.clone();
        let first = before
            .worked()
            .and_then(|worked| kinds.iter().position(|kind| *kind == worked));
        let turns = first.unwrap_or(before.failures as usize % kinds.len().max(1));
        kinds.rotate_left(turns);
        kinds
    }

    fn tell_failure(&self, trouble: &Trouble, until: Seconds) {
        let names = self.config.names.join(", ");
        let shown = self.current.as_ref().map_or_else(
            || "until then clients refuse docxy's".to_owned(),
            |current| {
                format!(
                    "the one in use is valid until {}",
                    current.issued.validity().not_after
                )
            },
        );
        tracing::error!(
            "the certificate for {names} could not be had: {trouble}. The next order is made on {until}; {shown}"
        );
    }

    /// Nothing was ordered, so nothing is remembered over a restart.
    fn wait_in_silence(&mut self, now: Seconds, trouble: &Trouble) -> Duration {
        let failures = self.silence.map_or(1, |(_, failures)| failures.saturating_add(1));
        let pause = schedule::pause(failures, Setback::Silence, Share::random());
        let until = now.plus(seconds(pause));
        self.silence = Some((until, failures));
        self.tell_failure(trouble, until);
        pause
    }

    /// What a failure is a failure of; without secrets.
    fn wanted(&self) -> String {
        let config = &self.config;
        let kinds: Vec<_> = config.kinds.iter().map(|kind| kind.as_str()).collect();
        format!(
            "{} of {} by {} as {} {} with {}",
            config.names.join(","),
            config.directory,
            kinds.join(","),
            config.email.as_deref().unwrap_or("nobody"),
            config.binding.as_ref().map_or("", |binding| &binding.id),
            config.files,
        )
    }

    async fn keep(&self, attempts: &Attempts) -> Result<(), PrivateError> {
        let attempts = attempts.clone();
        self.with_kept(move |kept| kept.keep_attempts(&attempts)).await
    }

    /// Files are for threads that may wait.
    async fn with_kept<T: Send + 'static>(&self, work: impl FnOnce(&Kept) -> T + Send + 'static) -> T {
        self.kept.elsewhere(work).await
    }
}

fn between(now: Seconds, then: Seconds) -> Duration {
    Duration::from_secs(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or_default())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
