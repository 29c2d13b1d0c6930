//! The one pass over a manifest's JSON. No tree is built: what is not a descriptor is walked over (threat I9).

use super::{Child, DescriptorFault, Kind, MAX_CHILDREN, MAX_DEPTH, ManifestError, Role};
use crate::oci::Digest;
use crate::oci::excerpt::excerpt;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

pub(super) fn read(kind: Kind, essence: &str, bytes: &[u8]) -> Result<Vec<Child>, ManifestError> {
    let mut state = State {
        kind,
        essence,
        children: Vec::new(),
        refusal: None,
    };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let outcome = Document(&mut state)
        .deserialize(&mut json)
        .and_then(|()| json.end());
    match (state.refusal, outcome) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(())) => Ok(state.children),
        (None, Err(error)) => {
            let (line, column) = (error.line(), error.column());
            Err(match error.classify() {
                serde_json::error::Category::Data => ManifestError::Type { line, column },
                _ => ManifestError::Json { line, column },
            })
        }
    }
}

struct State<'a> {
    kind: Kind,
    essence: &'a str,
    children: Vec<Child>,
    /// Serde's errors are texts; the exact one waits here until the reader has unwound.
    refusal: Option<ManifestError>,
}

impl State<'_> {
    fn refuse<E: Error>(&mut self, error: ManifestError) -> E {
        self.refusal = Some(error);
        E::custom("refused")
    }
}

const DOCUMENT_KEYS: [&str; 8] = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "fsLayers",
];
const DESCRIPTOR_KEYS: [&str; 3] = ["mediaType", "digest", "size"];

/// The whole document, at depth 1.
struct Document<'s, 'a>(&'s mut State<'a>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let state = self.0;
        let mut keys = Keys::of(&DOCUMENT_KEYS);
        while let Some(key) = keys.next(&mut map, state)? {
            match key {
                "mediaType" => {
                    let field = map.next_value_seed(Text(excerpt_unless_same(state.essence)))?;
                    if let Some(Some(field)) = field {
                        let content_type = excerpt(state.essence);
                        return Err(state.refuse(ManifestError::MediaType { field, content_type }));
                    }
                }
                key @ "config" => map.next_value_seed(Descriptor::only(state, key, Role::Config))?,
                key @ "subject" => map.next_value_seed(Descriptor::only(state, key, Role::Subject))?,
                key @ "layers" => map.next_value_seed(Descriptors::of(state, key, Role::Layer))?,
                key @ "manifests" => map.next_value_seed(Descriptors::of(state, key, Role::Manifest))?,
                key @ "blobs" => map.next_value_seed(Descriptors::of(state, key, Role::Blob))?,
                _ => map.next_value_seed(Anything { state, depth: 2 })?,
            }
        }
        match state
            .kind
            .foreign_keys()
            .iter()
            .find(|key| keys.seen.contains(key))
        {
            Some(key) => {
                let content_type = excerpt(state.essence);
                Err(state.refuse(ManifestError::Ambiguous { content_type, key }))
            }
            None => Ok(()),
        }
    }
}

/// The `mediaType` field as an excerpt, if it says something else than the Content-Type. Empty says nothing.
fn excerpt_unless_same(essence: &str) -> impl FnOnce(&str) -> Option<String> {
    move |field| (!field.is_empty() && !field.eq_ignore_ascii_case(essence)).then(|| excerpt(field))
}

/// A list of descriptors, at depth 2.
struct Descriptors<'s, 'a> {
    state: &'s mut State<'a>,
    key: &'static str,
    role: Role,
}

impl<'s, 'a> Descriptors<'s, 'a> {
    fn of(state: &'s mut State<'a>, key: &'static str, role: Role) -> Self {
        Self { state, key, role }
    }
}

impl<'de> DeserializeSeed<'de> for Descriptors<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Descriptors<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    /// Go writes an empty list as null.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            let descriptor = Descriptor {
                state: &mut *self.state,
                key: self.key,
                role: self.role,
                index: Some(index),
            };
            if list.next_element_seed(descriptor)?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// One descriptor: at depth 2 on its own, at depth 3 in a list.
struct Descriptor<'s, 'a> {
    state: &'s mut State<'a>,
    key: &'static str,
    role: Role,
    /// Its place in the list, if it stands in one.
    index: Option<usize>,
}

impl<'s, 'a> Descriptor<'s, 'a> {
    fn only(state: &'s mut State<'a>, key: &'static str, role: Role) -> Self {
        Self {
            state,
            key,
            role,
            index: None,
        }
    }

