//! YAML as other tools' files use it: texts, lists and maps, each with its line. Made from the parser's events, so that
//! nothing grows beyond its limit: not the depth, and not what aliases unfold to.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// Files of people are some hundred nodes large.
const MAX_NODES: usize = 50_000;
/// A text counts as one value more for so many bytes: what its aliases unfold to must fit into memory too.
const TEXT_OF_ONE: usize = 64;
const MAX_DEPTH: usize = 64;

/// A node. `Debug` would show passwords.
#[derive(Clone)]
pub(super) struct Yaml {
    /// From 1; where the node begins.
    pub line: u32,
    pub value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    /// Nothing, `null` or `~`.
    Null,
    Text(String),
    List(Vec<Yaml>),
    /// In the file's order; no name twice.
    Map(Vec<(Name, Yaml)>),
}

/// A name in a map.
#[derive(Clone)]
pub(super) struct Name {
    pub text: String,
    pub line: u32,
}

/// Why a text is no YAML. The message never holds a part of the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct YamlError {
    pub line: u32,
    pub column: u32,
    pub what: String,
}

impl Yaml {
    /// The one document of a file.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let mut reader = Reader {
            parser: Parser::new_from_str(text),
            anchors: Vec::new(),
            nodes: 0,
        };
        reader.document()
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Of a map; nothing for anything else.
    pub fn entries(&self) -> &[(Name, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, name: &str) -> Option<&Self> {
        let found = self.entries().iter().find(|(known, _)| known.text == name);
        found.map(|(_, value)| value)
    }

    /// What a person would call it.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// By the parser's number.
    anchors: Vec<(usize, Yaml)>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Yaml, YamlError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Err(at(span, "the file is empty")),
                event => {
                    let node = self.node(event, span, 0)?;
                    return self.nothing_behind(node);
                }
            }
        }
    }

    fn nothing_behind(&mut self, node: Yaml) -> Result<Yaml, YamlError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(node),
                _ => {
                    return Err(at(
                        span,
                        "a second document begins here: give each a file of its own",
                    ));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Err(at(Span::default(), "the file ends too early")),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Yaml, YamlError> {
        if depth > MAX_DEPTH {
            return Err(at(span, format!("is nested more than {MAX_DEPTH} levels deep")));
        }
        self.count(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null {
                    Value::Null
                } else {
                    Value::Text(text.into_owned())
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, span),
            _ => return Err(at(span, "is no value")),
        };
        let node = Yaml {
            line: line_of(span),
            value,
        };
        if anchor > 0 {
            self.count(size(&node), span)?;
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut entries: Vec<(Name, Yaml)> = Vec::new();
        let mut known = std::collections::HashSet::new();
        let mut merged: Vec<(Name, Yaml)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let text = match self.node(event, span, depth + 1)?.value {
                Value::Text(text) => text,
                Value::Null => String::new(),
                Value::List(_) | Value::Map(_) => return Err(at(span, "a name must be a text")),
            };
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if text == "<<" {
                merge(value, value_span, &mut merged)?;
                continue;
            }
            if !known.insert(text.clone()) {
                return Err(at(span, "this name is written twice: keep one of them"));
            }
            let line = line_of(span);
            entries.push((Name { text, line }, value));
        }
        for (name, value) in merged {
            if known.insert(name.text.clone()) {
                entries.push((name, value));
            }
        }
        Ok(Value::Map(entries))
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Yaml, YamlError> {
        let found = self.anchors.iter().position(|(known, _)| *known == anchor);
        let found = found.ok_or_else(|| at(span, "names itself, or an anchor that is not there"))?;
        // Counted before there is another one.
        self.count(size(&self.anchors[found].1), span)?;
        Ok(self.anchors[found].1.clone())
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(at(
                span,
                format!("holds more than {MAX_NODES} values, with what its aliases unfold to"),
            ));
        }
        Ok(())
    }
}

/// `<<: *defaults`, of one map or several; the first that has a name wins.
fn merge(value: Yaml, span: Span, merged: &mut Vec<(Name, Yaml)>) -> Result<(), YamlError> {
    match value.value {
        Value::Map(entries) => merged.extend(entries),
        Value::List(maps) => {
            for map in maps {
                merge(map, span, merged)?;
            }
        }
        Value::Null => {}
        Value::Text(_) => return Err(at(span, "<< must name a map")),
    }
    Ok(())
}

