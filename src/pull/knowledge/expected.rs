//! What a pull would come to, and why: the decisions of `tag`, `manifest` and `rights`, told instead of being followed. Of a GET
//! of the manifest, by a client that takes what those took that asked for the tag last.

mod tag;

use self::tag::TagView;
use super::{Knowledge, Openness};
use crate::access::Permit;
use crate::cache::Presence;
use crate::config::values::show_duration;
use crate::oci::{Digest, FullName, Reference, Tag};
use crate::pull::cached::Cached;
use crate::pull::freshness::{ErrorClass, Fresh};
use crate::pull::rights::{Claim, Standing};
use crate::pull::{Blame, Error, Outcome, Pull};
use crate::upstream::{Failure, Foresight, Method, Right, Sources, Suspicion};

/// What would come of a pull now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    pub outcome: Outcome,
    pub because: String,
}

/// What a registry is shown for a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// docxy's own account, whichever works.
    DocxysAccount,
    Nothing,
    /// The client's own account there. Whether its right was proved lately is not known: proofs have no names.
    ClientsAccount,
}

/// A pull as it would go.
struct View<'a> {
    pull: &'a Pull,
    name: &'a FullName,
    known: &'a Knowledge,
    shown: Shown,
}

/// Why the registry would not give it.
struct Obstacle {
    class: ErrorClass,
    outcome: Outcome,
    because: String,
}

impl Pull {
    /// What a pull of this would come to for a client that docxy's rules let. Blocking.
    pub fn expected(
        &self,
        name: &FullName,
        reference: &Reference,
        known: &Knowledge,
        shown: Shown,
    ) -> Expected {
        let view = View {
            pull: self,
            name,
            known,
            shown,
        };
        match (&self.cached, reference) {
            (None, _) => view.forwarded("docxy keeps nothing (cache.mode = \"off\")"),
            (Some(cached), Reference::Tag(tag)) => view.of_tag(cached, tag),
            (Some(cached), Reference::Digest(digest)) => view.of_digest(cached, digest),
        }
    }
}

