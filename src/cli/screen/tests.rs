use super::draw;
use super::model::{About, Key, Mode, Model, News, Picture, Wish};
use crate::daemon::doors::socket::Request;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

fn instance(name: &str, state: &str) -> Value {
    json!({
        "name": name, "state": state, "vrid": 51, "since": 1_000_000, "why": "start", "base_priority": 100,
        "effective_priority": 95, "total_priority": 95, "owned": true, "interval": 1.0,
        "contributions": [{ "tracker": "chk_nginx", "weight": -5, "good": false, "amount": -5 }],
        "master": { "ourselves": state == "MASTER", "address": "10.0.0.12", "priority": 100, "last_heard": 9_000_000 },
        "next": { "at": 13_500_000, "what": "takes over" },
        "addresses": [{ "address": "10.0.0.10", "prefix": 24, "interface": "eth0", "on": ["eth0"] }],
    })
}

fn picture(instances: &[Value]) -> News {
    let status = json!({
        "now": 10_000_000, "pid": 17, "instances": instances,
        "scripts": [{ "name": "chk_nginx", "good": false }],
        "trackers": [{ "kind": "file", "name": "load", "good": true, "value": 3 }],
    });
    let servers = json!({ "services": [{ "name": "10.0.0.10:80", "quorum_met": true,
        "servers": [{ "up": true }, { "up": false }] }] });
    let sessions = json!({ "sessions": [{ "name": "B1", "state": "Up", "neighbor": "10.0.0.12" }] });
    News::Picture(Box::new(Picture { snapshot: serde_json::from_value(status).unwrap(), servers, sessions }))
}

fn model(names: &[(&str, &str)]) -> Model {
    let mut model = Model::new("/run/vipd/control.sock".into(), false);
    model.learn(picture(&names.iter().map(|(name, state)| instance(name, state)).collect::<Vec<_>>()));
    model
}

fn lines(model: &Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::all(frame, model, 0)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn everything_has_its_place_on_80_by_24() {
    let mut model = model(&[("VI_1", "MASTER"), ("VI_2", "BACKUP")]);
    model.learn(News::Happened(0, "(VI_1) Entering MASTER STATE".into()));
    let screen = lines(&model, 80, 24);
    let text = screen.join("\n");
    for part in [
        "vipd (pid 17) at /run/vipd/control.sock",
        "1 MASTER  1 BACKUP  0 FAULT",
        "> VI_1",
        "this server",
        "10.0.0.12",
        "in 3.5 s: takes over",
        "95 = 100 - 5 (chk_nginx fails)",
        "10.0.0.10 held",
        "bad     chk_nginx (script)",
        "3       load (file)",
        "serves  10.0.0.10:80  1 of 2 up",
        "UP      B1  BFD with 10.0.0.12",
        "(VI_1) Entering MASTER STATE",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(screen[23].ends_with("q quit"), "{text}");
}

#[test]
fn a_small_terminal_and_a_thousand_instances_do_no_harm() {
    let names: Vec<String> = (0..1000).map(|n| format!("VI_{n}")).collect();
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "BACKUP")).collect();
    let mut model = model(&all);
    for _ in 0..700 {
        model.press(Key::Down);
    }
    for (width, height) in [(1, 1), (10, 3), (20, 6), (80, 24), (250, 90)] {
        lines(&model, width, height);
    }
    assert!(lines(&model, 80, 24).join("\n").contains("> VI_700"));
}

#[test]
fn what_changes_something_is_asked_first() {
    let mut model = model(&[("VI_1", "MASTER"), ("VI_2", "BACKUP")]);
    for (letter, request) in [
        ('d', Request::Drain { instance: Some("VI_2".into()), keep: false }),
        ('u', Request::Undrain { instance: Some("VI_2".into()) }),
        ('f', Request::Failover { instance: Some("VI_2".into()) }),
    ] {
        model.press(Key::Down);
        assert_eq!(model.press(Key::Letter(letter)), None);
        assert!(lines(&model, 80, 24)[23].contains("VI_2"), "the question names the instance");
        assert_eq!(model.press(Key::Enter), None);
        assert_eq!(model.mode, Mode::Looking);
        model.press(Key::Letter(letter));
        assert_eq!(model.press(Key::Letter('y')), Some(Wish::Ask(request)));
    }
    assert_eq!(model.press(Key::Letter('q')), Some(Wish::Quit));
}

