//! `vipctl listen`: who speaks VRRP on a wire, without a daemon and without a word of our own.
//!
//! Frames come from an interface or a capture file; [`crate::listen`] makes the table, the engine's own judgement
//! ([`crate::vrrp::overhear`]) says what a configuration would refuse. This file only carries the one to the other.

mod capture;
mod show;

use super::args::Listen as Args;
use super::files::{Where, load};
use super::paint::Paint;
use super::{Outcome, Trouble, steer};
use crate::config::report::Style;
use crate::kernel::clock;
use crate::kernel::overhear::Ears;
use crate::listen::{self, Census, Heard, Moment, Router, Speaker};
use crate::spec::{IfName, Spec};
use crate::time::{Interval, Time};
use crate::vrrp::io::RxMeta;
use crate::vrrp::overhear::{Bystander, Verdict};
use crate::wire::link::{self, Carried};
use crate::wire::{Version, link::Framing};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is listened where nobody looks on and nothing else was said.
const USUAL: Duration = Duration::from_secs(10);
/// The table on a terminal is made anew so often.
const REFRESH: Duration = Duration::from_secs(1);

/// Whose advert a verdict was about.
type Whom = (Router, IpAddr, Version);

/// What has been learned so far.
pub(super) struct Learned {
    census: Census,
    /// With `--config`.
    judge: Option<Judge>,
    /// Up to when it was listened.
    now: Moment,
    /// The interface, or the file.
    place: String,
}

/// A configuration, and what it would say to each speaker.
pub(super) struct Judge {
    file: String,
    spec: Arc<Spec>,
    bystander: Bystander,
    /// Where frames come in; `None`: on any interface of the configuration.
    interface: Option<IfName>,
    /// At most twice as many as the census holds speakers.
    verdicts: BTreeMap<Whom, Verdict>,
}

fn whom(speaker: &Speaker) -> Whom {
    (speaker.router, speaker.address, speaker.version)
}

impl Learned {
    fn hear(&mut self, heard: &Heard, ethertype: u16, packet: &[u8]) {
        let carried = match link::carried(ethertype, packet) {
            Some(Ok(carried)) => carried,
            Some(Err(why)) => {
                self.census.unreadable(heard, None, why);
                return;
            }
            None => return,
        };
        let Some(speaker) = self.census.hear(heard, &carried) else { return };
        let whom = whom(speaker);
        // Nobody hears itself.
        if let (Some(judge), false) = (&mut self.judge, heard.own) {
            let verdict = judge.judge(heard.vlan, &carried, heard.moment);
            judge.verdicts.insert(whom, verdict);
            // The census lets go of speakers in a flood of forged ones. Not at each of them: looking through all takes time.
            if judge.verdicts.len() > listen::MOST.saturating_mul(2) {
                let census = &self.census;
                judge.verdicts.retain(|(router, address, version), _| census.holds(*router, *address, *version));
            }
        }
    }

    /// Something is wrong: two masters, or adverts that the configuration refuses.
    fn is_bad(&self) -> bool {
        let now = self.now.at;
        let rivals = self.census.routers().into_iter().any(|router| !self.census.rivals(router, now).is_empty());
        rivals || self.census.speakers().any(|speaker| self.refusal(speaker).is_some())
    }

    /// Why the configuration would not take what a speaker says. That it is for no instance is no refusal: a wire may have
    /// many virtual routers.
    fn refusal(&self, speaker: &Speaker) -> Option<(&str, crate::vrrp::io::Refusal)> {
        let judge = self.judge.as_ref()?;
        let verdict = judge.verdicts.get(&whom(speaker))?;
        let instance = judge.spec.instances.get(verdict.instance?.index())?;
        Some((&instance.name, verdict.refused?))
    }
}

impl Judge {
    /// What is tagged is for the VLAN's own interface, by the name that it usually has: eth0.7.
    fn judge(&mut self, vlan: Option<u16>, carried: &Carried<'_>, moment: Moment) -> Verdict {
        let tagged = |name: &IfName, vlan| IfName::new(&format!("{name}.{vlan}")).unwrap_or_else(|| name.clone());
        let interface =
            self.interface.as_ref().map(|name| vlan.map_or_else(|| name.clone(), |vlan| tagged(name, vlan)));
        let Carried { source, destination, ttl, datagram } = *carried;
        let meta = RxMeta { ifindex: 0, source, destination, ttl: Some(ttl) };
        self.bystander.judge(interface.as_ref(), meta, datagram, moment.unix_micros)
    }
}

