//! Who may pull an image, by what is configured.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::image::Image;
use super::indented;
use crate::access::policy::{Asked, Decision, Policy, Question};
use crate::access::{Addresses, By, Subject, User};
use crate::app;
use crate::cli::token::Place;
use crate::config::schema::{AuthMode, Clients, Effect, Schema};
use crate::config::values::{Pattern, show_duration};
use crate::config::{Loaded, show, validate};
use crate::oci::{Action, Reference};
use crate::pull::PROOF;

/// For whom it is asked.
pub(super) struct Asker {
    user: Option<User>,
    /// Is there such a user, or token?
    exists: bool,
    address: Option<IpAddr>,
}

impl Asker {
    pub fn of(schema: &Schema, user: Option<String>, address: Option<IpAddr>) -> Self {
        let known: BTreeSet<String> = validate::user_names(schema);
        let exists = user
            .as_ref()
            .is_some_and(|name| match name.strip_prefix("token:") {
                Some(token) => is_token(schema, token),
                None => known.contains(name),
            });
        let user = user.map(|name| User {
            groups: schema
                .access
                .groups
                .iter()
                .filter(|(_, members)| members.contains(&name))
                .map(|(group, _)| group.clone())
                .collect(),
            name,
        });
        Self {
            user,
            exists,
            address,
        }
    }

    /// As rules see it where `clients` come. An address that nobody gave is in no network that anybody writes.
    fn subject(&self, clients: Clients) -> Subject {
        let known = self.user.as_ref().filter(|_| clients == Clients::Users);
        Subject {
            user: known.cloned().map(Arc::new),
            address: self.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        }
    }

    fn is_token(&self) -> bool {
        self.user
            .as_ref()
            .is_some_and(|user| user.name.starts_with("token:"))
    }

    fn text(&self) -> String {
        let who = match &self.user {
            None => "somebody who has not signed in".to_owned(),
            Some(user) if user.groups.is_empty() => format!("{}, who is in no group", user.name),
            Some(user) => format!("{}, who is in {}", user.name, user.groups.join(", ")),
        };
        match self.address {
            Some(address) => format!("{who}, at {address}"),
            None => who,
        }
    }
}

/// A name that nobody can look up is believed: who asks may not read the tokens' file.
fn is_token(schema: &Schema, name: &str) -> bool {
    let tokens = Place::find(schema).and_then(|place| place.list());
    // One that a user stands behind goes by the user's name.
    tokens.map_or(true, |tokens| {
        tokens
            .iter()
            .any(|token| token.name == name && token.user.is_none())
    })
}

/// May he, and why?
pub(super) struct Access<'a> {
    loaded: &'a Loaded,
    image: &'a Image<'a>,
    asker: &'a Asker,
    clients: Clients,
    policy: Policy,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The lists of addresses keep him out of everything.
    Address,
    /// He must sign in first.
    SignIn,
    /// There is no such user.
    NoSuchUser,
    Rules(Decision),
}

impl<'a> Access<'a> {
    pub fn of(loaded: &'a Loaded, image: &'a Image<'a>, asker: &'a Asker) -> anyhow::Result<Self> {
        let schema = &loaded.schema;
        let is_kept_out = match asker.address {
            Some(address) => Addresses::load(app::addresses(schema))?.judge(address).is_err(),
            None => false,
        };
        let clients = schema.clients_of(image.registry);
        let policy = app::policy(schema);
        let question = Question {
            registry: &image.name.registry,
            repository: Some(&image.name.repository),
            reference: match &image.reference {
                Reference::Tag(tag) => Asked::Tag(tag),
                Reference::Digest(_) => Asked::Digest,
            },
            action: Action::Pull,
        };
        let decision = policy.decide(&asker.subject(clients), &question);
        let verdict = match (clients, &asker.user) {
            _ if is_kept_out => Verdict::Address,
            (Clients::Users, None) => Verdict::SignIn,
            (Clients::Users, Some(_)) if !asker.exists => Verdict::NoSuchUser,
            _ => Verdict::Rules(decision),
        };
        Ok(Self {
            loaded,
            image,
            asker,
            clients,
            policy,
            verdict,
        })
    }

