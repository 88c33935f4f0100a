//! The kernel thread: what is claimed goes into Linux, what Linux does comes out, what others remove is put back.
//!
//! One OS thread with its own current-thread runtime, because a netlink request is carried out inside the caller's
//! sendmsg under RTNL: claiming 2,000 addresses would stall the thread that asks. It resolves interface names itself, from the
//! [`Spec`] and from its own picture of the links.

pub mod address;
mod announcing;
pub(in crate::kernel) mod answers;
mod batch;
pub(in crate::kernel) mod channel;
mod claims;
mod configure;
mod events;
mod linkbeat;
mod links;
mod repeats;
mod resolve;
mod retries;
pub mod route;
pub mod rule;
mod sweep;
mod thread;
pub(in crate::kernel) mod virtual_link;
mod watch;

use crate::kernel::socket::{Opening, SocketSettings};
use crate::kernel::threads;
use crate::spec::{Claim, IfName, InstanceId, NetlinkBuffers, Spec};
use crate::vrrp::io::{Announce, LinkFact, Outcome};
use socket2::Socket;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the kernel thread is asked to do, in order.
#[derive(Clone, Debug)]
pub enum ToKernel {
    /// A new configuration: makes VMACs and ipvlans, sets sysctls, puts statics there. `carried` says which instance of
    /// the last Spec is which of this one, (old, new); the claims of all others are withdrawn. The first one removes
    /// addresses, routes and rules that an earlier run left behind, unless something is carried from that run. Answered
    /// by [`FromKernel::Configured`].
    Configure {
        spec: Arc<Spec>,
        carried: Vec<(InstanceId, InstanceId)>,
    },
    /// Every instance that a [`ToKernel::Configure`] left out has said goodbye: their virtual links, by which they said it, go.
    Tidy,
    /// Open these sockets; each is answered by [`FromKernel::Opened`].
    Open {
        sockets: Vec<Opening>,
        settings: SocketSettings,
    },
    /// Drop these sockets here, where it may take its time.
    Close(Vec<Arc<Socket>>),
    /// Have exactly this for the instance. Answered by [`FromKernel::Applied`].
    Own(InstanceId, Arc<Claim>),
    Disown(InstanceId),
    /// One round of gratuitous ARPs or neighbour advertisements, sent between the batches of a claim.
    Announce(Announce),
    /// One announcement of an address that nobody claims, from the interface that has it.
    AnnounceSource {
        ifindex: u32,
        address: IpAddr,
    },
    /// Withdraws statics; with `release` also claims and virtual links. Restores sysctls, answers [`FromKernel::Stopped`]
    /// and ends the thread. If every sender of orders is dropped instead, the thread ends and leaves all as it is.
    Stop {
        release: bool,
    },
}

/// What the kernel thread says.
#[derive(Clone, Debug)]
pub enum FromKernel {
    /// First of all a [`LinkFact::Dump`]; another one whenever messages were lost.
    Link(LinkFact),
    Applied {
        instance: InstanceId,
        outcome: Outcome,
    },
    /// What came of a [`ToKernel::Open`].
    Opened {
        opening: Opening,
        outcome: Result<Arc<Socket>, Box<str>>,
    },
    /// A [`ToKernel::Configure`] is done. `links`: the name of the VMAC or ipvlan of each instance that has one, and `spec`
    /// the Spec with these names in it; a fresh [`LinkFact::Dump`] with them has gone before.
    Configured {
        spec: Arc<Spec>,
        links: Vec<(InstanceId, IfName)>,
        troubles: Vec<Trouble>,
    },
    /// Something that concerns the operator and nobody's state.
    Trouble(Trouble),
    Stopped,
}

/// A failure, told in words; whose it is, if it is an instance's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    pub instance: Option<InstanceId>,
    pub text: Box<str>,
}

/// What the kernel thread needs to know to start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub buffers: NetlinkBuffers,
    /// Name of the OS thread, at most 15 bytes; empty is "kernel".
    pub thread_name: Box<str>,
    /// What an earlier run left behind is not removed at the first configuration.
    pub keep_leftovers: bool,
    /// Where it stands which settings under /proc/sys/net were changed; `None` keeps no record.
    pub sysctl_record: Option<std::path::PathBuf>,
}

/// The owner's end of the kernel thread.
#[derive(Debug)]
pub struct Kernel {
    orders: mpsc::UnboundedSender<ToKernel>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// An error of the kernel, with its own words where it gives some.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("netlink: {0}")]
    Io(#[from] std::io::Error),
    /// The kernel refused a request: errno, and its extended acknowledgement.
    #[error("{}{}", std::io::Error::from_raw_os_error(*.errno), if .words.is_empty() { String::new() } else { format!(" ({})", .words) })]
    Refused { errno: i32, words: Box<str> },
    #[error("netlink: no answer within the time limit")]
    Silent,
    #[error("netlink: messages were lost")]
    Overrun,
}

impl Kernel {
    /// Starts the thread in the network namespace of the caller.
    ///
    /// # Errors
    /// The netlink sockets cannot be opened, or the thread not started.
    pub fn start(settings: Settings) -> Result<(Kernel, mpsc::UnboundedReceiver<FromKernel>), NetlinkError> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (reports, outbox) = mpsc::unbounded_channel();
        let (started, answer) = std::sync::mpsc::channel();
        let name = if settings.thread_name.is_empty() { "kernel" } else { &settings.thread_name };
        let thread = threads::start(name.to_owned(), move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => return drop(started.send(Err(e.into()))),
            };
            runtime.block_on(async move {
                match thread::Thread::open(settings, inbox, reports) {
                    Ok(thread) => {
                        let _ = started.send(Ok(()));
                        thread.run().await;
                    }
                    Err(e) => drop(started.send(Err(e))),
                }
            });
        })?;
        answer.recv().unwrap_or(Err(NetlinkError::Silent))?;
        Ok((Kernel { orders, thread: Some(thread) }, outbox))
    }

    /// Never blocks; an order to a thread that has ended is dropped.
    pub fn order(&self, order: ToKernel) {
        let _ = self.orders.send(order);
    }

    /// A sender of orders for another thread.
    pub fn orders(&self) -> mpsc::UnboundedSender<ToKernel> {
        self.orders.clone()
    }

    /// Waits for the thread to end; send [`ToKernel::Stop`] first, or drop every sender of orders.
    pub fn join(self) {
        let Kernel { orders, thread } = self;
        drop(orders);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
