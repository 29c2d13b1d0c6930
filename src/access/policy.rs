//! Who may pull, push and delete what: the rules of an operator. Pure decisions, made anew for every request.
//!
//! A deny wins over every allow, whatever their order; as soon as there is an allow, whatever none of them names is
//! refused.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::network::canonical;
use super::subject::{Subject, User};
use crate::config::values::Pattern;
use crate::oci::{Action, Endpoint, Reference, RegistryName, Repository, Tag};
use crate::route::Target;

/// One rule; every condition that it has must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub effect: Effect,
    /// Of docxy's own users. Empty, together with `groups`, is everyone.
    pub users: Vec<Pattern>,
    pub groups: Vec<String>,
    /// Empty is everywhere.
    pub addresses: Vec<IpNet>,
    pub registry: Pattern,
    pub repository: Pattern,
    pub tag: Pattern,
    /// Empty is pulls for an allow, and everything for a deny: who may pull what was often written before anybody could push.
    pub actions: Vec<Action>,
    /// For the log and for people.
    pub comment: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Allow,
    Deny,
}

/// All rules, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Box<[Rule]>,
    /// Positions in `rules`.
    denies: Box<[usize]>,
    allows: Box<[usize]>,
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The registry's own name, never an alias.
    pub registry: &'a RegistryName,
    /// As the registry names it. `None` is the list of all of them.
    pub repository: Option<&'a Repository>,
    pub reference: Asked<'a>,
    pub action: Action,
}

/// What of a repository is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked<'a> {
    Tag(&'a Tag),
    /// Whatever tags there are: a manifest is to be deleted with all that name it.
    AnyTag,
    /// A manifest or blob by digest, or a list of tags or referrers: nothing that has one tag.
    Digest,
}

/// What came of it, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    pub allowed: bool,
    pub by: By,
}

/// What decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// This rule; counted from 0.
    Rule(usize),
    /// There is no allow: what is not denied is allowed.
    NoRule,
    /// There are allows, and none is for this.
    NoneMatched,
}

impl By {
    /// For the access log: the rule's number as people count, or a word.
    pub fn word(self) -> Cow<'static, str> {
        match self {
            Self::Rule(position) => Cow::Owned((position + 1).to_string()),
            Self::NoRule => Cow::Borrowed("default"),
            Self::NoneMatched => Cow::Borrowed("none"),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(position) => write!(f, "rule {}", position + 1),
            Self::NoRule => f.write_str("no rule denies it, and there is no allow"),
            Self::NoneMatched => f.write_str("no allow is for it"),
        }
    }
}

impl Policy {
    pub fn new(mut rules: Vec<Rule>) -> Self {
        for network in rules.iter_mut().flat_map(|rule| &mut rule.addresses) {
            *network = canonical(*network);
        }
        let of = |effect| {
            let rules = rules.iter().enumerate();
            rules
                .filter(|(_, rule)| rule.effect == effect)
                .map(|(position, _)| position)
                .collect()
        };
        Self {
            denies: of(Effect::Deny),
            allows: of(Effect::Allow),
            rules: rules.into(),
        }
    }

    /// There is nothing to decide: everything is allowed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules as they were given.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// May anything of this registry be refused to somebody? Then no cache in front of docxy may keep it for everyone.
    pub fn restricts(&self, registry: &RegistryName) -> bool {
        let names = |position: &usize| {
            let rule = &self.rules[*position];
            rule.is_for_action(Action::Pull) && rule.registry.matches(registry.as_str())
        };
        self.closes(Action::Pull) || self.denies.iter().any(names)
    }

    /// Is what no allow names refused? Pulls are closed by allows of pulls alone; what changes a registry by any, for who
    /// says who may pull means no stranger to push.
    fn closes(&self, action: Action) -> bool {
        let mut allows = self.allows.iter().map(|position| &self.rules[*position]);
        allows.any(|rule| action != Action::Pull || rule.is_for_action(Action::Pull))
    }