/// The list may change between the question and the answer: what was asked about is what is done.
#[test]
fn a_reload_does_not_move_the_choice_to_another_instance() {
    let mut model = model(&[("A", "BACKUP"), ("B", "MASTER")]);
    model.press(Key::Down);
    model.press(Key::Letter('d'));
    model.learn(picture(&[instance("B", "MASTER"), instance("C", "BACKUP")]));
    let wish = model.press(Key::Letter('y'));
    assert_eq!(wish, Some(Wish::Ask(Request::Drain { instance: Some("B".into()), keep: false })));
    assert_eq!(model.instance().unwrap().name, "B");
    model.learn(picture(&[]));
    assert_eq!(model.instance().map(|i| i.name.clone()), None);
    assert_eq!(model.press(Key::Letter('d')), None);
    assert!(lines(&model, 80, 24)[23].contains("there is no instance"));
}

#[test]
fn an_explanation_opens_and_closes_and_a_lost_daemon_is_said_so() {
    let mut model = model(&[("VI_1", "MASTER")]);
    model.press(Key::Letter('e'));
    assert!(lines(&model, 80, 24).join("\n").contains("priority  95 = 100 - 5"));
    model.press(Key::Escape);
    assert_eq!(model.mode, Mode::Looking);
    model.learn(News::Lost("no daemon answers at /x".into()));
    let screen = lines(&model, 80, 24);
    assert!(screen[0].starts_with("Waiting for the daemon to come back: no daemon answers at /x"), "{screen:?}");
    // What was last known stays.
    assert!(screen.join("\n").contains("VI_1"));
    model.learn(picture(&[instance("VI_1", "BACKUP")]));
    assert!(!lines(&model, 80, 24)[0].contains("Waiting"));
}

#[test]
fn an_explanation_can_be_read_to_its_end_on_a_narrow_terminal() {
    let mut model = model(&[("VI_1", "MASTER")]);
    model.columns = 20;
    let all = model.explanation(&About::Named("VI_1".into()));
    assert!(all.iter().all(|line| line.chars().count() <= 20), "{all:?}");
    model.columns = 1000;
    assert!(model.explanation(&About::Named("VI_1".into())).len() < all.len());
    let words = |lines: &[String]| lines.join(" ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&model.explanation(&About::Named("VI_1".into()))), words(&all));
    model.columns = 20;
    model.press(Key::Letter('e'));
    for _ in 0..all.len() * 2 {
        model.press(Key::Down);
    }
    let screen = lines(&model, 20, 6);
    assert_eq!(screen[1], all[all.len() - 1].trim_end(), "{screen:?}");
}

#[test]
fn the_log_is_bounded_and_stays_before_the_eyes_of_who_reads_it() {
    let mut model = model(&[("VI_1", "MASTER")]);
    model.learn(News::Past((1..=1500).map(|at| (at, format!("event {at}."))).collect()));
    assert_eq!(model.log.len(), 1000);
    // Heard again after the daemon came back: nothing stands twice.
    model.learn(News::Past((1490..=1501).map(|at| (at, format!("event {at}."))).collect()));
    assert_eq!(model.log.back().unwrap().1, "event 1501.");
    model.press(Key::PageUp);
    let before = lines(&model, 80, 24);
    model.learn(News::Happened(1502, "event 1502.".into()));
    assert_eq!(before.last(), lines(&model, 80, 24).last());
    assert!(before[22].contains("event 1496.") && lines(&model, 80, 24)[22].contains("event 1496."), "{before:?}");
}

#[test]
fn groups_servers_and_sessions_are_explained_too() {
    let mut screen = model(&[("VI_1", "MASTER")]);
    screen.press(Key::Letter('s'));
    assert_eq!(screen.mode, Mode::Explaining(About::Servers, 0));
    let text = lines(&screen, 80, 24).join("\n");
    assert!(text.contains("10.0.0.10:80 has its quorum"), "{text}");
    screen.press(Key::Escape);
    screen.press(Key::Letter('b'));
    let text = lines(&screen, 80, 24).join("\n");
    assert!(text.contains("there is no BFD session"), "the engine tracks none: {text}");
    screen.press(Key::Escape);
    screen.press(Key::Letter('g'));
    assert_eq!(screen.mode, Mode::Looking);
    assert!(lines(&screen, 80, 24).join("\n").contains("is in no sync group"));
}

#[test]
fn what_the_daemon_does_not_know_is_not_called_missing() {
    let mut of = instance("VI_1", "MASTER");
    of["addresses"][0]["on"] = Value::Null;
    of["since"] = json!(0);
    let mut model = Model::new("/run/vipd/control.sock".into(), false);
    model.learn(picture(&[of]));
    let text = lines(&model, 80, 24).join("\n");
    assert!(
        text.contains("10.0.0.10 unknown") && !text.contains("missing") && !text.contains("not on this server"),
        "{text}"
    );
}
