//! Real servers that are out of order, as `vipctl simulate` and `vipctl lab` make them: one vocabulary, and one answer to what a
//! check must come to. The simulator models it, the lab does it; neither decides it.

use super::Spec;
use super::balance::{Checker, CheckerKind, Endpoint, Means, RealServer};
use crate::time::Interval;

/// How a real server behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Health {
    #[default]
    Up,
    /// Nobody listens; programs that ask it end with 1.
    Refuse,
    /// It answers 503: bad for checks that look at the answer.
    Error,
    /// It answers after this time.
    Slow(Interval),
    /// It takes connections and says nothing.
    Hang,
    /// It has no power: nothing comes back from it, and whoever asks waits as long as he is willing to.
    Dead,
    /// Up and refusing in turn.
    Flap,
}

/// What one attempt of a check comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Good,
    /// Good, so much later than a healthy server would have answered.
    Late(Interval),
    Refused,
    /// 503 where another status is expected, or the program's exit code.
    Error,
    /// The connection stands, and nothing comes within the check's time.
    Silent,
    /// Not even a connection comes about within the check's time.
    Dead,
}

/// What is true of a server while nothing changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    Good,
    Bad,
    /// It depends.
    Unclear,
}

impl Health {
    /// What an attempt of a check comes to; of [`Health::Flap`] while it is up.
    pub fn end(self, checker: &Checker) -> End {
        let limit = limit(checker);
        match (self, &checker.kind) {
            (Health::Up | Health::Flap, _) => End::Good,
            // Silence is good.
            (Health::Dead | Health::Hang, CheckerKind::Udp { reply: None, .. }) => End::Good,
            (Health::Dead, _) => End::Dead,
            // An echo is answered by the kernel, whatever the programs on the server do.
            (_, CheckerKind::Ping) => End::Good,
            (Health::Refuse, _) => End::Refused,
            (Health::Error, _) if minds(checker) => End::Error,
            (Health::Error, _) => End::Good,
            // A connection is made at once; only the answer is slow.
            (Health::Slow(_) | Health::Hang, CheckerKind::Tcp) => End::Good,
            (Health::Slow(_), CheckerKind::Udp { reply: None, .. }) => End::Good,
            (Health::Slow(by), _) if by < limit => End::Late(by),
            (Health::Slow(_) | Health::Hang, _) => End::Silent,
        }
    }

    /// What a check must come to while everything stays as it is.
    pub fn truth(self, checker: &Checker) -> Truth {
        let near = Interval::from_millis(10);
        match (self, self.end(checker)) {
            _ if checker.kind.means() == Means::Told => Truth::Unclear,
            (Health::Flap, _) => Truth::Unclear,
            (Health::Slow(by), End::Late(_)) if by + near >= limit(checker) => Truth::Unclear,
            (Health::Slow(by), End::Silent) if by == limit(checker) => Truth::Unclear,
            (_, End::Good | End::Late(_)) => Truth::Good,
            (_, End::Refused | End::Error | End::Silent | End::Dead) => Truth::Bad,
        }
    }
}

/// What several checks of one server come to together.
pub fn together(truths: impl Iterator<Item = Truth>) -> Truth {
    truths.fold(Truth::Good, |all, one| match (all, one) {
        (Truth::Bad, _) | (_, Truth::Bad) => Truth::Bad,
        (Truth::Unclear, _) | (_, Truth::Unclear) => Truth::Unclear,
        (Truth::Good, Truth::Good) => Truth::Good,
    })
}

/// Checks that look at an answer mind what it is.
fn minds(checker: &Checker) -> bool {
    match &checker.kind {
        CheckerKind::Http(http) => {
            http.pages.iter().all(|page| page.status.iter().all(|(first, last)| !(*first..=*last).contains(&503)))
        }
        CheckerKind::Misc { .. } => true,
        CheckerKind::Tcp
        | CheckerKind::Ping
        | CheckerKind::Udp { .. }
        | CheckerKind::Smtp { .. }
        | CheckerKind::Dns { .. }
        | CheckerKind::File { .. }
        | CheckerKind::Bfd { .. } => false,
    }
}

