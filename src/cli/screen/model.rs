//! What the screen shows and what a key means. No terminal, no daemon, no clock.

use super::super::explain;
use super::super::explain_server;
use super::super::paint::Paint;
use super::super::servers::{list, word};
use super::super::view::{Instance, Snapshot};
use crate::daemon::doors::socket::Request;
use ratatui::text::Span;
use serde_json::Value;
use std::collections::VecDeque;

/// Lines of the log that are kept.
const LOG: usize = 1000;
/// Columns of a terminal that has not said how many it has.
const COLUMNS: u16 = 80;
/// Lines that a page key moves by.
const PAGE: usize = 5;

/// Where everything stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) snapshot: Snapshot,
    /// As `vipctl servers --json`.
    pub(super) servers: Value,
    /// As `vipctl bfd --json`.
    pub(super) sessions: Value,
}

/// What came from the daemon.
#[derive(Clone, Debug)]
pub(super) enum News {
    Picture(Box<Picture>),
    /// It does not answer, and why.
    Lost(String),
    /// What it remembers, oldest first: microseconds since 1970, and a sentence.
    Past(Vec<(u64, String)>),
    Happened(u64, String),
    /// The answer to a wish.
    Said(String),
}

/// A key, as far as one means something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Enter,
    Escape,
    Letter(char),
}

/// What is to be done outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Quit,
    Ask(Request),
}

/// What changes something, and is therefore asked twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    Drain,
    Undrain,
    Failover,
}

impl Act {
    pub(super) fn question(self, instance: &str) -> String {
        match self {
            Act::Drain => format!("Drain {instance}: hand over, and stay backup until undrain?"),
            Act::Undrain => format!("End the drain of {instance}?"),
            Act::Failover => format!("Hand {instance} over once?"),
        }
    }
    fn request(self, instance: String) -> Request {
        let instance = Some(instance);
        match self {
            Act::Drain => Request::Drain { instance, keep: false },
            Act::Undrain => Request::Undrain { instance },
            Act::Failover => Request::Failover { instance },
        }
    }
}

/// What is explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// An instance or a sync group, by its name.
    Named(String),
    Servers,
    Sessions,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Looking,
    Asking(Act, String),
    /// An explanation, from this line of [`Model::explanation`] on.
    Explaining(About, usize),
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    /// The daemon's socket.
    pub(super) path: String,
    pub(super) colour: bool,
    /// How wide the terminal is.
    pub(super) columns: u16,
    /// Microseconds since 1970.
    pub(super) now: u64,
    /// The last picture; it stays on the screen while the daemon is gone.
    pub(super) picture: Option<Picture>,
    pub(super) lost: Option<String>,
    /// Oldest first.
    pub(super) log: VecDeque<(u64, String)>,
    /// Lines of the log below what is shown.
    pub(super) back: usize,
    /// Name of the chosen instance: a reload may move it.
    chosen: Option<String>,
    pub(super) mode: Mode,
    pub(super) said: Option<String>,
}

impl Model {
    pub(super) fn new(path: String, colour: bool) -> Model {
        Model {
            path,
            colour,
            columns: COLUMNS,
            now: 0,
            picture: None,
            lost: None,
            log: VecDeque::new(),
            back: 0,
            chosen: None,
            mode: Mode::Looking,
            said: None,
        }
    }

    pub(super) fn learn(&mut self, new: News) {
        match new {
            News::Picture(picture) => {
                self.lost = None;
                self.picture = Some(*picture);
            }
            News::Lost(why) => self.lost = Some(why),
            News::Past(past) => {
                // After a restart of the daemon its memory is short, or holds again what is here.
                let last = self.log.back().map_or(0, |(at, _)| *at);
                past.into_iter().filter(|(at, _)| *at > last).for_each(|(at, text)| self.note(at, text));
            }
            News::Happened(at, text) => self.note(at, text),
            News::Said(text) => self.said = Some(text),
        }
    }

    fn note(&mut self, at: u64, text: String) {
        if self.log.len() >= LOG {
            self.log.pop_front();
        }
        self.log.push_back((at, text));
        // Whoever reads the past keeps the lines before his eyes.
        if self.back > 0 {
            self.back = (self.back + 1).min(self.log.len() - 1);
        }
    }

    pub(super) fn instances(&self) -> &[Instance] {
        self.picture.as_ref().map_or(&[], |picture| &picture.snapshot.instances)
    }

    /// Position of the chosen instance, the first one if none was chosen or it has gone.
    pub(super) fn position(&self) -> usize {
        let named = |instance: &Instance| Some(&instance.name) == self.chosen.as_ref();
        self.instances().iter().position(named).unwrap_or(0)
    }

    pub(super) fn instance(&self) -> Option<&Instance> {
        self.instances().get(self.position())
    }

    /// An explanation, line by line as the terminal shows it: a sentence that is too long for a line goes on in the next one.
    pub(super) fn explanation(&self, about: &About) -> Vec<String> {
        let text = self.picture.as_ref().and_then(|picture| explained(picture, about, self.now));
        let text = text.unwrap_or_else(|| match about {
            About::Named(name) => format!("{name} is not there any more"),
            About::Servers => "there is no virtual server".into(),
            About::Sessions => "there is no BFD session".into(),
        });
        text.lines().flat_map(|line| broken(line, usize::from(self.columns))).collect()
    }