impl View<'_> {
    /// The registry is asked, whatever is stored.
    fn forwarded(&self, why: &str) -> Expected {
        match self.asked(Method::Get) {
            Ok(caveat) => {
                let registry = &self.name.registry;
                expected(
                    Outcome::Bypass,
                    format!("{why}: {registry} is asked for it{caveat}"),
                )
            }
            Err(obstacle) => obstacle.after(why),
        }
    }

    fn of_tag(&self, cached: &Cached, tag: &Tag) -> Expected {
        let rule = cached.config.rules.rule_for(self.name, tag);
        if rule.fresh == Fresh::Never && !self.known.is_offline {
            return self.forwarded("its rule is never, so that nothing is kept of the tag");
        }
        let tag = TagView {
            view: self,
            cached,
            tag,
            rule,
            standing: self.standing(cached),
        };
        match (tag.standing, tag.before()) {
            (Standing::Unproved, _) => tag.unproved(),
            (Standing::Entitled | Standing::Lapsed, Some(meaning)) => tag.known(meaning),
            (Standing::Entitled | Standing::Lapsed, None) => tag.unknown(),
        }
    }

    fn of_digest(&self, cached: &Cached, digest: &Digest) -> Expected {
        let registry = &self.name.registry;
        let standing = self.standing(cached);
        let linked = cached.store.linked(self.name, digest);
        let is_here = matches!(cached.store.presence(digest), Presence::Stored { .. });
        if standing == Standing::Entitled && super::is_readable(cached, self.name, digest) {
            let because = "it is stored, and a digest means the same for ever: nobody is asked";
            return expected(Outcome::Hit, because.to_owned());
        }
        let has_mirrors =
            !self.known.is_offline && self.pull.sources(cached, self.name) != Sources::Authority;
        // Bytes of the repository that are known as a blob alone are fetched anew.
        if is_here && !(standing == Standing::Entitled && linked.is_some()) {
            let is_lapsed = standing == Standing::Lapsed && linked.is_some();
            if self.is_silent() && (is_lapsed || cached.common(digest).is_some()) {
                return self.hit_in_silence(is_lapsed);
            }
            let asks_whether = if linked.is_some() {
                "the client may have it"
            } else {
                "this repository has it"
            };
            if linked.is_some() || self.may_vouch(cached, digest) {
                match self.asked(Method::Head) {
                    Ok(caveat) => {
                        let because = format!(
                            "it is stored, and {registry} is asked only whether {asks_whether}{caveat}"
                        );
                        return expected(Outcome::Hit, because);
                    }
                    Err(obstacle) if has_mirrors && linked.is_none() && obstacle.is_outage() => {}
                    Err(obstacle) => {
                        let before = format!("{registry} is to say whether {asks_whether}");
                        return self.with_grace(cached, obstacle.after(&before));
                    }
                }
            }
        }
        match self.asked(Method::Get) {
            Ok(caveat) => expected(
                Outcome::Miss,
                format!("it is not stored: {registry} is asked for it{caveat}"),
            ),
            Err(obstacle) if has_mirrors && obstacle.is_outage() => expected(
                Outcome::Miss,
                format!(
                    "it is not stored, and {}: its mirrors may have it",
                    obstacle.because
                ),
            ),
            Err(obstacle) => obstacle.after("it is not stored"),
        }
    }

    fn hit_in_silence(&self, is_lapsed: bool) -> Expected {
        let why = if is_lapsed {
            "the client's right was proved not long ago"
        } else {
            "everybody may have it"
        };
        let registry = &self.name.registry;
        expected(
            Outcome::Hit,
            format!("it is stored, {registry} can't be asked, and {why}"),
        )
    }

    /// What comes in the way when the registry is to be asked with this method; else what is to be said beside.
    fn asked(&self, method: Method) -> Result<String, Obstacle> {
        let registry = &self.name.registry;
        let obstacle = |class, outcome, because| {
            Err(Obstacle {
                class,
                outcome,
                because,
            })
        };
        if self.known.is_offline {
            let because = "docxy is told to ask nobody (cache.offline)".to_owned();
            return obstacle(ErrorClass::Connect, Outcome::Failed(Blame::Local), because);
        }
        if let Some(suspicion) = self.known.suspicion {
            let because = format!("{registry} {}", in_words(suspicion));
            let class = ErrorClass::of_suspicion(suspicion);
            return obstacle(class, Outcome::Failed(Blame::Upstream), because);
        }
        if let Some(because) = self.refusal_to_nobody() {
            return obstacle(ErrorClass::Denied, Outcome::Denied, because);
        }
        let right = match self.shown {
            Shown::ClientsAccount => return Ok(self.who_decides()),
            Shown::DocxysAccount => Right::Configured,
            Shown::Nothing => Right::Anonymous,
        };
        let Ok(upstream) = self.pull.upstream(registry) else {
            return Ok(String::new());
        };
        match upstream.foresee(&right, method) {
            Foresight::Asked => Ok(self.who_decides()),
            Foresight::WithoutAccount(_) if self.known.openness == Some(Openness::Public) => {
                Ok(" without an account, as none of docxy's can be used just now".to_owned())
            }
            Foresight::WithoutAccount(failure) if self.known.openness != Some(Openness::Closed) => {
                Ok(format!(
                    " without an account, which gives it only if it is for everyone: {}",
                    self.failure(&failure)
                ))
            }
            Foresight::WithoutAccount(failure) | Foresight::Fails(failure) => {
                let because = self.failure(&failure);
                let class = ErrorClass::of_failure(&failure).unwrap_or(ErrorClass::Server);
                obstacle(class, Error::Upstream(failure).outcome(), because)
            }
        }
    }

    /// Why the registry would refuse it to who shows nothing.
    fn refusal_to_nobody(&self) -> Option<String> {
        let registry = &self.name.registry;
        if self.shown != Shown::Nothing {
            return None;
        }
        if self.known.is_served_on {
            return Some(format!("{registry} does not give it to everyone any more"));
        }
        match self.known.openness? {
            Openness::Closed => Some(format!(
                "{registry} refused it a short while ago without an account, so the client must sign in"
            )),
            // Whoever brought it was asked about, and it was not marked as public.
            Openness::Unknown if self.known.manifest.is_some() => Some(format!(
                "nothing of it was ever got from {registry} without an account; unless that works now, the client must sign in"
            )),
            Openness::Public | Openness::Unknown => None,
        }
    }

    /// Whose word counts about a client whose right is not known.
    fn who_decides(&self) -> String {
        let told = match (self.shown, self.known.openness) {
            (Shown::DocxysAccount, _) | (_, Some(Openness::Public)) => "",
            (Shown::ClientsAccount, _) => " with the client's own account, and may refuse it",
            (Shown::Nothing, _) => " without an account, and refuses it unless it is for everyone",
        };
        told.to_owned()
    }

    fn failure(&self, failure: &Failure) -> String {
        let Failure::Spent { retry_after, .. } = failure else {
            return failure.to_string();
        };
        let whose = match self.shown {
            Shown::DocxysAccount => "of docxy's account",
            Shown::Nothing | Shown::ClientsAccount => "of docxy's address",
        };
        let again = match retry_after.as_millis().div_ceil(1000) {
            0 => "as it said last".to_owned(),
            seconds => format!("it is asked again in {seconds}s"),
        };
        format!(
            "nothing is left of the limit {whose} at {} ({again})",
            self.name.registry
        )
    }

    /// A right that counts in an outage is not known by the client's name.
    fn with_grace(&self, cached: &Cached, mut told: Expected) -> Expected {
        let grace = cached.config.grace;
        if self.shown == Shown::ClientsAccount && self.known.suspicion.is_some() && !grace.is_zero() {
            told.because.push_str("; a right that was proved within ");
            told.because.push_str(&show_duration(grace));
            told.because.push_str(" counts on");
        }
        told
    }

    /// Nobody waits for its word.
    fn is_silent(&self) -> bool {
        self.known.is_offline || self.known.suspicion.is_some()
    }

    fn claim(&self, cached: &Cached) -> Claim {
        let permit = match self.shown {
            Shown::DocxysAccount => Permit::Configured,
            Shown::Nothing | Shown::ClientsAccount => Permit::Try(Right::Anonymous),
        };
        cached.proofs.claim(&permit, self.name.clone())
    }

    fn standing(&self, cached: &Cached) -> Standing {
        match (self.shown, self.known.openness) {
            (Shown::ClientsAccount, Some(Openness::Public)) => Standing::Entitled,
            (Shown::ClientsAccount, _) => Standing::Unproved,
            (Shown::DocxysAccount | Shown::Nothing, _) => cached.standing(&self.claim(cached)),
        }
    }

    fn may_vouch(&self, cached: &Cached, digest: &Digest) -> bool {
        let upstream = self.pull.upstream(&self.name.registry);
        upstream.is_ok_and(|upstream| cached.may_vouch(&self.claim(cached), upstream, digest))
    }
}

impl Obstacle {
    /// Where this is not all there is to say.
    fn after(self, before: &str) -> Expected {
        expected(self.outcome, format!("{before}, and {}", self.because))
    }

    /// It says nothing about the right or the thing.
    fn is_outage(&self) -> bool {
        !matches!(self.class, ErrorClass::Denied | ErrorClass::Missing)
    }
}

fn expected(outcome: Outcome, because: String) -> Expected {
    Expected { outcome, because }
}

fn in_words(suspicion: Suspicion) -> &'static str {
    match suspicion {
        Suspicion::Unreachable => "can't be reached",
        Suspicion::Late => "does not answer in time",
    }
}