    pub fn text(&self) -> String {
        let may = match (self.allowed(), self.registry_decides()) {
            (false, _) => "NO".to_owned(),
            (true, false) => "yes".to_owned(),
            (true, true) => format!("yes, if {} gives it", self.image.name.registry),
        };
        format!(
            "asked by:  {}\nmay pull:  {may}\nbecause:   {}\n\n{}",
            self.asker.text(),
            self.because(),
            indented(&self.meaning())
        )
    }

    pub fn json(&self) -> Json {
        let (decided_by, position) = match self.verdict {
            Verdict::Address => ("address", None),
            Verdict::SignIn => ("sign-in", None),
            Verdict::NoSuchUser => ("no-such-user", None),
            Verdict::Rules(decision) => match decision.by {
                By::Rule(position) => ("rule", Some(position)),
                By::NoRule => ("default", None),
                By::NoneMatched => ("none", None),
            },
        };
        json!({
            "user": self.asker.user.as_ref().map(|user| &user.name),
            "groups": self.asker.user.as_ref().map(|user| &user.groups),
            "address": self.asker.address,
            "allowed": self.allowed(),
            "registry_decides": self.registry_decides(),
            "decided_by": decided_by,
            "rule_number": position.map(|position| position + 1),
            "rule_origin": position.map(|position| self.origin(position)),
            "rule": position.and_then(|position| show::access_rule(&self.loaded.schema.access.rules[position])),
            "because": self.because(),
            "meaning": self.meaning(),
        })
    }

