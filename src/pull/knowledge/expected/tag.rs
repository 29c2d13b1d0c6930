//! A pull of a tag that is kept.

use std::time::Duration;

use super::{Expected, Obstacle, Shown, View, expected};
use crate::config::values::show_duration;
use crate::oci::Tag;
use crate::pull::cached::Cached;
use crate::pull::freshness::{AfterError, Decision, ErrorClass, Rule, after_error, decide, is_young_enough};
use crate::pull::knowledge::Meaning;
use crate::pull::rights::{PROOF, Standing};
use crate::pull::{Blame, Outcome};
use crate::upstream::{Method, Sources};

/// How it would go.
pub(super) struct TagView<'a> {
    pub view: &'a View<'a>,
    pub cached: &'a Cached,
    pub tag: &'a Tag,
    pub rule: &'a Rule,
    pub standing: Standing,
}

impl<'a> TagView<'a> {
    /// What the tag meant to the clients that asked last, where that can be served.
    pub fn before(&self) -> Option<&'a Meaning> {
        let meaning = self.view.known.tag_means.first()?;
        (meaning.is_readable
            && (meaning.withdrawn.is_none() || self.is_served_after(meaning, ErrorClass::Missing)))
        .then_some(meaning)
    }

    pub fn known(&self, meaning: &Meaning) -> Expected {
        let registry = &self.view.name.registry;
        let age = Duration::from_secs(meaning.confirmed);
        if self.view.known.is_offline {
            let because = "docxy is told to ask nobody (cache.offline): what the tag meant is served";
            return expected(Outcome::Stale, because.to_owned());
        }
        // Who has yet to show his right again is not served unasked, however fresh it is.
        let is_asked = self.standing != Standing::Entitled
            || meaning.withdrawn.is_some()
            || self.cached.moved.is_unsure(self.view.name, self.tag);
        match decide(self.rule, age) {
            Decision::Fresh if !is_asked => {
                let because = "it is stored, and fresh by its rule: nobody is asked";
                return expected(Outcome::Hit, because.to_owned());
            }
            Decision::StaleWhileRevalidate if !is_asked && self.view.known.suspicion.is_none() => {
                let because = format!(
                    "older than its rule wants, it is served at once, and {registry} is asked meanwhile"
                );
                return expected(Outcome::Stale, because);
            }
            Decision::Fresh | Decision::StaleWhileRevalidate | Decision::Revalidate => {}
        }
        let asked = self.view.asked(Method::Head);
        match asked.and_then(|caveat| self.gone(meaning).map_or(Ok(caveat), Err)) {
            Ok(caveat) => expected(
                Outcome::Revalidated,
                format!(
                    "{registry} is asked with one small request whether the tag still means this{caveat}; if not, it is a miss"
                ),
            ),
            Err(obstacle) if self.is_served_after(meaning, obstacle.class) => {
                let because = format!(
                    "{}: what the tag meant is served, as {}",
                    obstacle.because,
                    self.allows(meaning, &obstacle)
                );
                expected(Outcome::Stale, because)
            }
            Err(obstacle) => expected(
                obstacle.outcome,
                format!("{}, and its rule does not let it be served on", obstacle.because),
            ),
        }
    }

    /// Nothing of it can be served.
    pub fn unknown(&self) -> Expected {
        let view = self.view;
        let registry = &view.name.registry;
        let first = view.known.tag_means.first();
        let gone = first.and_then(|meaning| self.gone(meaning));
        let what = match first {
            Some(_) if gone.is_some() => "",
            Some(_) => "what the tag means is not stored any more",
            None => "what the tag means is not known here",
        };
        let asked = match (view.asked(Method::Get), gone) {
            (Err(obstacle), _) | (Ok(_), Some(obstacle)) => Err(obstacle),
            (Ok(caveat), None) => Ok(caveat),
        };
        match asked {
            Ok(caveat) => expected(
                Outcome::Miss,
                format!("{what}: {registry} is asked for it{caveat}"),
            ),
            Err(obstacle) => match self.of_others(&obstacle) {
                Some(_) => expected(
                    Outcome::Stale,
                    format!("{}: what it told other clients is served", obstacle.because),
                ),
                None if obstacle.class == ErrorClass::RateLimited && self.has_mirrors() => expected(
                    Outcome::Miss,
                    format!(
                        "{what}, and {}: what it means costs nothing to ask, and its mirrors may have it",
                        obstacle.because
                    ),
                ),
                None if what.is_empty() => expected(obstacle.outcome, obstacle.because),
                None => obstacle.after(what),
            },
        }
    }

    /// The registry decides about this client first.
    pub fn unproved(&self) -> Expected {
        let view = self.view;
        let registry = &view.name.registry;
        // Of what is not for everyone a client with an account of its own is asked about by HEAD.
        let first = view.known.tag_means.first();
        let is_kept = view.shown == Shown::ClientsAccount && first.is_some_and(|meaning| meaning.is_readable);
        match view.asked(if is_kept { Method::Head } else { Method::Get }) {
            Ok(caveat) if is_kept => {
                let sooner = self.if_proved();
                expected(
                    Outcome::Revalidated,
                    format!("{registry} is asked{caveat}; if it gives it, what is stored is served{sooner}"),
                )
            }
            Ok(caveat) => expected(
                Outcome::Miss,
                format!("it is not stored: {registry} is asked for it{caveat}"),
            ),
            Err(obstacle) => {
                let told = if view.is_silent() {
                    obstacle.after(&format!("{registry} must confirm the client's right"))
                } else {
                    expected(obstacle.outcome, obstacle.because)
                };
                view.with_grace(self.cached, told)
            }
        }
    }

    /// A right that was proved a moment ago needs no question. Whose it was is not known.
    fn if_proved(&self) -> String {
        let first = self.view.known.tag_means.first();
        let decision = first.map(|meaning| decide(self.rule, Duration::from_secs(meaning.confirmed)));
        let sooner = match decision {
            Some(Decision::Fresh) => "a hit",
            Some(Decision::StaleWhileRevalidate) => "stale at once",
            Some(Decision::Revalidate) | None => return String::new(),
        };
        let proof = show_duration(PROOF);
        format!(" ({sooner}, where it gave it to this account within the last {proof})")
    }

    /// The registry took it away: that counts until it gives it back.
    fn gone(&self, meaning: &Meaning) -> Option<Obstacle> {
        let status = meaning.withdrawn?;
        Some(Obstacle {
            class: ErrorClass::Missing,
            outcome: Outcome::Failed(Blame::Client),
            because: format!(
                "{} said that it is gone ({status}), and is asked again",
                self.view.name.registry
            ),
        })
    }

    /// May what it meant be served when this comes in the way? As `tag::known` decides it.
    fn is_served_after(&self, meaning: &Meaning, class: ErrorClass) -> bool {
        let age = Duration::from_secs(meaning.confirmed);
        let is_verdict = matches!(class, ErrorClass::Denied | ErrorClass::Missing);
        let lets = self.standing == Standing::Entitled || (self.standing == Standing::Lapsed && !is_verdict);
        let withdrawn =
            is_verdict && is_young_enough(self.rule, age) && self.cached.is_served_on(self.view.name);
        lets && (withdrawn || after_error(self.rule, age, class) == AfterError::Stale)
    }

    fn allows(&self, meaning: &Meaning, obstacle: &Obstacle) -> &'static str {
        let age = Duration::from_secs(meaning.confirmed);
        match after_error(self.rule, age, obstacle.class) {
            AfterError::Stale => "its rule allows",
            AfterError::Refuse => "access.withdrawn says",
        }
    }

    /// What the tag meant to clients that accept other types.
    fn of_others(&self, obstacle: &Obstacle) -> Option<&'a Meaning> {
        let others = self.view.known.tag_means.iter().skip(1);
        others
            .filter(|meaning| meaning.is_readable && meaning.withdrawn.is_none())
            .find(|meaning| self.view.known.is_offline || self.is_served_after(meaning, obstacle.class))
    }

    fn has_mirrors(&self) -> bool {
        self.view.pull.sources(self.cached, self.view.name) != Sources::Authority
    }
}
