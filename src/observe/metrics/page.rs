//! The page under construction, in either format: what a family is called, and how a sample is written.
//!
//! OpenMetrics names a counter without its `_total` and an info without its `_info`, and ends with a mark; text 0.0.4 names
//! them as their samples, and has no infos.

use super::{Format, LATENESS_BOUNDS, Lateness};
use std::fmt::{Display, Write as _};

pub(super) struct Page {
    text: String,
    format: Format,
    /// What the samples of the present family begin with.
    sample: String,
}

/// Labels as they stand between the braces; made once where many families have the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    pub(super) fn new(pairs: &[(&str, &dyn Display)]) -> Labels {
        Labels::default().and(pairs)
    }

    /// With more of them behind.
    pub(super) fn and(&self, pairs: &[(&str, &dyn Display)]) -> Labels {
        let mut text = self.0.clone();
        for (name, value) in pairs {
            if !text.is_empty() {
                text.push(',');
            }
            let _ = write!(text, "{name}=\"{}\"", escaped(&value.to_string()));
        }
        Labels(text)
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Page {
    pub(super) fn new(format: Format) -> Page {
        Page { text: String::new(), format, sample: String::new() }
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help, name);
    }

    /// `name` ends with `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str) {
        let family = match self.format {
            Format::Text => name,
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
        };
        self.family(family, "counter", help, name);
    }

    /// A counter of another exporter, whatever its name is.
    pub(super) fn foreign_counter(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help, name);
    }

    /// `name` ends with `_info`; its samples are 1.
    pub(super) fn info(&mut self, name: &str, help: &str) {
        match self.format {
            Format::Text => self.family(name, "gauge", help, name),
            Format::OpenMetrics => self.family(name.strip_suffix("_info").unwrap_or(name), "info", help, name),
        }
    }

    pub(super) fn summary(&mut self, name: &str, help: &str) {
        self.family(name, "summary", help, name);
    }

    /// A histogram of one loop's lateness, seconds.
    pub(super) fn lateness(&mut self, name: &str, help: &str, late: &Lateness) {
        self.family(name, "histogram", help, name);
        let mut up_to = 0_u64;
        for (bound, count) in LATENESS_BOUNDS.iter().zip(late.buckets) {
            up_to = up_to.saturating_add(count);
            // OpenMetrics wants a number with a point; nothing else minds.
            let bound = format!("{:?}", *bound as f64 / 1e6);
            self.part("_bucket", &Labels::new(&[("le", &bound)]), up_to);
        }
        let all = late.buckets.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        self.part("_bucket", &Labels::new(&[("le", &"+Inf")]), all);
        self.part("_sum", &Labels::default(), Micros(late.sum_us));
        self.part("_count", &Labels::default(), all);
    }

    fn family(&mut self, family: &str, kind: &str, help: &str, sample: &str) {
        let _ = write!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}\n");
        sample.clone_into(&mut self.sample);
    }

    /// A sample of the present family.
    pub(super) fn sample(&mut self, labels: &Labels, value: impl Display) {
        self.part("", labels, value);
    }

    /// The one sample of a family without labels; none without a value.
    pub(super) fn only(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.part("", &Labels::default(), value);
        }
    }

    /// A sample with something behind its family's name.
    pub(super) fn part(&mut self, suffix: &str, labels: &Labels, value: impl Display) {
        self.text.push_str(&self.sample);
        self.text.push_str(suffix);
        if !labels.0.is_empty() {
            let _ = write!(self.text, "{{{}}}", labels.0);
        }
        let _ = writeln!(self.text, " {value}");
    }

    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Microseconds, written as seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Micros(pub(super) u64);

impl Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
