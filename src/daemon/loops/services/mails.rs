//! Mail on its way: a few connections at a time, and so many messages that wait for one.
//!
//! A mail server that does not answer must not take the descriptors that scripts need, nor may what waits for it grow
//! without end: when mail comes faster than it goes, the oldest that still waits is given up, as the newest says how
//! things are now.

use crate::observe::Tally;
use crate::observe::mail::{self, Message};
use std::collections::VecDeque;
use tokio::task::JoinSet;

/// Connections at once.
const AT_ONCE: usize = 8;
/// Messages that wait: one for each of 1,000 instances that change together.
const WAITING: usize = 1_024;

#[derive(Debug)]
pub(super) struct Mails {
    /// How they fare is counted there.
    tally: Tally,
    under_way: JoinSet<()>,
    waiting: VecDeque<Message>,
    given_up: u64,
}

impl Mails {
    pub(super) fn new(tally: Tally) -> Mails {
        Mails { tally, under_way: JoinSet::new(), waiting: VecDeque::new(), given_up: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty()
    }

    /// Sends it as soon as there is a connection for it. Must be called inside a runtime.
    pub(super) fn send(&mut self, message: Message) {
        self.waiting.push_back(message);
        if self.waiting.len() > WAITING {
            self.waiting.pop_front();
            if self.given_up == 0 {
                tracing::warn!(target: "vrrp", "Mail comes faster than the server takes it: the oldest is given up");
            }
            self.given_up += 1;
            self.tally.mailed(false);
        }
        self.start();
    }

    /// One message has been sent or given up. Cancel-safe; waits for ever when there is none.
    pub(super) async fn sent(&mut self) {
        if self.under_way.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.start();
        if self.waiting.is_empty() && self.given_up > 0 {
            tracing::warn!(target: "vrrp", "{} mails were given up", std::mem::take(&mut self.given_up));
        }
    }

    fn start(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(message) = self.waiting.pop_front()
        {
            let tally = self.tally.clone();
            self.under_way.spawn(async move {
                let sent = mail::send(&message).await;
                tally.mailed(sent.is_ok());
                if let Err(error) = sent {
                    tracing::warn!(target: "vrrp", "mail \"{}\" not sent: {error}", message.subject);
                }
            });
        }
    }
}
