//! htpasswd files: `name:hash`, one user a line.

use std::collections::HashMap;
use std::collections::hash_map;

use super::hash::{Cost, Stored};
use super::keyed::Keyed;
use crate::access::watched::{Content, FileError};

/// Bytes in a name.
const LONGEST_NAME: usize = 255;
/// Kinds and costs in all files together. Every one is run for every wrong password (threat S7).
const MOST_COSTS: usize = 4;

/// All users of all files.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<String, Entry>,
    /// One for each kind and cost in the files.
    decoys: Vec<Stored>,
}

/// One user.
#[derive(Debug)]
pub struct Entry {
    pub stored: Stored,
    /// Another when the password is, or the name.
    pub fingerprint: [u8; 32],
}

impl Table {
    /// Reads all files; a name may be in them once.
    pub fn read(files: &[Content], keyed: &Keyed) -> Result<Self, FileError> {
        let mut table = Self::default();
        let mut places: HashMap<&str, String> = HashMap::new();
        for file in files {
            for line in file.lines() {
                let (number, text) = line?;
                let (name, stored) = entry(text).map_err(|reason| file.error(number, reason))?;
                match places.entry(name) {
                    hash_map::Entry::Occupied(first) => {
                        let reason = format!("{name:?} is in {} already; remove one", first.get());
                        return Err(file.error(number, reason));
                    }
                    hash_map::Entry::Vacant(place) => {
                        place.insert(format!("{}:{number}", file.path().display()));
                    }
                }
                table
                    .admit(stored.cost())
                    .map_err(|reason| file.error(number, reason))?;
                table.entries.insert(
                    name.to_owned(),
                    Entry {
                        fingerprint: keyed.hash(&[
                            b"entry",
                            name.as_bytes(),
                            stored.text().expose().as_bytes(),
                        ]),
                        stored,
                    },
                );
            }
        }
        Ok(table)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// One of each kind and cost.
    pub fn decoys(&self) -> &[Stored] {
        &self.decoys
    }

    /// Makes the decoy of this cost.
    fn admit(&mut self, cost: Cost) -> Result<(), String> {
        if self.decoys.iter().any(|decoy| decoy.cost() == cost) {
            return Ok(());
        }
        if self.decoys.len() == MOST_COSTS {
            return Err(format!(
                "this is the {}th kind or cost of hash in the user files, and docxy takes {MOST_COSTS} at most, since \
                 each wrong password must cost all of them; store the passwords with one cost",
                MOST_COSTS + 1
            ));
        }
        let decoy = cost.decoy().map_err(|error| error.to_string())?;
        self.decoys.push(decoy);
        Ok(())
    }
}

/// `Err` is what is wrong and what to do.
fn entry(line: &str) -> Result<(&str, Stored), String> {
    let (name, hash) = line
        .split_once(':')
        .ok_or("there is no colon between name and hash; make the line with: htpasswd -B FILE NAME")?;
    if name.is_empty() {
        return Err("there is no name before the colon".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("the name has more than {LONGEST_NAME} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err("the name holds a control character".to_owned());
    }
    let stored = Stored::parse(hash)
        .map_err(|error| format!("{name:?}: {error}; make it anew with: htpasswd -B FILE NAME"))?;
    Ok((name, stored))
}

#[cfg(test)]
mod tests;
