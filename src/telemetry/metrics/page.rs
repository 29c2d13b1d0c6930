//! The text of a scrape, family by family, in the names of the catalogue.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::catalogue::{Kind, Metric};
use super::cells::{Counters, Distribution, Histogram, Word};

/// What is written, so far.
pub(super) struct Page<'a>(pub DescriptorEncoder<'a>);

/// One family's samples.
pub(super) struct Rows<'a> {
    metric: &'static Metric,
    encoder: MetricEncoder<'a>,
}

impl Page<'_> {
    /// All samples of one metric.
    pub fn family(
        &mut self,
        metric: &'static Metric,
        write: impl FnOnce(&mut Rows<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let (name, kind) = match metric.kind {
            // `_total` is of the sample, not of the family.
            Kind::Counter => (
                metric.name.strip_suffix("_total").unwrap_or(metric.name),
                MetricType::Counter,
            ),
            Kind::Gauge => (metric.name, MetricType::Gauge),
            Kind::Histogram => (metric.name, MetricType::Histogram),
        };
        let help = metric.help;
        let encoder = self.0.encode_descriptor(name, help, None, kind)?;
        write(&mut Rows { metric, encoder })
    }

    /// A metric without labels.
    pub fn counter(&mut self, metric: &'static Metric, value: u64) -> fmt::Result {
        self.family(metric, |rows| rows.counter(&[], value))
    }

    /// A metric without labels.
    pub fn gauge(&mut self, metric: &'static Metric, value: u64) -> fmt::Result {
        self.family(metric, |rows| rows.gauge(&[], value))
    }

    /// One for each word, also where nothing was counted yet: who draws a rate sees the first one.
    pub fn counters<W: Word>(&mut self, metric: &'static Metric, counters: &Counters<W>) -> fmt::Result {
        self.family(metric, |rows| {
            for (word, value) in counters.each() {
                rows.counter(&[word.word()], value)?;
            }
            Ok(())
        })
    }
}

impl Rows<'_> {
    /// `values` in the order of the metric's labels.
    pub fn counter(&mut self, values: &[&str], value: u64) -> fmt::Result {
        self.row(values, |encoder| {
            encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None)
        })
    }

    pub fn seconds(&mut self, values: &[&str], value: f64) -> fmt::Result {
        self.row(values, |encoder| {
            encoder.encode_counter::<NoLabelSet, f64, u64>(&value, None)
        })
    }

    pub fn gauge(&mut self, values: &[&str], value: u64) -> fmt::Result {
        self.row(values, |encoder| encoder.encode_gauge(&value))
    }

    pub fn signed(&mut self, values: &[&str], value: i64) -> fmt::Result {
        self.row(values, |encoder| encoder.encode_gauge(&value))
    }

    /// A gauge with a fraction.
    pub fn fraction(&mut self, values: &[&str], value: f64) -> fmt::Result {
        self.row(values, |encoder| encoder.encode_gauge(&value))
    }

    /// Nothing, where nothing was observed.
    pub fn histogram(&mut self, values: &[&str], histogram: &Histogram) -> fmt::Result {
        let Distribution { sum, count, buckets } = histogram.distribution();
        if count == 0 {
            return Ok(());
        }
        self.row(values, |encoder| {
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        })
    }

    fn row(
        &mut self,
        values: &[&str],
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        if values.is_empty() {
            return write(&mut self.encoder);
        }
        let labels: Vec<(&str, &str)> = self
            .metric
            .labels
            .iter()
            .copied()
            .zip(values.iter().copied())
            .collect();
        write(&mut self.encoder.encode_family(&labels)?)
    }
}