    pub fn decide(&self, subject: &Subject, question: &Question<'_>) -> Decision {
        if self.rules.is_empty() {
            return Decision {
                allowed: true,
                by: By::NoRule,
            };
        }
        let first = |positions: &[usize]| {
            let is_for = |position: &&usize| self.rules[**position].is_for(subject, question);
            positions.iter().find(is_for).copied()
        };
        if let Some(position) = first(&self.denies) {
            return Decision {
                allowed: false,
                by: By::Rule(position),
            };
        }
        match first(&self.allows) {
            Some(position) => Decision {
                allowed: true,
                by: By::Rule(position),
            },
            None if self.closes(question.action) => Decision {
                allowed: false,
                by: By::NoneMatched,
            },
            None => Decision {
                allowed: true,
                by: By::NoRule,
            },
        }
    }

    /// As [`Self::decide`], for a request. A name of one component is judged as the registry knows it: whoever denies
    /// `library/redis` has denied `redis`.
    pub fn decide_target(&self, subject: &Subject, target: &Target) -> Decision {
        if self.rules.is_empty() {
            return Decision {
                allowed: true,
                by: By::NoRule,
            };
        }
        let repository = target
            .endpoint
            .repository()
            .map(|name| target.registry.canonical(name));
        self.decide(
            subject,
            &Question {
                registry: &target.registry.name,
                repository: repository.as_deref(),
                reference: match &target.endpoint {
                    Endpoint::Manifest(_, Reference::Tag(tag)) => Asked::Tag(tag),
                    Endpoint::Manifest(_, Reference::Digest(_)) if target.action == Action::Delete => {
                        Asked::AnyTag
                    }
                    _ => Asked::Digest,
                },
                action: target.action,
            },
        )
    }
}

impl Rule {
    fn is_for(&self, subject: &Subject, question: &Question<'_>) -> bool {
        self.is_for_action(question.action)
            && self.registry.matches(question.registry.as_str())
            && self.is_for_repository(question)
            && self.is_for_tag(question)
            && self.is_for_user(subject.user.as_deref())
            && self.is_for_address(subject.address)
    }

    /// The list of all repositories is more than any pattern but that for everything is about.
    fn is_for_repository(&self, question: &Question<'_>) -> bool {
        match question.repository {
            Some(name) => self.repository.matches(name.as_str()),
            None => self.repository.is_everything() && self.is_for_every_tag(),
        }
    }

    /// A digest has no tag. A deny of some tags is not about it, for it would close the whole repository; an allow is,
    /// for else no pull by tag would ever get its layers.
    fn is_for_tag(&self, question: &Question<'_>) -> bool {
        match (question.reference, self.effect) {
            (Asked::Tag(tag), _) => self.tag.matches(tag.as_str()),
            (Asked::Digest, Effect::Allow) | (Asked::AnyTag, Effect::Deny) => true,
            (Asked::Digest, Effect::Deny) | (Asked::AnyTag, Effect::Allow) => self.is_for_every_tag(),
        }
    }

    fn is_for_action(&self, action: Action) -> bool {
        match (&*self.actions, self.effect) {
            ([], Effect::Allow) => action == Action::Pull,
            ([], Effect::Deny) => true,
            (named, _) => named.contains(&action),
        }
    }

    /// A tag has no slash, so `*` is everything too.
    pub fn is_for_every_tag(&self) -> bool {
        self.tag.is_everything() || self.tag.as_str() == "*"
    }

    /// Does it ask who somebody is?
    pub fn names_users(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    fn is_for_user(&self, user: Option<&User>) -> bool {
        if !self.names_users() {
            return true;
        }
        user.is_some_and(|user| {
            self.users.iter().any(|pattern| pattern.matches(&user.name))
                || self.groups.iter().any(|group| user.groups.contains(group))
        })
    }

    fn is_for_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses.is_empty() || self.addresses.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests;