fn size(node: &Yaml) -> usize {
    1 + match &node.value {
        Value::Null => 0,
        Value::Text(text) => text.len() / TEXT_OF_ONE,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, value)| size(value)).sum(),
    }
}

fn at(span: Span, what: impl Into<String>) -> YamlError {
    YamlError {
        line: line_of(span),
        column: count(span.start.col() + 1),
        what: what.into(),
    }
}

/// The parser's own messages name tokens of YAML, except where they repeat an anchor or a tag.
fn scan_error(error: &ScanError) -> YamlError {
    let words = error.info().split(['\'', '"', '`']).next().unwrap_or_default();
    let words: String = words.chars().filter(|c| !c.is_control()).take(120).collect();
    YamlError {
        line: count(error.marker().line().max(1)),
        column: count(error.marker().col() + 1),
        what: format!("is not YAML: {}", words.trim_end_matches([' ', ':'])),
    }
}

fn line_of(span: Span) -> u32 {
    count(span.start.line().max(1))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = Yaml::parse(text).err().unwrap();
        format!("{}: {}", error.line, error.what)
    }

    #[test]
    fn values_know_their_lines() {
        // A comment in the new file must lead back to the line of the old one.
        let root =
            Yaml::parse("# x\nproxy:\n  remoteurl: https://ghcr.io\n  ttl:\n  list: [a, 'null']\n").unwrap();
        let proxy = root.get("proxy").unwrap();
        let url = proxy.get("remoteurl").unwrap();
        assert_eq!((url.text(), url.line), (Some("https://ghcr.io"), 3));
        assert!(proxy.get("ttl").unwrap().is_null());
        let Value::List(items) = &proxy.get("list").unwrap().value else {
            panic!("a list");
        };
        assert_eq!(items[1].text(), Some("null"));
    }

    #[test]
    fn a_long_text_is_not_written_a_thousand_times() {
        // Aliases of one long text would unfold to more than the machine has, from a file of a few hundred kilobytes.
        let long = "x".repeat(100_000);
        let aliases = "- *a\n".repeat(1_000);
        let error = Yaml::parse(&format!("- &a '{long}'\n{aliases}")).err().unwrap();
        assert!(error.to_string().contains("aliases"), "{error}");
    }

    #[test]
    fn anchors_and_merges_of_compose_files() {
        // Compose files share their environment between services this way.
        let text = "base: &base\n  A: '1'\n  B: '2'\nmine:\n  <<: *base\n  B: '3'\n";
        let root = Yaml::parse(text).unwrap();
        let mine = root.get("mine").unwrap();
        assert_eq!(mine.get("A").and_then(Yaml::text), Some("1"));
        assert_eq!(mine.get("B").and_then(Yaml::text), Some("3"));
    }

    #[test]
    fn hostile_documents_end_in_a_message() {
        // Nobody's machine may run out of memory because of a file that somebody sent.
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..20 {
            let before = format!("*a{}", level - 1);
            let list = vec![before; 10].join(",");
            bomb = format!("{bomb}a{level}: &a{level} [{list}]\n");
        }
        assert!(
            error(&bomb).contains("more than 50000 values"),
            "{}",
            error(&bomb)
        );
        assert!(error(&format!("a: {}", "[".repeat(200))).contains("deep"));
        assert!(error(&"- ".repeat(300)).contains("deep"));
        assert_eq!(
            error("a: 1\na: 2\n"),
            "2: this name is written twice: keep one of them"
        );
        assert_eq!(
            error("a: &x [*x]\n"),
            "1: names itself, or an anchor that is not there"
        );
        assert!(error("a: 1\n---\nb: 2\n").starts_with("2: a second document"));
        assert_eq!(error(""), "1: the file is empty");
        assert!(error("a: 'CANARY\n").contains("is not YAML"));
        assert!(!error("a: *CANARY\n").contains("CANARY"));
        assert!(error("[a]: b\n").contains("a name must be a text"));
    }
}