/// How long a check waits for an answer.
pub fn limit(checker: &Checker) -> Interval {
    match (&checker.kind, &checker.connection) {
        (CheckerKind::Misc { timeout, .. }, _) if timeout.is_zero() => {
            checker.timing.map(|timing| timing.delay_loop).unwrap_or_default()
        }
        (CheckerKind::Misc { timeout, .. }, _) => *timeout,
        (_, Some(connection)) => connection.timeout,
        (_, None) => Interval::ZERO,
    }
}

/// How long a server may be in although it is bad, and out although it is good, at the most, by its checks. `late`: how
/// late a wake-up may be.
///
/// To go out: the pause until the next attempt, that attempt, and every retry with its pause. To come in: the longer of the
/// two pauses, then a whole pass of all pages and one more. An attempt that had begun before may come first.
pub fn bound(server: &RealServer, late: Interval) -> Interval {
    server.checkers.iter().map(|checker| of_check(checker, late)).max().unwrap_or_default()
}

fn of_check(checker: &Checker, late: Interval) -> Interval {
    let Some(timing) = checker.timing else { return Interval::ZERO };
    let pages = match &checker.kind {
        CheckerKind::Http(http) => http.pages.len() as u64,
        CheckerKind::Tcp
        | CheckerKind::Ping
        | CheckerKind::Udp { .. }
        | CheckerKind::Smtp { .. }
        | CheckerKind::Dns { .. }
        | CheckerKind::Misc { .. }
        | CheckerKind::File { .. }
        | CheckerKind::Bfd { .. } => 1,
    };
    let attempt = limit(checker) + Interval::from_millis(10) + late;
    let wait = (Interval::from_secs(1) + timing.warmup).max(timing.delay_loop).max(timing.delay_before_retry);
    let out = (timing.delay_before_retry + attempt).times(u64::from(timing.retry));
    let inward = (timing.delay_loop + attempt).times(pages + 1) + timing.delay_before_retry;
    wait + attempt.times(2) + out.max(inward) + Interval::from_millis(100)
}

/// The real server that is to fail, and how, of `[ADDRESS[:PORT] or NAME][=HOW]`: without a name the first of the
/// configuration, without HOW it refuses. NAME is an `snmp_name`; HOW is `refuse`, `503`, `slow` (later than any check waits),
/// `hang`, `dead` or `flap`. `owner`: whose configuration it is.
///
/// # Errors
/// No such server, no such way to fail; in words for people.
pub fn chosen(owner: &str, spec: &Spec, argument: &str) -> Result<(Endpoint, Health), String> {
    let all = || spec.balance.services.iter().flat_map(|service| &service.servers);
    let (who, how) = argument.split_once('=').unwrap_or((argument, "refuse"));
    let named = all().find(|own| own.snmp_name.as_deref() == Some(who) || who.is_empty());
    let at = match named {
        Some(own) => own.endpoint,
        None if who.is_empty() => return Err(format!("{owner} has no real_server")),
        None => {
            let wanted = endpoint(who)?;
            let same = |own: &RealServer| {
                own.endpoint.address == wanted.address && (wanted.port.is_none() || own.endpoint.port == wanted.port)
            };
            all().any(same).then_some(wanted).ok_or_else(|| format!("{owner} has no real_server {wanted}"))?
        }
    };
    let waits = all().flat_map(|own| &own.checkers).map(limit).max().unwrap_or_default();
    let health = match how {
        "refuse" => Health::Refuse,
        "503" => Health::Error,
        "slow" => Health::Slow(waits.times(2)),
        "hang" => Health::Hang,
        "dead" => Health::Dead,
        "flap" => Health::Flap,
        other => return Err(format!("{other} is none of: refuse, 503, slow, hang, dead, flap")),
    };
    Ok((at, health))
}

/// `ADDRESS` or `ADDRESS:PORT`, IPv6 with a port in brackets.
///
/// # Errors
/// It is neither.
pub fn endpoint(word: &str) -> Result<Endpoint, String> {
    let whole = word.parse::<std::net::SocketAddr>().map(|at| Endpoint { address: at.ip(), port: Some(at.port()) });
    let bare = || word.parse().map(|address| Endpoint { address, port: None });
    whole.or_else(|_| bare()).map_err(|_| format!("{word} is not ADDRESS or ADDRESS:PORT of a server"))
}
