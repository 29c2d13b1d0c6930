//! What a chain of certificates may sign, by its name constraints.

use std::net::IpAddr;

use ipnet::IpNet;
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use x509_parser::extensions::{GeneralName, GeneralSubtree as Parsed};
use x509_parser::prelude::X509Certificate;

use super::name::{Host, LeafName, Subtree};

/// Those of every certificate of a chain; a name must suit each of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Constraints(Vec<OfOne>);

/// One certificate's. Where a kind of name has no permitted part, all of that kind are permitted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct OfOne {
    permitted: Vec<Part>,
    excluded: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Dns(DnsTree),
    Ip(IpNet),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct DnsTree {
    /// Lower case; empty is every name.
    suffix: String,
    /// Written with a dot in front, which every verifier reads as "only what is below".
    only_below: bool,
}

impl Constraints {
    /// # Errors
    /// In words: constraints that can't be read can't be kept.
    pub fn add(&mut self, certificate: &X509Certificate<'_>) -> Result<(), String> {
        let found = certificate
            .name_constraints()
            .map_err(|error| error.to_string())?;
        if let Some(found) = found {
            let parts = |trees: &Option<Vec<Parsed<'_>>>| {
                let trees = trees.iter().flatten().map(|tree| part(&tree.base));
                trees.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()
            };
            self.0.push(OfOne {
                permitted: parts(&found.value.permitted_subtrees)?,
                excluded: parts(&found.value.excluded_subtrees)?,
            });
        }
        Ok(())
    }

    /// True where every name may be signed.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    pub fn permit(&self, name: &LeafName) -> bool {
        self.0.iter().all(|one| one.permits(name))
    }

    /// Whether all of these names may be signed.
    pub fn cover(&self, tree: &Subtree) -> bool {
        self.0.iter().all(|one| one.covers(tree))
    }

    /// What is permitted, for people; of several certificates all counts.
    pub fn permitted(&self) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|one| one.permitted.iter().map(show))
            .collect()
    }

    pub fn excluded(&self) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|one| one.excluded.iter().map(show))
            .collect()
    }
}

/// What docxy's own authority gets: these names, and no addresses but those among them.
pub(super) fn for_names(names: &[Subtree]) -> NameConstraints {
    let mut permitted: Vec<&Subtree> = names.iter().collect();
    permitted.sort_unstable();
    permitted.dedup();
    let has_addresses = permitted.iter().any(|tree| matches!(tree, Subtree::Ip(_)));
    let has_names = permitted.iter().any(|tree| matches!(tree, Subtree::Dns(_)));
    let mut excluded = Vec::new();
    if !has_addresses {
        excluded.push(subnet(&IpNet::V4(ipnet::Ipv4Net::default())));
        excluded.push(subnet(&IpNet::V6(ipnet::Ipv6Net::default())));
    }
    if !has_names {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    NameConstraints {
        permitted_subtrees: permitted
            .into_iter()
            .map(|tree| match tree {
                Subtree::Dns(name) => GeneralSubtree::DnsName(name.to_string()),
                Subtree::Ip(network) => subnet(network),
            })
            .collect(),
        excluded_subtrees: excluded,
    }
}

fn subnet(network: &IpNet) -> GeneralSubtree {
    GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
        network.network(),
        network.prefix_len(),
    ))
}

impl OfOne {
    fn permits(&self, name: &LeafName) -> bool {
        match name.host() {
            Host::Dns(name) => {
                let mut permitted = trees(&self.permitted).peekable();
                (permitted.peek().is_none() || permitted.any(|tree| tree.holds(name)))
                    && !trees(&self.excluded).any(|tree| tree.holds(name))
            }
            Host::Ip(address) => {
                let mut permitted = networks(&self.permitted).peekable();
                (permitted.peek().is_none() || permitted.any(|network| network.contains(address)))
                    && !networks(&self.excluded).any(|network| network.contains(address))
            }
        }
    }

    fn covers(&self, tree: &Subtree) -> bool {
        match tree {
            Subtree::Dns(name) => {
                let mut permitted = trees(&self.permitted).peekable();
                (permitted.peek().is_none() || permitted.any(|tree| tree.holds(name)))
                    && !trees(&self.excluded).any(|tree| tree.holds(name) || is_within(&tree.suffix, name))
            }
            Subtree::Ip(wanted) => {
                let mut permitted = networks(&self.permitted).peekable();
                (permitted.peek().is_none() || permitted.any(|network| network.contains(wanted)))
                    && !networks(&self.excluded)
                        .any(|network| network.contains(wanted) || wanted.contains(network))
            }
        }
    }
}

impl DnsTree {
    fn holds(&self, name: &str) -> bool {
        self.suffix.is_empty() || is_within(name, &self.suffix) && !(self.only_below && name == self.suffix)
    }
}

/// Whether `name` is `tree` or below it.
fn is_within(name: &str, tree: &str) -> bool {
    name.strip_suffix(tree)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn trees(parts: &[Part]) -> impl Iterator<Item = &DnsTree> {
    parts.iter().filter_map(|part| match part {
        Part::Dns(tree) => Some(tree),
        Part::Ip(_) => None,
    })
}

fn networks(parts: &[Part]) -> impl Iterator<Item = &IpNet> {
    parts.iter().filter_map(|part| match part {
        Part::Ip(network) => Some(network),
        Part::Dns(_) => None,
    })
}

/// `None` for kinds of names that a leaf never has.
fn part(base: &GeneralName<'_>) -> Result<Option<Part>, String> {
    match base {
        GeneralName::DNSName(text) => {
            let only_below = text.starts_with('.');
            Ok(Some(Part::Dns(DnsTree {
                suffix: text.trim_start_matches('.').to_ascii_lowercase(),
                only_below,
            })))
        }
        GeneralName::IPAddress(bytes) => network(bytes)
            .map(|network| Some(Part::Ip(network)))
            .ok_or_else(|| "its name constraints hold an address range that is none".to_owned()),
        _ => Ok(None),
    }
}

/// An address and its mask, one behind the other.
fn network(bytes: &[u8]) -> Option<IpNet> {
    let (address, mask) = bytes.split_at_checked(bytes.len() / 2)?;
    IpNet::with_netmask(ip(address)?, ip(mask)?)
        .ok()
        .map(|network| network.trunc())
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn show(part: &Part) -> String {
    match part {
        Part::Dns(tree) if tree.suffix.is_empty() => "every host name".to_owned(),
        Part::Dns(tree) if tree.only_below => format!(".{}", tree.suffix),
        Part::Dns(tree) => tree.suffix.clone(),
        Part::Ip(network) if network.prefix_len() == 0 => match network {
            IpNet::V4(_) => "every IPv4 address".to_owned(),
            IpNet::V6(_) => "every IPv6 address".to_owned(),
        },
        Part::Ip(network) => Subtree::Ip(*network).to_string(),
    }
}
