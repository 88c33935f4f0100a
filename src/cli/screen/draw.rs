//! The screen, laid out. It fits 80 columns and 24 lines, and uses more where there is more.

use super::super::alarms;
use super::super::clock;
use super::super::servers::{list, word, yes};
use super::super::status::{master, next};
use super::super::view::{Instance, Snapshot, span};
use super::model::{Mode, Model, Picture};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};
use serde_json::Value;

/// Lines for the chosen instance.
const DETAILS: u16 = 6;
/// Lines for trackers, servers and sessions, their headings included.
const OTHERS: u16 = 5;
/// At most so many lines for the table of instances, its heading included.
const INSTANCES: u16 = 8;

/// Colours, or none of them.
#[derive(Clone, Copy)]
struct Palette(bool);

impl Palette {
    fn of(self, colour: Color) -> Style {
        if self.0 { Style::new().fg(colour) } else { Style::new() }
    }
    fn state(self, word: &str) -> Style {
        match word {
            "MASTER" => self.of(Color::Green).add_modifier(Modifier::BOLD),
            "BACKUP" => self.of(Color::Cyan),
            "FAULT" => self.bad(),
            _ => Style::new(),
        }
    }
    fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }
    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

/// `now`: microseconds since 1970.
pub(super) fn all(frame: &mut Frame<'_>, model: &Model, now: u64) {
    let palette = Palette(model.colour);
    let rows = u16::try_from(model.instances().len()).unwrap_or(u16::MAX).saturating_add(1);
    let [head, middle, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(headline(model, now, palette)), head);
    frame.render_widget(Paragraph::new(footline(model, palette)), foot);
    if let Mode::Explaining(about, from) = &model.mode {
        let lines: Vec<Line<'_>> = model.explanation(about).into_iter().map(Line::from).collect();
        let from = u16::try_from(*from).unwrap_or(u16::MAX);
        frame.render_widget(Paragraph::new(lines).scroll((from, 0)), middle);
        return;
    }
    let Some(picture) = &model.picture else { return };
    let [list, details, others, log] = Layout::vertical([
        Constraint::Length(rows.min(INSTANCES)),
        Constraint::Length(DETAILS),
        Constraint::Length(OTHERS),
        Constraint::Fill(1),
    ])
    .areas(middle);
    instances(frame, list, model, &picture.snapshot, palette);
    if let Some(instance) = model.instance() {
        let lines = about(&picture.snapshot, instance, palette);
        frame.render_widget(Paragraph::new(lines), details);
    }
    beside(frame, others, picture, palette);
    changes(frame, log, model, now, palette);
}

fn headline<'a>(model: &'a Model, now: u64, palette: Palette) -> Line<'a> {
    if let Some(why) = &model.lost {
        return Line::styled(format!("Waiting for the daemon to come back: {why}"), palette.bad());
    }
    let mut spans = vec![Span::styled("vipd", Style::new().add_modifier(Modifier::BOLD))];
    if let Some(picture) = &model.picture {
        spans.push(format!(" (pid {})", picture.snapshot.pid).into());
    }
    spans.push(format!(" at {}  {}", model.path, clock::local(now, now)).into());
    for state in ["MASTER", "BACKUP", "FAULT"] {
        let count = model.instances().iter().filter(|instance| instance.state == state).count();
        spans.push("  ".into());
        let style = if count > 0 { palette.state(state) } else { palette.dim() };
        spans.push(Span::styled(format!("{count} {state}"), style));
    }
    Line::from(spans)
}

fn footline<'a>(model: &'a Model, palette: Palette) -> Line<'a> {
    match (&model.mode, &model.said) {
        (Mode::Asking(act, instance), _) => {
            Line::styled(format!("{} y: yes, any other key: no", act.question(instance)), palette.of(Color::Yellow))
        }
        (Mode::Explaining(..), _) => Line::styled("up, down: scroll   any other key: back", palette.dim()),
        (Mode::Looking, Some(said)) => Line::styled(said.clone(), palette.of(Color::Yellow)),
        (Mode::Looking, None) => Line::styled(
            "d drain  u undrain  f failover  e explain  g its group  s servers  b bfd  q quit",
            palette.dim(),
        ),
    }
}

