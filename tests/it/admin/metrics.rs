//! The text at `/metrics`, read as strictly as its specification allows.

use std::collections::BTreeMap;

/// All of it.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By the name that samples have, which for counters ends in `_total`, but for those of a histogram: the type.
    pub types: BTreeMap<String, String>,
    /// The same: what it is.
    pub helps: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Metrics {
    /// Fails at the first line that is not `OpenMetrics`.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let body = text
            .strip_suffix("# EOF\n")
            .unwrap_or_else(|| panic!("no end in\n{text}"));
        let mut metrics = Self::default();
        let (mut described, mut about) = (String::new(), String::new());
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty(), "{line}");
                name.clone_into(&mut described);
                help.clone_into(&mut about);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, described, "each has a help of its own");
                let name = match kind {
                    "counter" => format!("{name}_total"),
                    "gauge" | "histogram" => name.to_owned(),
                    other => panic!("no type of ours: {other}"),
                };
                metrics.helps.insert(name.clone(), about.clone());
                assert!(metrics.types.insert(name, kind.to_owned()).is_none(), "{line}");
            } else {
                let sample = Sample::parse(line);
                assert!(
                    metrics.types.contains_key(metrics.family(&sample.name)),
                    "{line} before its type"
                );
                metrics.samples.push(sample);
            }
        }
        metrics
    }

    /// What a sample belongs to: those of a histogram have names of their own.
    pub fn family<'a>(&self, sample: &'a str) -> &'a str {
        ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| sample.strip_suffix(suffix))
            .find(|name| self.types.get(*name).is_some_and(|kind| kind == "histogram"))
            .unwrap_or(sample)
    }

    /// The sum of all samples of this name that have these labels.
    #[track_caller]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        assert!(
            self.types.contains_key(self.family(name)),
            "no {name}: {:?}",
            self.types
        );
        let fits = |sample: &&Sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|own| own == value);
            sample.name == name && labels.iter().all(has)
        };
        let sum: f64 = self.samples.iter().filter(fits).map(|sample| sample.value).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        let sum = sum as u64;
        sum
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
                // Places and files of the configuration, bounds, a version.
                "url" | "name" | "le" | "version" => b"-.:/_+",
                _ => b"-",
            };
            assert!(
                value.bytes().all(|byte| byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || (matches!(key, "name" | "le") && byte.is_ascii_uppercase())
                    || others.contains(&byte)),
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
