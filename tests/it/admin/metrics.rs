//! The text at `/metrics`, read as strictly as its specification allows.

use std::collections::BTreeMap;

/// All of it.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By the name that samples have, which for counters ends in `_total`: the type.
    pub types: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: u64,
}

impl Metrics {
    /// Fails at the first line that is not `OpenMetrics`.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let body = text
            .strip_suffix("# EOF\n")
            .unwrap_or_else(|| panic!("no end in\n{text}"));
        let mut metrics = Self::default();
        let mut described = String::new();
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty(), "{line}");
                name.clone_into(&mut described);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, described, "each has a help of its own");
                let name = match kind {
                    "counter" => format!("{name}_total"),
                    "gauge" => name.to_owned(),
                    other => panic!("no type of ours: {other}"),
                };
                assert!(metrics.types.insert(name, kind.to_owned()).is_none(), "{line}");
            } else {
                let sample = Sample::parse(line);
                assert!(metrics.types.contains_key(&sample.name), "{line} before its type");
                metrics.samples.push(sample);
            }
        }
        metrics
    }

    /// The sum of all samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        assert!(self.types.contains_key(name), "no {name}: {:?}", self.types);
        let fits = |sample: &&Sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|own| own == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }
}

impl Sample {
    #[track_caller]
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{line}"
        );
        let label = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap();
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap();
            // Words of docxy's own, and names of the configuration: nothing to escape, nothing that a client chose.
            let others: &[u8] = match key {
                "registry" | "credential" => b"-.:",
                _ => b"-",
            };
            assert!(
                value
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || others.contains(&byte)),
                "{line}"
            );
            (key.to_owned(), value.to_owned())
        };
        Self {
            name: name.to_owned(),
            labels: labels
                .split(',')
                .filter(|pair| !pair.is_empty())
                .map(label)
                .collect(),
            value: value.parse().unwrap(),
        }
    }
}