fn instances(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &Snapshot, palette: Palette) {
    let head = Row::new(["INSTANCE", "STATE", "VRID", "PRIO", "MASTER", "NEXT"]).style(palette.dim());
    let rows = model.instances().iter().map(|instance| {
        let state = match instance.drained {
            true => format!("{} drained", instance.state),
            false => instance.state.clone(),
        };
        let name = Cell::from(instance.name.clone());
        let wrong = !alarms::of(snapshot, instance).is_empty();
        Row::new([
            if wrong { name.style(palette.bad()) } else { name },
            Cell::from(state).style(palette.state(&instance.state)),
            Cell::from(instance.vrid.to_string()),
            Cell::from(instance.effective_priority.to_string()),
            Cell::from(who(instance)),
            Cell::from(next(snapshot, instance)),
        ])
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(14),
        Constraint::Length(4),
        Constraint::Length(4),
        Constraint::Fill(2),
        Constraint::Fill(3),
    ];
    // The choice is seen without colour too.
    let table = Table::new(rows, widths)
        .header(head)
        .highlight_symbol("> ")
        .row_highlight_style(Style::new().add_modifier(Modifier::BOLD));
    let mut state = TableState::default().with_selected(model.instance().map(|_| model.position()));
    frame.render_stateful_widget(table, area, &mut state);
}

/// Who is master, short.
fn who(instance: &Instance) -> String {
    match &instance.master {
        None => "nobody".into(),
        Some(master) if master.ourselves && instance.rivals_now().next().is_some() => "two masters".into(),
        Some(master) if master.ourselves => "this server".into(),
        Some(master) if master.silent => "silent".into(),
        Some(master) => master.address.clone().unwrap_or_default(),
    }
}

fn about<'a>(snapshot: &Snapshot, instance: &'a Instance, palette: Palette) -> Vec<Line<'a>> {
    let label = |text: &'static str| Span::styled(format!("{text:<10}"), palette.dim());
    let since = span(snapshot.ago(instance.since));
    let mut lines = vec![Line::default()];
    let why = format!("{} for {since}: {}", instance.state, instance.reason(snapshot));
    lines.push(Line::from(vec![Span::styled(format!("{:<10}", instance.name), Modifier::BOLD), why.into()]));
    match alarms::of(snapshot, instance).first() {
        Some(alarm) => lines.push(Line::from(vec![label("wrong"), Span::styled(alarm.what.clone(), palette.bad())])),
        None => lines.push(Line::from(vec![label("master"), master(snapshot, instance).into()])),
    }
    lines.push(Line::from(vec![label("priority"), instance.sum().into()]));
    let mut spans = vec![label("addresses")];
    for address in &instance.addresses {
        let master = instance.state == "MASTER";
        let (text, style) = match (master, address.is_here()) {
            (_, None) => ("unknown", palette.dim()),
            (true, Some(false)) => ("missing", palette.bad()),
            (true, Some(true)) => ("held", palette.of(Color::Green)),
            (false, Some(false)) => ("not here", palette.dim()),
            (false, Some(true)) => ("here all the same", palette.bad()),
        };
        spans.push(format!("{} ", address.address).into());
        spans.push(Span::styled(format!("{text}  "), style));
    }
    lines.push(Line::from(spans));
    lines
}

/// Trackers on the left, virtual servers and BFD sessions on the right.
fn beside(frame: &mut Frame<'_>, area: Rect, picture: &Picture, palette: Palette) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let snapshot = &picture.snapshot;
    let mut trackers: Vec<Line<'_>> = Vec::new();
    for script in &snapshot.scripts {
        trackers.push(health(&script.name, "script", script.good, palette));
    }
    for tracker in &snapshot.trackers {
        trackers.push(match tracker.value.filter(|_| tracker.kind == "file") {
            // Whether a number is good depends on each instance's weight.
            Some(number) => format!("{number:<7} {} (file)", tracker.name).into(),
            None => health(&tracker.name, &tracker.kind, tracker.good, palette),
        });
    }
    let mut others = services(&picture.servers, palette);
    others.extend(sessions(&picture.sessions, palette));
    for (area, title, lines) in [(left, "TRACKERS", trackers), (right, "VIRTUAL SERVERS, BFD SESSIONS", others)] {
        frame.render_widget(Paragraph::new(within(title, lines, area.height, palette)), area);
    }
}

/// A heading and as many lines as there is room for; what is left out is counted.
fn within<'a>(title: &'a str, mut lines: Vec<Line<'a>>, height: u16, palette: Palette) -> Vec<Line<'a>> {
    let room = usize::from(height).saturating_sub(1);
    let more = lines.len().saturating_sub(room);
    if more > 0 {
        lines.truncate(room);
    }
    let title = match (lines.is_empty(), more) {
        (true, _) => format!("{title}: none"),
        (false, 0) => title.to_owned(),
        (false, more) => format!("{title} (and {more} more)"),
    };
    lines.insert(0, Line::styled(title, palette.dim()));
    lines
}

fn health<'a>(name: &str, kind: &str, good: Option<bool>, palette: Palette) -> Line<'a> {
    let (word, style) = match good {
        Some(true) => ("good", palette.of(Color::Green)),
        Some(false) => ("bad", palette.bad()),
        None => ("unknown", palette.dim()),
    };
    Line::from(vec![Span::styled(format!("{word:<8}"), style), format!("{name} ({kind})").into()])
}

fn services<'a>(servers: &Value, palette: Palette) -> Vec<Line<'a>> {
    let line = |service: &Value| {
        let up = list(service, "servers").iter().filter(|server| yes(server, "up")).count();
        let all = list(service, "servers").len();
        let met = yes(service, "quorum_met");
        let (state, style) = if met { ("serves", palette.of(Color::Green)) } else { ("quorum", palette.bad()) };
        let name = word(service, "name");
        Line::from(vec![Span::styled(format!("{state:<8}"), style), format!("{name}  {up} of {all} up").into()])
    };
    list(servers, "services").iter().map(line).collect()
}

fn sessions<'a>(sessions: &Value, palette: Palette) -> Vec<Line<'a>> {
    let line = |session: &Value| {
        let state = word(session, "state").to_uppercase();
        let style = if state == "UP" { palette.of(Color::Green) } else { palette.bad() };
        let (name, peer) = (word(session, "name"), word(session, "neighbor"));
        Line::from(vec![Span::styled(format!("{state:<8}"), style), format!("{name}  BFD with {peer}").into()])
    };
    list(sessions, "sessions").iter().map(line).collect()
}

fn changes(frame: &mut Frame<'_>, area: Rect, model: &Model, now: u64, palette: Palette) {
    let room = usize::from(area.height).saturating_sub(1);
    let end = model.log.len().saturating_sub(model.back);
    let begin = end.saturating_sub(room);
    let heading = match model.back {
        0 => "CHANGES".to_owned(),
        back => format!("CHANGES ({back} later ones below)"),
    };
    let mut lines = vec![Line::styled(heading, palette.dim())];
    for (at, text) in model.log.range(begin..end) {
        let time = Span::styled(format!("{} ", clock::local(*at, now)), palette.dim());
        lines.push(Line::from(vec![time, text.clone().into()]));
    }
    frame.render_widget(Paragraph::new(lines), area);
}
