//! Metrics of a route: `mtu`, `rtt`, `initcwnd` and their like, by their RTAX numbers.

use super::family::{need, number};
use crate::config::line::{LineCx, Words};
use crate::config::table::values::fixed_point;
use crate::config::text::tree::Word;
use crate::spec::rtax;

/// A metric word: its RTAX number, largest value, whether `lock` may stand before the value.
struct Metric {
    word: &'static str,
    number: u8,
    most: u32,
    lock: bool,
    /// Kernel units a millisecond, for times.
    per_millisecond: Option<u64>,
}
const fn metric(word: &'static str, number: u8, most: u32, lock: bool) -> Metric {
    Metric { word, number, most, lock, per_millisecond: None }
}
const fn time(word: &'static str, number: u8, per_millisecond: u64) -> Metric {
    Metric { word, number, most: u32::MAX, lock: true, per_millisecond: Some(per_millisecond) }
}
const METRICS: [Metric; 14] = [
    metric("mtu", rtax::MTU, u32::MAX, true),
    metric("window", rtax::WINDOW, u32::MAX, false),
    time("rtt", rtax::RTT, 8),
    time("rttvar", rtax::RTTVAR, 4),
    metric("ssthresh", rtax::SSTHRESH, u32::MAX, true),
    metric("cwnd", rtax::CWND, u32::MAX, true),
    metric("advmss", rtax::ADVMSS, u32::MAX, true),
    metric("reordering", rtax::REORDERING, u32::MAX, true),
    metric("hoplimit", rtax::HOPLIMIT, 255, false),
    metric("initcwnd", rtax::INITCWND, u32::MAX, false),
    time("rto_min", rtax::RTO_MIN, 1),
    metric("initrwnd", rtax::INITRWND, u32::MAX, false),
    metric("quickack", rtax::QUICKACK, 1, false),
    metric("fastopen_no_cookie", rtax::FASTOPEN_NO_COOKIE, 1, false),
];
/// Limits of `rtt`, `rttvar` and `rto_min`, milliseconds.
const TIME_MILLIS: (u64, u64) = (200, 120_000);

/// A metric by its word: (RTAX number, value, locked). `None` if the word is no metric, `Some(None)` if its value costs
/// the line.
pub(crate) fn metric_of(
    word: &Word<'_>,
    words: &mut Words<'_, '_>,
    cx: &mut LineCx<'_>,
) -> Option<Option<(u8, u32, bool)>> {
    let metric = METRICS.iter().find(|metric| metric.word == word.text)?;
    Some(metric_value(metric, word, words, cx))
}

fn metric_value(
    metric: &Metric,
    word: &Word<'_>,
    words: &mut Words<'_, '_>,
    cx: &mut LineCx<'_>,
) -> Option<(u8, u32, bool)> {
    let lock = metric.lock && words.take_word("lock");
    let value = words.value(word, cx)?;
    let read = match metric.per_millisecond {
        Some(units) => route_time(value, units, word.text, cx)?,
        None => number(value, metric.most, word.text, cx)?,
    };
    Some((metric.number, read, lock))
}

/// `NUMBER[s|sec|secs|ms|msec|msecs]`, seconds and milliseconds into kernel units; a bare number is kernel units.
fn route_time(word: &Word<'_>, units: u64, what: &str, cx: &mut LineCx<'_>) -> Option<u32> {
    let label = "expected 0.2s to 120s, or 200ms to 120000ms, or kernel units";
    let lower = word.text.trim_start_matches([' ', '\t']).to_ascii_lowercase();
    let suffix = lower.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(lower.len());
    let (digits, suffix) = lower.split_at(suffix);
    let (places, scale) = match suffix {
        "" => (0, 1),
        "s" | "sec" | "secs" => (3, units),
        "ms" | "msec" | "msecs" => (0, units),
        _ => {
            cx.say(word, format!("{what} `{}` is no time; the route is left out", word.text), label);
            return None;
        }
    };
    let room = TIME_MILLIS.1 * units;
    let read = fixed_point(digits, places).filter(|(value, _)| *value <= room);
    let (value, exact) = need(read, word, &format!("a value for {what}"), label, cx)?;
    if !exact {
        cx.say(word, format!("{what} {} is finer than its unit and is rounded", word.text), "too many decimals");
    }
    let value = value.saturating_mul(scale);
    let clamped = value.clamp(TIME_MILLIS.0 * units, room);
    if clamped != value {
        let message = format!("{what} {} is out of range; {} ms are used", word.text, clamped / units);
        cx.say(word, message, label);
    }
    u32::try_from(clamped).ok()
}