    fn allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Rules(Decision { allowed: true, .. }))
    }

    fn registry_decides(&self) -> bool {
        self.clients == Clients::Passthrough
    }

    fn origin(&self, position: usize) -> String {
        self.loaded.origins.of_item("access.rules", position).to_string()
    }

    fn because(&self) -> String {
        let count = self.policy.rules().len();
        match self.verdict {
            Verdict::Address => {
                "the lists of addresses keep this one out, whoever asks and for whatever".to_owned()
            }
            Verdict::SignIn => format!(
                "{} is for docxy's own users here: sign in first",
                self.image.name.registry
            ),
            Verdict::NoSuchUser if self.asker.is_token() => {
                "there is no such access token (or it has a user's name in the rules): `docxy token list` shows them all"
                    .to_owned()
            }
            Verdict::NoSuchUser => "there is no such user in user_files".to_owned(),
            Verdict::Rules(Decision { by, .. }) => match by {
                By::NoRule if count == 0 => "there are no [[access.rules]]".to_owned(),
                By::NoRule => format!("none of the {count} [[access.rules]] is for it, and none is an allow"),
                By::NoneMatched => format!(
                    "none of the {count} [[access.rules]] is for it, and as there are allows, only what they name is allowed"
                ),
                By::Rule(position) => format!(
                    "rule {} of {count}, {}: {}",
                    position + 1,
                    self.origin(position),
                    self.rule_in_words(position),
                ),
            },
        }
    }

    fn rule_in_words(&self, position: usize) -> String {
        let rule = &self.loaded.schema.access.rules[position];
        let mut words = vec![
            match rule.effect {
                Effect::Allow => "allow",
                Effect::Deny => "deny",
            }
            .to_owned(),
        ];
        let mut listed = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                words.push(format!("{name} {}", values.join(", ")));
            }
        };
        listed("users", rule.users.iter().map(ToString::to_string).collect());
        listed("groups", rule.groups.clone());
        listed(
            "addresses",
            rule.addresses.iter().map(ToString::to_string).collect(),
        );
        let narrow = |pattern: &Pattern| (!pattern.is_everything()).then(|| pattern.to_string());
        listed("registry", narrow(&rule.registry).into_iter().collect());
        listed("repository", narrow(&rule.repository).into_iter().collect());
        listed("tag", narrow(&rule.tag).into_iter().collect());
        let actions = rule
            .actions
            .iter()
            .map(|action| format!("{action:?}").to_lowercase());
        listed("actions", actions.collect());
        if words.len() == 1 {
            words.push("everything".to_owned());
        }
        let comment = rule.comment.as_ref();
        format!(
            "{}{}",
            words.join("; "),
            comment.map_or_else(String::new, |comment| format!(" ({comment})"))
        )
    }

    /// Sentences, the most important first.
    fn meaning(&self) -> Vec<String> {
        let (schema, registry) = (&self.loaded.schema, &self.image.name.registry);
        let mut said = vec![match self.clients {
            Clients::Open => format!("At {registry} nobody has to sign in: whoever reaches docxy may come."),
            Clients::Users => format!(
                "At {registry} only docxy's own users may come, with a password of user_files or a token of `docxy token`."
            ),
            Clients::Passthrough => {
                format!("At {registry} people sign in with their own accounts there, or come without one.")
            }
        }];
        match (self.image.registry.auth, self.clients) {
            (AuthMode::Configured, _) => {
                let accounts = self.image.registry.accounts(registry);
                let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
                said.push(match names[..] {
                    [name] => format!(
                        "{registry} is asked with docxy's own account ({name}): whoever may pull here gets what that account gets."
                    ),
                    _ => format!(
                        "{registry} is asked with docxy's own accounts ({}): whoever may pull here gets what any of them gets.",
                        names.join(", ")
                    ),
                });
            }
            (AuthMode::Passthrough, Clients::Open | Clients::Users)
                if self.image.registry.client_cert.is_some() =>
            {
                said.push(format!(
                    "{registry} is asked with docxy's own certificate: whoever may pull here gets what that opens; what \
                     somebody signs in with here never goes there."
                ));
            }
            (AuthMode::Passthrough, Clients::Open | Clients::Users) => said.push(format!(
                "{registry} is asked without an account, so only what is public there can be had; what somebody signs in \
                 with here never goes there."
            )),
            (AuthMode::Passthrough, Clients::Passthrough) => self.passthrough(schema, &mut said),
        }
        if self.clients != Clients::Users
            && let Some(user) = &self.asker.user
        {
            said.push(format!(
                "docxy does not know who {} is at {registry}: rules with users or groups are for nobody there.",
                user.name
            ));
        }
        if self.clients == Clients::Users
            && self
                .asker
                .user
                .as_ref()
                .is_some_and(|user| user.name.starts_with("token:"))
        {
            said.push("A token's own scopes may allow less: `docxy token list` shows them.".to_owned());
        }
        let by_address = schema.access.rules.iter().any(|rule| !rule.addresses.is_empty());
        if by_address && self.asker.address.is_none() {
            said.push("Some rules go by address: give --address to have them judged.".to_owned());
        }
        if let Verdict::Rules(Decision {
            allowed: false,
            by: By::Rule(position),
        }) = self.verdict
        {
            said.insert(0, "A deny wins over every allow.".to_owned());
            if !self.policy.rules()[position].is_for_every_tag() {
                said.insert(
                    1,
                    "The rule is about tags: whoever knows the digest may still pull it, for a digest has no tag.".to_owned(),
                );
            }
        }
        said
    }

    fn passthrough(&self, schema: &Schema, said: &mut Vec<String>) {
        let registry = &self.image.name.registry;
        said.push(format!(
            "{registry} decides: docxy shows it each client's own account, and nobody else's."
        ));
        said.push(
            "What is public there is proved once, by a request without an account; then everybody gets what is stored of \
             it, also while the registry is down, until the registry itself denies it."
                .to_owned(),
        );
        said.push(format!(
            "For what is private, the registry confirms each client's right: by the client's own request, or where the \
             thing is stored already by asking for it without taking it. That counts for {}.",
            show_duration(PROOF)
        ));
        said.push(if schema.access.grace.is_zero() {
            "While the registry can't be asked, no private image is served.".to_owned()
        } else {
            format!(
                "While the registry can't be asked, a right counts for {} after it was last confirmed; then the client is \
                 refused.",
                show_duration(schema.access.grace)
            )
        });
    }
}
