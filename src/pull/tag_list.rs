//! `{"name": ..., "tags": [...]}`, read without keeping more of it than one page: a list may have 32 MiB of tiny tags.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a page needs to know of the whole list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TagList {
    pub name: Option<String>,
    /// The first tags behind `last`, in order, no more than there was room for.
    pub tags: BTreeSet<String>,
    /// Tags in the whole list.
    pub count: u64,
    /// `last` itself is in the list: the upstream began at the start.
    pub has_last: bool,
    /// There are tags behind those kept.
    pub more: bool,
}

/// Reads a list; `room` is the number of tags that are kept.
pub(super) fn read(json: &[u8], last: Option<&str>, room: u64) -> Result<TagList, serde_json::Error> {
    let mut list = TagList::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let reader = Reader {
        list: &mut list,
        last,
        room,
    };
    Deserializer::deserialize_map(&mut deserializer, reader)?;
    deserializer.end()?;
    Ok(list)
}

/// Reads the object.
struct Reader<'a> {
    list: &'a mut TagList,
    last: Option<&'a str>,
    room: u64,
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the key tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { list, last, room } = self;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => list.name = map.next_value()?,
                "tags" => map.next_value_seed(Tags { list, last, room })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the array in it.
struct Tags<'a> {
    list: &'a mut TagList,
    last: Option<&'a str>,
    room: u64,
}

impl<'de> DeserializeSeed<'de> for Tags<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tags, or null for none")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { list, last, room } = self;
        while let Some(tag) = seq.next_element::<String>()? {
            list.count += 1;
            list.has_last |= last == Some(tag.as_str());
            if last.is_none_or(|last| tag.as_str() > last) {
                list.tags.insert(tag);
            }
            if list.tags.len() as u64 > room {
                list.tags.pop_last();
                list.more = true;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_page_is_kept_of_a_long_list() {
        // 32 MiB of tiny tags would otherwise take hundreds of megabytes (threat I9).
        let tags: Vec<String> = (0..50_000).map(|n| format!("\"{n:05}\"")).collect();
        let json = format!("{{\"name\":\"a\",\"x\":[1,{{}}],\"tags\":[{}]}}", tags.join(","));
        let list = read(json.as_bytes(), Some("00009"), 3).expect("JSON");
        let kept: Vec<&str> = list.tags.iter().map(String::as_str).collect();
        assert_eq!(kept, ["00010", "00011", "00012"]);
        assert_eq!((list.count, list.has_last, list.more), (50_000, true, true));
        assert_eq!(list.name.as_deref(), Some("a"));
    }

    #[test]
    fn no_tags_are_written_in_three_ways() {
        // Registries send null, an empty list, or leave the key out.
        for json in ["{\"tags\":null}", "{\"tags\":[]}", "{}"] {
            assert_eq!(read(json.as_bytes(), None, 5).expect(json), TagList::default());
        }
        for json in [
            "[]",
            "{\"tags\":[1]}",
            "{\"tags\":{}}",
            "{\"tags\":[]} x",
            "{\"tags\":[\"a\"",
        ] {
            assert!(read(json.as_bytes(), None, 5).is_err(), "{json}");
        }
    }
}