/// Exit code 0: nothing is wrong. 1: two masters, or adverts that `--config` refuses. 2: it could not be listened.
pub fn run(args: &Args) -> Outcome {
    let judge = judge(args)?;
    let place = match (&args.pcap, &args.interface) {
        (Some(file), _) => file.display().to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => return Err(Trouble::new("say the interface to listen on, or --pcap FILE")),
    };
    let now = Moment { at: Time::ZERO, unix_micros: 0 };
    let mut learned = Learned { census: Census::default(), judge, now, place };
    match (&args.pcap, &args.interface) {
        (Some(file), _) => {
            capture::read(file, |frame| from_file(&mut learned, &frame))?;
            conclude(&learned, args)
        }
        (None, interface) => live(&mut learned, interface.as_deref().unwrap_or_default(), args),
    }
}

fn judge(args: &Args) -> Result<Option<Judge>, Trouble> {
    let Some(file) = &args.config else { return Ok(None) };
    // A file is judged where it will run: with --pcap the wire is another machine's.
    let place = if args.pcap.is_some() { Where::Anywhere } else { Where::Here };
    let (spec, diagnostics) = load(file, args.config_id.as_deref(), place)?;
    let Some(spec) = spec else {
        eprint!("{}", diagnostics.show(Style::Full { colour: Paint::stderr().on() }));
        return Err(Trouble::new(format!("{} cannot be run, so it judges nothing", file.display())));
    };
    let interface = args.interface.as_deref().and_then(IfName::new);
    let spec = Arc::new(spec);
    let file = file.display().to_string();
    Ok(Some(Judge { file, bystander: Bystander::new(spec.clone()), spec, interface, verdicts: BTreeMap::new() }))
}

fn from_file(learned: &mut Learned, frame: &capture::Frame<'_>) {
    let Some(outer) = link::outer(frame.framing, frame.bytes) else { return };
    let moment = Moment { at: Time::from_micros(frame.unix_micros), unix_micros: frame.unix_micros };
    if moment.at > learned.now.at {
        learned.now = moment;
    }
    let own = outer.outgoing && frame.framing != Framing::Ethernet;
    let heard = Heard { moment, mac: outer.mac, vlan: outer.vlan, own };
    learned.hear(&heard, outer.ethertype, outer.packet);
}

fn live(learned: &mut Learned, interface: &str, args: &Args) -> Outcome {
    let mut ears = Ears::open(interface).map_err(|e| {
        let trouble = Trouble::new(format!("cannot listen on {interface}: {e}"));
        match e.kind() {
            std::io::ErrorKind::PermissionDenied => trouble.help("listen as root, or with CAP_NET_RAW"),
            _ => trouble.help("`ip link` shows the interfaces that there are"),
        }
    })?;
    let looked_at = std::io::stdout().is_terminal() && !args.json;
    let seconds = args.seconds.map(Duration::from_secs_f64).or((!looked_at).then_some(USUAL));
    let end = seconds.map(|seconds| Instant::now() + seconds);
    let mut redraw = Instant::now();
    loop {
        let now = Instant::now();
        if end.is_some_and(|end| now >= end) {
            break;
        }
        if looked_at && now >= redraw {
            redraw = now + REFRESH;
            learned.now = moment();
            // The cursor home, each line cleared up to its end, and what stands below.
            let text = show::text(learned, Paint::stdout()).replace('\n', "\x1b[K\n");
            steer::print(&format!("\x1b[H{text}\x1b[J"))?;
        }
        let next = if looked_at { end.map_or(redraw, |end| end.min(redraw)) } else { end.unwrap_or(redraw) };
        let heard = ears.hear(next.saturating_duration_since(now).min(REFRESH));
        let heard = heard.map_err(|e| Trouble::new(format!("{interface}: {e}")))?;
        if let Some(frame) = heard {
            let heard = Heard { moment: moment(), mac: frame.mac, vlan: frame.vlan, own: frame.own };
            learned.hear(&heard, frame.ethertype, frame.packet);
        }
    }
    learned.now = moment();
    if looked_at {
        steer::print("\x1b[H\x1b[J")?;
    }
    conclude(learned, args)
}

fn moment() -> Moment {
    let wall = clock::wall();
    Moment { at: wall.at, unix_micros: wall.unix_micros }
}

fn conclude(learned: &Learned, args: &Args) -> Outcome {
    steer::print(&if args.json { show::json(learned) } else { show::text(learned, Paint::stdout()) })?;
    Ok(if learned.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Seconds, as a command line says them.
///
/// # Errors
/// Not a number, not above 0, or longer than a day has any use for.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= Interval::from_secs(366 * 86_400).as_secs_f64() => Ok(seconds),
        _ => Err("a number of seconds above 0".into()),
    }
}
