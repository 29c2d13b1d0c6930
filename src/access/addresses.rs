//! From where clients may come at all: lists of networks, in the configuration and in files that are read again when they
//! change.
//!
//! A deny wins. A list of what is allowed closes all else. An address is looked up in sorted ranges, so that a list of
//! half a million networks costs a request no more than one of ten.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::network::canonical;
use super::watched::{Content, FileError, Watched};

/// Values only.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
    /// One network or address a line, `#` begins a comment.
    pub allow_files: Vec<PathBuf>,
    pub deny_files: Vec<PathBuf>,
}

/// The lists in use. Clones are the same.
#[derive(Clone, Debug)]
pub struct Addresses(Option<Arc<Watched<Lists>>>);

/// Why an address is kept out; the text is for the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeptOut {
    #[error("its address is in access.deny_addresses, or in a file of access.deny_address_files")]
    Denied,
    #[error("its address is not in access.allow_addresses, nor in a file of access.allow_address_files")]
    NotAllowed,
}

impl Addresses {
    /// Reads the files. Blocks on them: call it at start.
    ///
    /// # Errors
    /// The first line that is no network, or files that allow nobody: an emptied file must not open what it closed.
    pub fn load(config: Config) -> Result<Self, FileError> {
        let Config {
            allow,
            deny,
            allow_files,
            deny_files,
        } = config;
        if allow.is_empty() && deny.is_empty() && allow_files.is_empty() && deny_files.is_empty() {
            return Ok(Self(None));
        }
        let allowing = allow_files.len();
        let files = allow_files.into_iter().chain(deny_files).collect();
        let parse = move |files: &[Content]| {
            let (allow_files, deny_files) = files.split_at(allowing);
            Lists::read(&allow, allow_files, &deny, deny_files)
        };
        let lists = Watched::load("lists of addresses", files, parse)?;
        Ok(Self(Some(Arc::new(lists))))
    }

    /// False: everybody is let in, and nothing need be asked.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// May a client at this address come at all?
    pub fn judge(&self, address: IpAddr) -> Result<(), KeptOut> {
        self.0.as_ref().map_or(Ok(()), |lists| lists.get().judge(address))
    }

    /// Reads files that change, until `until` resolves.
    pub async fn watch(self, every: Duration, until: impl Future<Output = ()>) {
        if let Some(lists) = self.0 {
            lists.watch(every, until, || ()).await;
        }
    }
}

#[derive(Debug)]
struct Lists {
    /// `None`: from everywhere.
    allow: Option<Ranges>,
    deny: Ranges,
}

impl Lists {
    fn read(
        allow: &[IpNet],
        allow_files: &[Content],
        deny: &[IpNet],
        deny_files: &[Content],
    ) -> Result<Self, FileError> {
        let allowed = networks(allow, allow_files)?;
        if let Some(file) = allow_files.first().filter(|_| allowed.is_empty()) {
            return Err(FileError::File {
                path: file.path().to_owned(),
                reason: "allows nobody: name a network in it, or take it out of access.allow_address_files to let \
                         everybody in"
                    .to_owned(),
            });
        }
        Ok(Self {
            allow: (!allowed.is_empty()).then(|| Ranges::of(allowed)),
            deny: Ranges::of(networks(deny, deny_files)?),
        })
    }

    fn judge(&self, address: IpAddr) -> Result<(), KeptOut> {
        if self.deny.contains(address) {
            return Err(KeptOut::Denied);
        }
        match &self.allow {
            Some(allow) if !allow.contains(address) => Err(KeptOut::NotAllowed),
            _ => Ok(()),
        }
    }
}

fn networks(written: &[IpNet], files: &[Content]) -> Result<Vec<IpNet>, FileError> {
    let mut all = written.to_vec();
    for file in files {
        for line in file.lines() {
            let (number, line) = line?;
            let entry = line.split_once('#').map_or(line, |(entry, _)| entry).trim_end();
            let network = entry
                .parse::<IpNet>()
                .ok()
                .or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from))
                .ok_or_else(|| {
                    file.error(number, "is neither a network such as 10.0.0.0/8 nor an address")
                })?;
            all.push(network);
        }
    }
    Ok(all)
}

/// Addresses from first to last, sorted, none overlapping another.
#[derive(Debug)]
struct Ranges {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Ranges {
    fn of(networks: Vec<IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical(network) {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => is_within(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => is_within(&self.v6, v6.to_bits()),
        }
    }
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

fn is_within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).is_some_and(|at| address <= ranges[at].1)
}

#[cfg(test)]
mod tests;