    fn refuse<E: Error>(&mut self, fault: DescriptorFault) -> E {
        self.state.refuse(ManifestError::Descriptor {
            key: self.key,
            index: self.index.unwrap_or(0),
            fault,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Descriptor<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Descriptor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor")
    }

    /// Go writes a missing `subject` as null; in a list null is nothing.
    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        match self.index {
            None => Ok(()),
            Some(_) => Err(self.refuse(DescriptorFault::Null)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth = if self.index.is_some() { 4 } else { 3 };
        let (mut digest, mut size, mut media_type) = (None, None, String::new());
        let mut keys = Keys::of(&DESCRIPTOR_KEYS);
        while let Some(key) = keys.next(&mut map, self.state)? {
            match key {
                "digest" => match map.next_value_seed(Text(Digest::parse))? {
                    Some(Ok(parsed)) => digest = Some(parsed),
                    Some(Err(error)) => return Err(self.refuse(DescriptorFault::Digest(error))),
                    None => {}
                },
                "size" => size = map.next_value_seed(Size)?,
                "mediaType" => match map.next_value_seed(Text(bounded_media_type))? {
                    Some(Some(text)) => media_type = text,
                    Some(None) => return Err(self.refuse(DescriptorFault::LongMediaType)),
                    None => {}
                },
                _ => {
                    let state = &mut *self.state;
                    map.next_value_seed(Anything { state, depth })?;
                }
            }
        }
        let Some(digest) = digest else {
            return Err(self.refuse(DescriptorFault::NoDigest));
        };
        let Some(size) = size else {
            return Err(self.refuse(DescriptorFault::Size));
        };
        if self.state.children.len() == MAX_CHILDREN {
            return Err(self.state.refuse(ManifestError::TooManyChildren));
        }
        self.state.children.push(Child {
            digest,
            media_type,
            size,
            role: self.role,
        });
        Ok(())
    }
}

/// RFC 6838 section 4.2 allows 127 characters on each side of the slash.
fn bounded_media_type(text: &str) -> Option<String> {
    (text.len() <= 255).then(|| text.to_owned())
}

/// The keys of one object that matter: each once, and spelt so that all readers agree.
struct Keys {
    known: &'static [&'static str],
    seen: Vec<&'static str>,
}

impl Keys {
    fn of(known: &'static [&'static str]) -> Self {
        Self {
            known,
            seen: Vec::new(),
        }
    }

    /// The next key; one that does not matter is `""`. None at the end.
    fn next<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        state: &mut State<'_>,
    ) -> Result<Option<&'static str>, A::Error> {
        let known = self.known;
        let Some(key) = map.next_key_seed(Text(|text: &str| Key::find(known, text)))? else {
            return Ok(None);
        };
        match key {
            Some(Key::Exact(key)) if self.seen.contains(&key) => {
                Err(state.refuse(ManifestError::Repeated(key)))
            }
            Some(Key::Exact(key)) => {
                self.seen.push(key);
                Ok(Some(key))
            }
            Some(Key::Like { found, key }) => Err(state.refuse(ManifestError::Spelling { found, key })),
            Some(Key::Other) | None => Ok(Some("")),
        }
    }
}

enum Key {
    Exact(&'static str),
    Like { found: String, key: &'static str },
    Other,
}

impl Key {
    fn find(known: &'static [&'static str], text: &str) -> Self {
        if let Some(key) = known.iter().find(|key| **key == text) {
            return Self::Exact(key);
        }
        // Go folds as Unicode does: the long s and the Kelvin sign count as s and k.
        let folded = |c: char| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        };
        let alike = |key: &&&str| text.chars().map(folded).eq(key.chars().map(folded));
        match known.iter().find(alike) {
            Some(key) => Self::Like {
                found: excerpt(text),
                key,
            },
            None => Self::Other,
        }
    }
}

/// A string, handed to a function where it stands instead of being copied; None for null.
struct Text<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Text<F> {
    type Value = Option<T>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<T>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Text<F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        Ok(Some((self.0)(text)))
    }
}

/// A whole number of bytes; None for a number that is none, and for null.
struct Size;

impl<'de> DeserializeSeed<'de> for Size {
    type Value = Option<u64>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<u64>, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Size {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size")
    }

    fn visit_u64<E: Error>(self, size: u64) -> Result<Option<u64>, E> {
        Ok(Some(size))
    }

    fn visit_i64<E: Error>(self, _negative: i64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _fraction: f64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }
}

/// Any value, walked over; `depth` is that of an object or list in this place.
struct Anything<'s, 'a> {
    state: &'s mut State<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Anything<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Anything<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _value: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _value: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _value: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _value: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth > MAX_DEPTH {
            return Err(self.state.refuse(ManifestError::TooDeep));
        }
        let inner = self.depth + 1;
        while let Some(()) = list.next_element_seed(Anything {
            state: &mut *self.state,
            depth: inner,
        })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth > MAX_DEPTH {
            return Err(self.state.refuse(ManifestError::TooDeep));
        }
        let inner = self.depth + 1;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Anything {
                state: &mut *self.state,
                depth: inner,
            })?;
        }
        Ok(())
    }
}
