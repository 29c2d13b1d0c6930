//! What kinds of manifest a client takes, as far as it can make a difference to the answer.
//!
//! The same tag may be answered differently: a client that takes no index is given one platform's manifest. So a stored
//! answer belongs to a class of clients, and the request upstream says exactly what the class says: it never depends on
//! which client of the class came first. Clients name the same types in many ways (dockerd and podman add schema 1 types
//! and `application/json`, containerd `*/*`); these must not keep a tag warmed by one cold for another.

use std::collections::BTreeSet;
use std::fmt;

use http::HeaderValue;

use super::digest::{Algorithm, Digest};
use super::media::{self, DOCKER_LIST, DOCKER_MANIFEST, JSON, OCI_INDEX, OCI_MANIFEST};

/// More types than these are not looked at: no client names so many.
const MAX_OTHERS: usize = 16;
/// Of one media type, in bytes: twice what RFC 6838 (4.2) allows each half, and the slash.
const MAX_TYPE: usize = 255;
/// Hex digits of the hash of the other types in a key: 128 bits.
const KEY_HASH: usize = 32;

/// The acceptance class of a client: (indexes?) x (OCI types?) x (Docker types?), and whatever else it names.
///
/// Two clients of the same class may be served each other's stored answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Class {
    families: Families,
    /// Media types beside the four, in lower case and without parameters.
    others: BTreeSet<Box<str>>,
}

/// Which of the four ordinary types are taken. An index belongs to a family, so there is none without one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Families {
    index: bool,
    oci: bool,
    docker: bool,
}

/// The four, with the order in which they are asked for.
const ORDINARY: [(&str, Kind, Family); 4] = [
    (OCI_INDEX, Kind::Index, Family::Oci),
    (DOCKER_LIST, Kind::Index, Family::Docker),
    (OCI_MANIFEST, Kind::Manifest, Family::Oci),
    (DOCKER_MANIFEST, Kind::Manifest, Family::Docker),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    Manifest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Oci,
    Docker,
}

impl Class {
    /// From all lines of a request's Accept header.
    ///
    /// No line, `*/*` and `application/*` count as all ordinary types, and so does a header that names nothing which
    /// counts: whoever names only `application/json` is answered as by a registry. A type with `q=0` is not accepted.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut named = Named::default();
        for line in lines {
            // Bytes that are no text name no type.
            if let Ok(line) = line.to_str() {
                line.split(',').for_each(|range| named.add(range));
            }
        }
        named.into_class()
    }

    /// What a client without an Accept header takes.
    pub fn all() -> Self {
        Self {
            families: Families::ALL,
            others: BTreeSet::new(),
        }
    }

    /// May an answer of this media type be served to this class? Takes a Content-Type too; case does not matter.
    ///
    /// Asked of answers that are stored for another class: what the registry answered to this one is its to get,
    /// whatever it is.
    pub fn accepts(&self, media_type: &str) -> bool {
        let essence = media::essence(media_type);
        match place_of(essence).map(|place| ORDINARY[place]) {
            Some((_, kind, family)) => self.families.hold(kind, family),
            None => self.others.contains(essence.to_ascii_lowercase().as_str()),
        }
    }

    /// The Accept header of the request upstream: the same for all clients of the class.
    pub fn lines(&self) -> Vec<HeaderValue> {
        let ordinary = ORDINARY
            .iter()
            .filter(|(_, kind, family)| self.families.hold(*kind, *family))
            .map(|(name, _, _)| *name);
        let types: Vec<&str> = ordinary.chain(self.others.iter().map(AsRef::as_ref)).collect();
        HeaderValue::from_str(&types.join(", ")).into_iter().collect()
    }

    /// A name for this class within a file's name: `a-z`, `0-9` and `-`, at most 40 characters. Equal for equal classes,
    /// different for different ones.
    pub fn key(&self) -> String {
        let Families { index, oci, docker } = self.families;
        let mut key: String = [(index, 'i'), (oci, 'o'), (docker, 'd')]
            .into_iter()
            .filter_map(|(taken, letter)| taken.then_some(letter))
            .collect();
        if key.is_empty() {
            key.push('x');
        }
        if !self.others.is_empty() {
            let others: Vec<&str> = self.others.iter().map(AsRef::as_ref).collect();
            let digest = Digest::of(Algorithm::Sha256, others.join(",").as_bytes());
            key.push('-');
            key.push_str(&digest.hex()[..KEY_HASH]);
        }
        key
    }
}

