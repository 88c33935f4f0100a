//! One server of the lab, from the outside: its agent process, and what is known of it.

use super::Trouble;
use super::net::{Cable, Net};
use super::rehearsal::Fact;
use super::words::{NodePlan, Order, Who, Word};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::UnboundedSender;

/// Lines of the log that are kept for the case that something goes wrong.
const KEPT: usize = 30;

/// A server of the lab: namespaces, files and processes.
#[derive(Debug)]
pub struct Machine {
    pub name: String,
    pub net: Net,
    pub cables: Vec<Cable>,
    agent: Child,
    orders: ChildStdin,
    /// States by instance, as the daemon's log tells them.
    pub states: BTreeMap<String, String>,
    pub addresses: BTreeSet<IpAddr>,
    pub running: BTreeSet<Who>,
    pub log: VecDeque<String>,
    file: Option<std::fs::File>,
}

impl Machine {
    /// Starts the agent of a server, `vipctl lab-node`; what it says comes as [`Fact::Said`] with the server's number.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(
        number: usize,
        vipctl: &Path,
        net: Net,
        cables: Vec<Cable>,
        plan: &NodePlan,
        log: Option<PathBuf>,
        tell: UnboundedSender<Fact>,
    ) -> Result<Machine, Trouble> {
        let text = serde_json::to_string(plan).map_err(|e| Trouble::new(e.to_string()))?;
        let mut agent = Command::new(vipctl)
            .arg0("vipctl")
            .arg("lab-node")
            .arg(text)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (Some(orders), Some(words)) = (agent.stdin.take(), agent.stdout.take()) else {
            return Err(Trouble::new("the agent has no pipes"));
        };
        tokio::spawn(async move {
            let mut lines = BufReader::new(words).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let word = serde_json::from_str::<Word>(&line).unwrap_or(Word::Trouble { text: line });
                if tell.send(Fact::Said(number, word)).is_err() {
                    return;
                }
            }
            let _ = tell.send(Fact::Gone(number));
        });
        let file = match log {
            Some(path) => Some(std::fs::File::create(path)?),
            None => None,
        };
        Ok(Machine {
            name: plan.name.clone(),
            net,
            cables,
            agent,
            orders,
            states: BTreeMap::new(),
            addresses: BTreeSet::new(),
            running: BTreeSet::new(),
            log: VecDeque::new(),
            file,
        })
    }

    /// # Errors
    /// The agent is gone.
    pub async fn order(&mut self, order: &Order) -> Result<(), Trouble> {
        let mut line = serde_json::to_vec(order).map_err(|e| Trouble::new(e.to_string()))?;
        line.push(b'\n');
        let gone = |e: std::io::Error| Trouble::new(format!("the agent of {} is gone: {e}", self.name));
        self.orders.write_all(&line).await.map_err(gone)?;
        self.orders.flush().await.map_err(gone)?;
        if let Order::Start { who, .. } = order {
            self.running.insert(*who);
        }
        Ok(())
    }

    /// # Errors
    /// The agent is gone.
    pub async fn signal(&mut self, who: Who, signal: nix::sys::signal::Signal) -> Result<(), Trouble> {
        self.order(&Order::Signal { who, signal: signal as i32 }).await
    }

    /// Pid of the agent's first half, for those who want to look inside.
    pub fn pid(&self) -> Option<u32> {
        self.agent.id()
    }

    /// Keeps a line of the log; the state of an instance, if it tells one.
    pub fn hear(&mut self, who: Who, text: &str) -> Option<(String, String)> {
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{text}");
        }
        if self.log.len() == KEPT {
            self.log.pop_front();
        }
        self.log.push_back(text.to_owned());
        if who != Who::Daemon {
            return None;
        }
        let (instance, state) = state_told(text)?;
        self.states.insert(instance.clone(), state.clone());
        Some((instance, state))
    }
}

/// `(VI_1) Entering MASTER STATE`, as keepalived and vipd say it.
fn state_told(line: &str) -> Option<(String, String)> {
    let (before, after) = line.split_once(") Entering ")?;
    let (_, instance) = before.rsplit_once('(')?;
    let state = after.strip_suffix(" STATE").or_else(|| after.split(" STATE").next())?;
    matches!(state, "MASTER" | "BACKUP" | "FAULT" | "INIT").then(|| (instance.to_owned(), state.to_owned()))
}
