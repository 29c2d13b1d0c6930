//! `[access]`: which clients may come, as whom, what they may pull, and how much of it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::config::values::Pattern;

/// `[access]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// For registries that say nothing about it; unset: `open` where docxy signs in upstream, else `passthrough`.
    pub clients: Option<Clients>,
    /// htpasswd files with docxy's own users; read again when they change.
    pub user_files: Vec<PathBuf>,
    /// Name to members.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Who may pull what; a deny wins over every allow, whatever their order.
    pub rules: Vec<AccessRule>,
    /// From where clients may come; empty, and no files, is everywhere.
    pub allow_addresses: Vec<IpNet>,
    /// From where they may not; wins.
    pub deny_addresses: Vec<IpNet>,
    /// One network a line, `#` begins a comment; read again when they change.
    pub allow_address_files: Vec<PathBuf>,
    pub deny_address_files: Vec<PathBuf>,
    /// Of one user, or of one address where nobody signed in; 0 switches it off.
    pub requests_per_minute: u32,
    /// Requests that may come at once; 0 is as many as a minute has.
    pub burst: u32,
    /// Requests of one user or address under way at a time; 0 switches it off.
    pub concurrent: u32,
    /// How long a client's own right lasts while its registry can't be asked.
    pub grace: Duration,
    /// What happens with what is stored of a public repository once its registry closed or deleted it.
    pub withdrawn: Withdrawn,
}

/// Who may use a registry here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clients {
    /// Whoever reaches docxy. Upstream goes docxy's own credential, or none.
    Open,
    /// docxy's own users. Upstream goes docxy's own credential, or none.
    Users,
    /// Clients sign in with their account at the registry, or not at all.
    Passthrough,
}

/// What is served of a repository that was public and is so no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withdrawn {
    /// Nothing, but to those whose own right the registry confirms.
    Refuse,
    /// What is stored, with a `Warning`.
    Warn,
    /// What is stored.
    Serve,
}

/// `[[access.rules]]`: every condition that is written must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessRule {
    pub effect: Effect,
    /// docxy's own users; empty, together with `groups`, is everyone.
    pub users: Vec<Pattern>,
    pub groups: Vec<String>,
    /// Empty is everywhere.
    pub addresses: Vec<IpNet>,
    /// Of the registry's own name, never an alias.
    pub registry: Pattern,
    /// As the registry names it: `library/redis` at Docker Hub.
    pub repository: Pattern,
    pub tag: Pattern,
    /// Empty is pulls for an allow, and everything for a deny.
    pub actions: Vec<RuleAction>,
    /// For the log and for people.
    pub comment: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Allow,
    Deny,
}

/// What somebody does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RuleAction {
    Pull,
    Push,
    Delete,
}

impl AccessRule {
    /// What it is about.
    pub fn actions(&self) -> Vec<RuleAction> {
        use RuleAction::{Delete, Pull, Push};
        match (&*self.actions, self.effect) {
            ([], Effect::Allow) => vec![Pull],
            ([], Effect::Deny) => vec![Pull, Push, Delete],
            (named, _) => named.to_vec(),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            clients: None,
            user_files: Vec::new(),
            groups: BTreeMap::new(),
            rules: Vec::new(),
            allow_addresses: Vec::new(),
            deny_addresses: Vec::new(),
            allow_address_files: Vec::new(),
            deny_address_files: Vec::new(),
            requests_per_minute: 0,
            burst: 0,
            concurrent: 0,
            grace: Duration::from_hours(1),
            withdrawn: Withdrawn::Refuse,
        }
    }
}
