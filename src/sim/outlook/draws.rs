//! Takeovers that a millisecond decides: of several backups whose patience ends at the same moment one is first, and nobody can
//! say which. Whoever won hears the server that fails a little later in another play; if somebody else wins then, it is a draw.

use super::failure::Failure;
use super::play::{self, Standings};
use super::{BUDGET, Change, Player, Router, masters, view};
use crate::config::pair::Member;
use crate::sim::lan::LAG;
use crate::vrrp::io::Role;
use std::collections::BTreeSet;

impl<'a> Player<'_, 'a> {
    /// The changes, each with all that it may as well come to. As long as there is budget for it.
    pub(super) fn with_draws(&mut self, server: usize, failure: &Failure, mut changes: Vec<Change>) -> Vec<Change> {
        let close = |change: &Change| self.routers.get(change.router).is_some_and(|r| self.is_close(r, server));
        if !changes.iter().any(close) {
            return changes;
        }
        let mut tried: Vec<BTreeSet<usize>> = vec![BTreeSet::new()];
        let mut next: Vec<BTreeSet<usize>> = self.winners(&changes).map(|winner| BTreeSet::from([winner])).collect();
        while let Some(late) = next.pop() {
            if tried.contains(&late) || self.spent + self.cost(failure) > BUDGET {
                continue;
            }
            self.spent += self.cost(failure);
            let Ok(course) = play::play_with(self.specs, self.calm, server, &[failure], &late) else { continue };
            for change in &mut changes {
                let Some(router) = self.routers.get(change.router) else { continue };
                let other = masters(&router.members, &course.after);
                if other == change.after || change.or.contains(&other) {
                    continue;
                }
                let further = other.iter().filter(|winner| !router.masters.contains(winner));
                next.extend(further.map(|winner| late.iter().copied().chain([*winner]).collect()));
                change.or.push(other);
            }
            tried.push(late);
        }
        changes.iter_mut().for_each(|change| change.or.sort());
        changes
    }

    /// Servers that took something over.
    fn winners(&self, changes: &[Change]) -> impl Iterator<Item = usize> {
        let new = |change: &Change| -> Vec<usize> {
            let before = self.routers.get(change.router).map(|router| &router.masters);
            change.after.iter().copied().filter(|server| before.is_none_or(|b| !b.contains(server))).collect()
        };
        changes.iter().flat_map(new).collect::<BTreeSet<_>>().into_iter()
    }

    /// Are there two others that wait about as long? Members of sync groups wait for each other as well.
    fn is_close(&self, router: &Router<'a>, server: usize) -> bool {
        let calm: &Standings = &self.calm.standings;
        let waits = |m: &&Member<'a>| m.server != server && view(m, calm).is_some_and(|v| v.state == Role::Backup);
        let waiting: Vec<&Member<'a>> = router.members.iter().filter(waits).collect();
        let close = |a: &Member<'a>, b: &Member<'a>| {
            let (Some(x), Some(y)) = (view(a, calm), view(b, calm)) else { return false };
            let apart = x.master_down.max(y.master_down).less(x.master_down.min(y.master_down));
            apart <= LAG || x.effective_priority == y.effective_priority || a.instance.group.is_some()
        };
        (1..).zip(&waiting).any(|(next, a)| waiting.iter().skip(next).any(|b| close(a, b)))
    }
}