impl fmt::Display for Class {
    /// `OCI and Docker images with their indexes, application/vnd.example`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = match (self.families.oci, self.families.docker) {
            (true, true) => Some("OCI and Docker images"),
            (true, false) => Some("OCI images"),
            (false, true) => Some("Docker images"),
            (false, false) => None,
        };
        let indexes = if self.families.index {
            "with their indexes"
        } else {
            "without indexes"
        };
        let families = families.map(|families| format!("{families} {indexes}"));
        let others = self.others.iter().map(|name| name.as_ref().to_owned());
        let all: Vec<String> = families.into_iter().chain(others).collect();
        f.write_str(&all.join(", "))
    }
}

impl Families {
    const ALL: Self = Self {
        index: true,
        oci: true,
        docker: true,
    };
    const NONE: Self = Self {
        index: false,
        oci: false,
        docker: false,
    };

    fn hold(self, kind: Kind, family: Family) -> bool {
        let family = match family {
            Family::Oci => self.oci,
            Family::Docker => self.docker,
        };
        family && (self.index || kind == Kind::Manifest)
    }

    fn add(&mut self, kind: Kind, family: Family) {
        self.index |= kind == Kind::Index;
        match family {
            Family::Oci => self.oci = true,
            Family::Docker => self.docker = true,
        }
    }
}

/// What a header has named so far.
#[derive(Default)]
struct Named {
    any: bool,
    /// Of the four.
    accepted: [bool; ORDINARY.len()],
    /// Of the four, with `q=0`.
    refused: [bool; ORDINARY.len()],
    others: BTreeSet<Box<str>>,
}

impl Named {
    /// One media range with its parameters; anything else is passed over.
    fn add(&mut self, range: &str) {
        let essence = media::essence(range);
        let refused = is_refused(range);
        if let Some(place) = place_of(essence) {
            let named = if refused {
                &mut self.refused
            } else {
                &mut self.accepted
            };
            named[place] = true;
        } else if essence == "*/*" || essence.eq_ignore_ascii_case("application/*") {
            self.any |= !refused;
        } else if !refused && self.others.len() < MAX_OTHERS {
            let name = essence.to_ascii_lowercase();
            if is_media_type(&name) && name != JSON && !media::is_schema1(&name) {
                self.others.insert(name.into());
            }
        }
    }

    fn into_class(self) -> Class {
        let mut families = Families::NONE;
        let named = self.accepted.into_iter().zip(self.refused);
        for ((_, kind, family), (accepted, refused)) in ORDINARY.into_iter().zip(named) {
            if accepted || (self.any && !refused) {
                families.add(kind, family);
            }
        }
        let others = self.others;
        if families == Families::NONE && others.is_empty() {
            return Class::all();
        }
        Class { families, others }
    }
}

fn place_of(essence: &str) -> Option<usize> {
    ORDINARY
        .iter()
        .position(|(name, _, _)| name.eq_ignore_ascii_case(essence))
}

/// `q=0` in any of its spellings (RFC 9110, 12.4.2).
fn is_refused(range: &str) -> bool {
    range.split(';').skip(1).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|q| q <= 0.0)
    })
}

/// `type/subtype` of RFC 6838 (4.2); a wildcard is none.
fn is_media_type(name: &str) -> bool {
    let half = |half: &str| {
        half.starts_with(|c: char| c.is_ascii_alphanumeric())
            && half
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    name.len() <= MAX_TYPE
        && name
            .split_once('/')
            .is_some_and(|(kind, subtype)| half(kind) && half(subtype))
}

#[cfg(test)]
mod tests;
