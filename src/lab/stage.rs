//! Builds the lab for a plan: namespaces, cables, a machine a server, the client. [`Rehearsal`] plays on it.

use super::Audience;
use super::Trouble;
use super::backends::Ailing;
use super::backends::machine::{RealServers, forwards};
use super::balance::Known;
use super::client;
use super::expect::Damage;
use super::net::Net;
use super::plan::{Checks, Plan};
use super::rehearsal::Rehearsal;
use super::server::Machine;
use super::web;
use super::words::NodePlan;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a lab is made of.
pub struct Stage {
    pub plan: Plan,
    /// The program under rehearsal.
    pub daemon: PathBuf,
    /// The program whose `lab-node` and `lab-web` are the insides of a server: vipctl.
    pub vipctl: PathBuf,
    /// Directory for each server's log.
    pub logs: Option<PathBuf>,
}

impl Stage {
    /// Makes the namespaces, the cables, the agents and the client. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Not root, or the kernel refuses.
    pub async fn build(self, audience: Box<dyn Audience>) -> Result<Rehearsal, Trouble> {
        let Stage { plan, daemon, vipctl, logs } = self;
        let (tell, facts) = tokio::sync::mpsc::unbounded_channel();
        let switch = Net::new().await?;
        let mut bridges = Vec::new();
        for number in 0..plan.segments.len() {
            bridges.push(switch.bridge(&format!("br{number}")).await?);
        }
        let mut machines = Vec::new();
        let mut webs = Vec::new();
        for (at, server) in plan.servers.iter().enumerate() {
            let net = Net::new().await?;
            if plan.checks == Checks::Balanced {
                forwards(&net)?;
            }
            let mut cables = Vec::new();
            for (segment, own) in &plan.ports[at] {
                let port = format!("p{at}s{segment}");
                cables.push(switch.plug(bridges[*segment], &net, &plan.segments[*segment], own, &port).await?);
            }
            let directory = server.config.parent().map(Path::to_path_buf).unwrap_or_default();
            let site = web::site_beside(&directory).and_then(|path| std::fs::read_to_string(path).ok());
            let pages = directory.join("www");
            let places = site.as_deref().and_then(web::root_of).filter(|_| pages.is_dir()).map(|root| (pages, root));
            webs.push(web::plan(&server.name, site.as_deref(), services(&directory)));
            let node = NodePlan {
                name: server.name.clone(),
                netns: net.path(),
                config: server.config.clone(),
                beside: beside(&directory),
                places: places.into_iter().collect(),
                inside: false,
            };
            let log = logs.as_ref().map(|directory| directory.join(format!("{}.log", server.name)));
            machines.push(Machine::start(at, &vipctl, net, cables, &node, log, tell.clone())?);
        }
        let mut gateways = Vec::new();
        for (number, gateway) in plan.gateways.iter().enumerate() {
            let net = Net::new().await?;
            let port = format!("pg{number}");
            let addresses = [gateway.address];
            let cable = switch.plug(bridges[gateway.segment], &net, &plan.segments[gateway.segment], &addresses, &port);
            let cables = vec![cable.await?];
            // Any file will do: what it is to run is written into it once it stands.
            let config = plan.servers.first().map(|server| server.config.clone()).unwrap_or_default();
            let (beside, places) = (Vec::new(), Vec::new());
            let node = NodePlan { name: gateway.name(), netns: net.path(), config, beside, places, inside: false };
            let log = logs.as_ref().map(|directory| directory.join(format!("{}.log", gateway.name())));
            let at = plan.servers.len() + number;
            gateways.push(Machine::start(at, &vipctl, net, cables, &node, log, tell.clone())?);
        }
        let client = Net::new().await?;
        for (segment, own) in &plan.client {
            let port = format!("pcs{segment}");
            switch.plug(bridges[*segment], &client, &format!("client{segment}"), own, &port).await?;
        }
        let real = match plan.checks {
            Checks::Left => RealServers::nobody(),
            _ => RealServers::build(&plan, &switch, &bridges, &machines, &gateways).await?,
        };
        client::start(client.door()?, plan.target, plan.asked.clone(), tell)?;
        let known = vec![Known::default(); plan.servers.len()];
        let (answers, damage, changed) = (Vec::new(), Damage::default(), std::time::Instant::now());
        Ok(Rehearsal {
            plan,
            machines,
            gateways,
            switch,
            client,
            facts,
            audience,
            answers,
            daemon,
            webs,
            damage,
            changed,
            real,
            ailing: Ailing::new(),
            known,
            unheard: BTreeSet::new(),
            served: Vec::new(),
        })
    }
}

/// The program of an example that starts a server's services in the lab, instead of a web server; called with the
/// server's name, it stays while they run.
fn services(directory: &Path) -> Option<PathBuf> {
    let inside = PathBuf::from("/etc/keepalived/lab-services");
    beside(directory).iter().any(|d| d.join("lab-services").is_file()).then_some(inside)
}

/// Where the files of a server's /etc/keepalived are: what all servers have in `common`, then its own.
fn beside(directory: &Path) -> Vec<PathBuf> {
    vec![directory.with_file_name("common"), directory.join("common"), directory.to_path_buf()]
}