    pub(super) fn press(&mut self, key: Key) -> Option<Wish> {
        match std::mem::replace(&mut self.mode, Mode::Looking) {
            Mode::Looking => self.press_looking(key),
            Mode::Asking(act, instance) => {
                match key {
                    Key::Letter('y' | 'Y') => return Some(Wish::Ask(act.request(instance))),
                    // A key that was meant for something else must not do it.
                    _ => self.said = Some("nothing was done".into()),
                }
                None
            }
            Mode::Explaining(about, from) => {
                let lines = self.explanation(&about).len();
                let from = match key {
                    Key::Up => from.saturating_sub(1),
                    Key::Down => (from + 1).min(lines.saturating_sub(1)),
                    Key::PageUp => from.saturating_sub(PAGE),
                    Key::PageDown => (from + PAGE).min(lines.saturating_sub(1)),
                    Key::Enter | Key::Escape | Key::Letter(_) => return None,
                };
                self.mode = Mode::Explaining(about, from);
                None
            }
        }
    }

    fn press_looking(&mut self, key: Key) -> Option<Wish> {
        self.said = None;
        match key {
            Key::Up | Key::Letter('k') => self.choose(self.position().saturating_sub(1)),
            Key::Down | Key::Letter('j') => self.choose(self.position() + 1),
            Key::PageUp => self.back = (self.back + PAGE).min(self.log.len().saturating_sub(1)),
            Key::PageDown => self.back = self.back.saturating_sub(PAGE),
            Key::Letter('q') | Key::Escape => return Some(Wish::Quit),
            Key::Letter('d') => self.question(Act::Drain),
            Key::Letter('u') => self.question(Act::Undrain),
            Key::Letter('f') => self.question(Act::Failover),
            Key::Letter('e') | Key::Enter => match self.instance() {
                Some(instance) => self.mode = Mode::Explaining(About::Named(instance.name.clone()), 0),
                None => self.said = Some("there is no instance".into()),
            },
            Key::Letter('g') => match self.group() {
                Some(group) => self.mode = Mode::Explaining(About::Named(group), 0),
                None => self.said = Some("the chosen instance is in no sync group".into()),
            },
            Key::Letter('s') => self.mode = Mode::Explaining(About::Servers, 0),
            Key::Letter('b') => self.mode = Mode::Explaining(About::Sessions, 0),
            Key::Letter(_) => {}
        }
        None
    }

    /// The sync group of the chosen instance.
    fn group(&self) -> Option<String> {
        let chosen = &self.instance()?.name;
        let mut groups = self.picture.iter().flat_map(|picture| &picture.snapshot.groups);
        groups.find(|group| group.members.contains(chosen)).map(|group| group.name.clone())
    }

    fn choose(&mut self, position: usize) {
        let last = self.instances().len().saturating_sub(1);
        self.chosen = self.instances().get(position.min(last)).map(|instance| instance.name.clone());
    }

    fn question(&mut self, act: Act) {
        match self.instance() {
            Some(instance) => self.mode = Mode::Asking(act, instance.name.clone()),
            None => self.said = Some("there is no instance".into()),
        }
    }
}

/// What `vipctl explain` says; `None` where there is nothing to explain.
fn explained(picture: &Picture, about: &About, now: u64) -> Option<String> {
    let plain = Paint::plain();
    match about {
        About::Named(name) => explain::render(&picture.snapshot, Some(name), plain),
        About::Servers => {
            let services = list(&picture.servers, "services");
            let (mut names, mut text) = (explain_server::names(services), String::new());
            names.dedup();
            for name in names {
                text += &explain_server::render(services, Some(&name), now, plain).unwrap_or_default();
            }
            (!text.is_empty()).then_some(text)
        }
        About::Sessions => {
            let names = list(&picture.sessions, "sessions").iter().map(|session| word(session, "name"));
            let texts = names.filter_map(|name| explain::render(&picture.snapshot, Some(&name), plain));
            Some(texts.collect::<String>()).filter(|text| !text.is_empty())
        }
    }
}

/// A line as lines of at most so many columns, broken before words, and inside a word that is longer than a line.
fn broken(line: &str, columns: usize) -> Vec<String> {
    let wide = |text: &str| Span::raw(text).width();
    let (mut lines, mut last, mut taken) = (Vec::new(), String::new(), 0_usize);
    for word in line.split_inclusive(' ') {
        if taken > 0 && taken.saturating_add(wide(word.trim_end())) > columns {
            lines.push(std::mem::take(&mut last));
            taken = 0;
        }
        for c in word.chars() {
            let width = wide(c.encode_utf8(&mut [0; 4]));
            if taken > 0 && taken.saturating_add(width) > columns {
                // A space at the end of a line is not seen, and not needed at the beginning of the next one.
                if c == ' ' {
                    continue;
                }
                lines.push(std::mem::take(&mut last));
                taken = 0;
            }
            last.push(c);
            taken = taken.saturating_add(width);
        }
    }
    lines.push(last);
    lines
}
