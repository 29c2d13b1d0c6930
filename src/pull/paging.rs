//! Pages of tags. An upstream's `Link` is rewritten to the path the client used; where an upstream ignores `n` or
//! `last`, docxy cuts the page itself. Nothing is ever fetched from a `Link` (threat S2).

use std::collections::BTreeSet;

use form_urlencoded::Serializer;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use super::{Error, tag_list};
use crate::oci::RegistryName;

/// Largest page that is cut here; more asked for counts as this.
const MAX_PAGE: u64 = 10_000;

/// What a client asked of a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Page {
    pub n: Option<u64>,
    pub last: Option<String>,
}

/// A page as a client gets it.
#[derive(Serialize)]
struct CutList<'a> {
    name: Option<&'a str>,
    tags: &'a BTreeSet<String>,
}

impl Page {
    pub fn of(query: Option<&str>) -> Result<Self, Error> {
        let mut page = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "n" => {
                    let shown =
                        || Error::BadPageSize(value.chars().filter(|c| !c.is_control()).take(40).collect());
                    page.n = Some(value.parse::<u64>().map_err(|_| shown())?.min(MAX_PAGE));
                }
                "last" => page.last = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(page)
    }

    /// Nothing was asked that an upstream could have ignored.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// The page of a list whose upstream did not cut it: sorted, behind `last`, at most `n`. None when the upstream
    /// did as it was asked, so that its bytes and its order pass as they are.
    pub fn cut(&self, registry: &RegistryName, json: &[u8]) -> Result<Option<Cut>, Error> {
        let bad = |error: serde_json::Error| Error::bad_list(registry, &error);
        let room = self.n.unwrap_or(MAX_PAGE);
        let list = tag_list::read(json, self.last.as_deref(), room).map_err(bad)?;
        let too_many = self.n.is_some_and(|n| list.count > n);
        if !too_many && !list.has_last {
            return Ok(None);
        }
        let next = list.more.then(|| list.tags.last()).flatten();
        let next = next.map(|last| next_query(room, last));
        let page = CutList {
            name: list.name.as_deref(),
            tags: &list.tags,
        };
        let json = serde_json::to_vec(&page).map_err(bad)?;
        Ok(Some(Cut { json, next }))
    }
}

/// A page that was cut here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub json: Vec<u8>,
    /// The query of the next page, if there is one.
    pub next: Option<String>,
}

fn next_query(n: u64, last: &str) -> String {
    Serializer::new(String::new())
        .append_pair("n", &n.to_string())
        .append_pair("last", last)
        .finish()
}

/// The query of the upstream's next page, without `ns`; whatever else it holds (`next_page=...`) is the upstream's
/// own bookmark and comes back to it.
pub(super) fn next_page(upstream: &HeaderMap) -> Option<String> {
    let lines = upstream
        .get_all(header::LINK)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let url = lines
        .flat_map(links)
        .find(|(_, parameters)| is_next(parameters))
        .map(|(url, _)| url)?;
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    without_namespace(Some(query))
}

/// The links of one line, each with its parameters (RFC 8288 section 3). A comma inside `<>` separates nothing.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('<').skip(1).filter_map(|link| link.split_once('>'))
}

fn is_next(parameters: &str) -> bool {
    let plain = parameters.replace(['"', ' '], "").to_ascii_lowercase();
    plain.split([';', ',']).any(|parameter| parameter == "rel=next")
}

/// The query with an `n` that no registry refuses for its size.
pub(super) fn bounded(query: Option<&str>) -> Option<String> {
    let query = query?;
    let too_large = |pair: &str| {
        form_urlencoded::parse(pair.as_bytes())
            .any(|(key, value)| key == "n" && value.parse::<u64>().is_ok_and(|n| n > MAX_PAGE))
    };
    let pairs = query.split('&').map(|pair| {
        if too_large(pair) {
            format!("n={MAX_PAGE}")
        } else {
            pair.to_owned()
        }
    });
    Some(pairs.collect::<Vec<_>>().join("&"))
}

