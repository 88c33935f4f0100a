//! `vipctl watch` on a terminal: a whole screen of what a daemon does, with keys to steer it.
//!
//! Three parts: [`model`] is what is shown and what a key means, without terminal and daemon; [`draw`] lays it out; this
//! file carries news from the daemon to the model and wishes from the model to the daemon. Everything that may wait for the
//! daemon has a thread of its own, so the screen answers to keys whatever the daemon does.

mod draw;
mod model;
#[cfg(test)]
mod tests;

use super::client::{Client, Heard, read, unexpected};
use super::ending::{self, died_of};
use super::paint::Paint;
use super::{Outcome, Trouble};
use crate::daemon::doors::socket::{Reply, Request};
use crate::kernel::clock::wall;
use model::{Key, Model, News, Picture, Wish};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Between two looks at the daemon.
const LOOK: Duration = Duration::from_secs(1);
/// From a signal that ends the screen on, until a second one ends the program as it stands.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks at the keyboard and at the news.
const TURN: Duration = Duration::from_millis(100);

/// Shows the daemon at `path` until the user has enough. After SIGTERM, SIGHUP, SIGINT or SIGQUIT the terminal is as it was
/// before as well; the exit code is then 128 and the number of the signal, as a shell has it.
///
/// # Errors
/// No daemon answers when it begins, or the terminal cannot be used.
pub fn run(path: &Path) -> Outcome {
    Client::open(path)?.ask(&Request::Hello)?;
    let ending = ending::signals();
    // Threads inherit it: none of them is ended by a signal while the terminal is raw.
    let before = ending.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(std::io::Error::from)?;
    let (end, ended) = channel();
    std::thread::spawn(move || wait(ending, &end));
    let outcome = on_terminal(path, &ended);
    let _ = before.thread_set_mask();
    outcome
}

/// Hands on the first signal, then leaves the next one to the kernel: this thread does not block it and lives on.
fn wait(ending: SigSet, end: &Sender<Signal>) {
    let Ok(signal) = ending.wait() else { return };
    let _ = end.send(signal);
    // The screen may wait for a terminal that takes nothing.
    std::thread::sleep(GRACE);
    let _ = ending.thread_unblock();
    loop {
        std::thread::park();
    }
}

fn on_terminal(path: &Path, ended: &Receiver<Signal>) -> Outcome {
    let (tell, news) = channel();
    for work in [look, listen] {
        let (path, tell) = (path.to_path_buf(), tell.clone());
        std::thread::spawn(move || work(&path, &tell));
    }
    let mut model = Model::new(path.display().to_string(), Paint::stdout().on());
    let mut terminal = ratatui::try_init().map_err(|e| {
        // It may be raw already.
        ratatui::restore();
        Trouble::new(format!("the terminal cannot be used: {e}"))
    })?;
    let shown = show(&mut terminal, &mut model, &news, &tell, ended, path);
    ratatui::restore();
    match shown {
        Ok(None) => Ok(ExitCode::SUCCESS),
        Ok(Some(signal)) => Ok(died_of(signal)),
        // A terminal that hangs up fails, and says so with a signal too.
        Err(e) => ended.try_recv().map(died_of).map_err(|_| e.into()),
    }
}

/// Shows the model until a key or a signal ends it; answers with the signal.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    model: &mut Model,
    news: &Receiver<News>,
    tell: &Sender<News>,
    ended: &Receiver<Signal>,
    path: &Path,
) -> std::io::Result<Option<Signal>> {
    loop {
        if let Ok(signal) = ended.try_recv() {
            return Ok(Some(signal));
        }
        while let Ok(new) = news.try_recv() {
            model.learn(new);
        }
        model.columns = terminal.size()?.width;
        model.now = wall().unix_micros;
        terminal.draw(|frame| draw::all(frame, model, model.now))?;
        if !event::poll(TURN)? {
            continue;
        }
        let Event::Key(pressed) = event::read()? else { continue };
        if pressed.kind == KeyEventKind::Release {
            continue;
        }
        let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
        let key = match pressed.code {
            KeyCode::Char('c') if control => return Ok(None),
            KeyCode::Char(c) => Key::Letter(c),
            KeyCode::Up => Key::Up,
            KeyCode::Down => Key::Down,
            KeyCode::PageUp => Key::PageUp,
            KeyCode::PageDown => Key::PageDown,
            KeyCode::Enter => Key::Enter,
            KeyCode::Esc => Key::Escape,
            _ => continue,
        };
        match model.press(key) {
            Some(Wish::Quit) => return Ok(None),
            Some(Wish::Ask(request)) => {
                let (path, tell) = (path.to_path_buf(), tell.clone());
                std::thread::spawn(move || drop(tell.send(News::Said(ask(&path, &request)))));
            }
            None => {}
        }
    }
}

/// What the daemon says to a request, as one line.
fn ask(path: &Path, request: &Request) -> String {
    match Client::open(path).and_then(|mut client| client.ask(request)) {
        Ok(Reply::Done { message }) if message.is_empty() => "done".into(),
        Ok(Reply::Done { message }) => message,
        Ok(other) => unexpected(&other).to_string(),
        Err(trouble) => trouble.to_string(),
    }
}

/// Looks again and again; ends with the screen.
fn look(path: &Path, tell: &Sender<News>) {
    loop {
        let new = match picture(path) {
            Ok(picture) => News::Picture(Box::new(picture)),
            Err(trouble) => News::Lost(trouble.what),
        };
        if tell.send(new).is_err() {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn picture(path: &Path) -> Result<Picture, Trouble> {
    let mut client = Client::open(path)?;
    let (_, snapshot) = client.status()?;
    // An older daemon may not know of these.
    let servers = match client.ask(&Request::Servers) {
        Ok(Reply::Servers { servers }) => servers,
        _ => serde_json::Value::Null,
    };
    let sessions = match client.ask(&Request::Bfd { session: None }) {
        Ok(Reply::Bfd { sessions, .. }) => sessions,
        _ => serde_json::Value::Null,
    };
    Ok(Picture { snapshot, servers, sessions })
}

/// Hands on what happens, and at the beginning what has happened lately; over every restart of the daemon.
fn listen(path: &Path, tell: &Sender<News>) {
    loop {
        if let Err(Ended) = follow(path, tell) {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// The screen has gone.
struct Ended;

fn follow(path: &Path, tell: &Sender<News>) -> Result<(), Ended> {
    let send = |new| tell.send(new).map_err(|_| Ended);
    let Ok(mut client) = Client::open(path) else { return Ok(()) };
    if let Ok(Reply::History { moments }) = client.ask(&Request::History { instance: None }) {
        let past = moments.into_iter().map(|moment| (moment.unix_micros, sentence(&moment.event))).collect();
        send(News::Past(past))?;
    }
    if client.send(&Request::Watch).is_err() {
        return Ok(());
    }
    loop {
        match client.listen() {
            Ok(Heard::Reply(Reply::Event { unix_micros, event })) => {
                send(News::Happened(unix_micros, sentence(&event)))?;
            }
            Ok(Heard::Reply(Reply::Status { status })) => {
                // Where things stand is looked at anyway; that it can be read is all that is asked here.
                if read(&status).is_err() {
                    return Ok(());
                }
            }
            Ok(Heard::Silence) => {}
            Ok(Heard::Reply(_) | Heard::Gone) | Err(_) => return Ok(()),
        }
    }
}

fn sentence(event: &serde_json::Value) -> String {
    event["text"].as_str().map_or_else(|| event.to_string(), str::to_owned)
}