/// `Link` for the next page, relative, under the path the client asked, with the `ns` it used.
pub(super) fn link(path: &str, query: &str, namespace: Option<&RegistryName>) -> Option<HeaderValue> {
    let mut query = query.to_owned();
    if let Some(ns) = namespace {
        let pair = Serializer::new(String::new())
            .append_pair("ns", ns.as_str())
            .finish();
        query = format!("{query}&{pair}");
    }
    HeaderValue::from_str(&format!("<{path}?{query}>; rel=\"next\"")).ok()
}

/// A raw query without its `ns` pairs; None when nothing is left.
pub fn without_namespace(query: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = query?
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(|pair| form_urlencoded::parse(pair.as_bytes()).all(|(key, _)| key != "ns"))
        .collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> RegistryName {
        RegistryName::parse("ghcr.io").expect("a name")
    }

    #[test]
    fn a_list_that_was_not_paged_is_cut_here() {
        // docker-registry 2.8 ignores n and last; clients that page would loop over the first page for ever.
        let json = br#"{"name":"a","tags":["c","a","d","b"]}"#;
        let page = Page::of(Some("n=2")).expect("a page");
        let cut = page.cut(&registry(), json).expect("JSON").expect("cut");
        assert_eq!(cut.json, br#"{"name":"a","tags":["a","b"]}"#);
        assert_eq!(cut.next.as_deref(), Some("n=2&last=b"));
        let page = Page::of(Some("n=2&last=b")).expect("a page");
        let cut = page.cut(&registry(), json).expect("JSON").expect("cut");
        assert_eq!(
            (cut.json, cut.next),
            (br#"{"name":"a","tags":["c","d"]}"#.to_vec(), None)
        );
        let page = Page::of(Some("n=0")).expect("a page");
        assert_eq!(
            page.cut(&registry(), json).expect("JSON").expect("cut").next,
            None
        );
    }

    #[test]
    fn a_list_that_was_paged_passes_as_it_is() {
        // An upstream's own order and bookmarks are its own.
        let page = Page::of(Some("n=4&last=a")).expect("a page");
        let cut = page.cut(&registry(), br#"{"tags":["b","z","c"]}"#).expect("JSON");
        assert_eq!(cut, None);
    }

    #[test]
    fn links_stay_on_our_own_path() {
        // A Link to another host must not lead a client, or docxy, there (threat S2).
        let mut headers = HeaderMap::new();
        let value = "<https://evil.example/v2/x/tags/list?n=2&last=b&ns=evil>; rel=\"next\"";
        headers.insert(header::LINK, HeaderValue::from_static(value));
        let query = next_page(&headers).expect("a next page");
        assert_eq!(query, "n=2&last=b");
        let link = link("/v2/o/i/tags/list", &query, Some(&registry())).expect("a link");
        assert_eq!(link, "</v2/o/i/tags/list?n=2&last=b&ns=ghcr.io>; rel=\"next\"");
        assert_eq!(without_namespace(Some("ns=a&n=1&%6es=b&")), Some("n=1".into()));
        assert_eq!(without_namespace(Some("ns=a")), None);
        let value = "</v2/x/tags/list?last=a>; rel=\"prev\", </v2/x/tags/list?a=1,2&last=z>; rel=next";
        headers.insert(header::LINK, HeaderValue::from_static(value));
        assert_eq!(next_page(&headers).as_deref(), Some("a=1,2&last=z"));
        headers.insert(
            header::LINK,
            HeaderValue::from_static("</x?last=a>; rel=\"prev\""),
        );
        assert_eq!(next_page(&headers), None);
        assert_eq!(
            bounded(Some("n=99999999&last=a")).as_deref(),
            Some("n=10000&last=a")
        );
        assert_eq!(bounded(Some("n=5&last=a%26b")).as_deref(), Some("n=5&last=a%26b"));
    }
}
