//! Marks that nftables gives (`nftables_ipvs`): a group of addresses is one service of the kernel, by a mark, instead of one
//! for each address.
//!
//! A mark belongs to a group and a protocol and stays theirs while the process lives, so that a reload moves nothing.

use super::io::{Action, MarkElement, Marks};
use crate::spec::balance::{GroupEntry, LvsSpec, Protocol, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which mark belongs to whom.
#[derive(Clone, Debug, Default)]
pub(super) struct MarkBook {
    given: BTreeMap<(Box<str>, Protocol), u32>,
    wished: Option<Arc<Marks>>,
}

impl MarkBook {
    /// The mark of a group's protocol: the one it has, else the first free one from `start` on. None is left after 2³²−1.
    pub(super) fn of(&mut self, group: &str, protocol: Protocol, start: u32) -> Option<u32> {
        if let Some(mark) = self.given.get(&(group.into(), protocol)) {
            return Some(*mark);
        }
        let used: BTreeSet<u32> = self.given.values().copied().collect();
        let mark = (start..=u32::MAX).find(|mark| !used.contains(mark))?;
        self.given.insert((group.into(), protocol), mark);
        Some(mark)
    }

    /// Takes over what an earlier life gave.
    pub(super) fn inherit(&mut self, given: impl Iterator<Item = (Box<str>, Protocol, u32)>) {
        self.given.extend(given.map(|(group, protocol, mark)| ((group, protocol), mark)));
    }

    pub(super) fn given(&self) -> impl Iterator<Item = (&str, Protocol, u32)> {
        self.given.iter().map(|((group, protocol), mark)| (&**group, *protocol, *mark))
    }

    /// The wish for the table as `spec` needs it, if that is another one than before.
    pub(super) fn wish(&mut self, spec: &LvsSpec) -> Option<Action> {
        let wanted = self.wanted(spec).map(Arc::new);
        if wanted == self.wished {
            return None;
        }
        self.wished.clone_from(&wanted);
        Some(Action::Marks(wanted))
    }

    /// The wish that there be no table, if there is one.
    pub(super) fn withdraw(&mut self) -> Option<Action> {
        self.wished.take().map(|_| Action::Marks(None))
    }

    fn wanted(&self, spec: &LvsSpec) -> Option<Marks> {
        let settings = spec.settings.marks.clone()?;
        let mut done = BTreeSet::new();
        let mut elements = Vec::new();
        for service in &spec.services {
            let (Target::Group(name), Some(protocol)) = (&service.target, service.protocol) else { continue };
            let Some(mark) = self.given.get(&(name.clone(), protocol)) else { continue };
            let Some(group) = spec.groups.iter().find(|group| group.name == *name) else { continue };
            if !done.insert((name, protocol)) {
                continue;
            }
            elements.extend(group.entries.iter().filter_map(|entry| match entry {
                GroupEntry::Range { first, last, port } => {
                    Some(MarkElement { protocol, first: *first, last: *last, port: *port, mark: *mark })
                }
                GroupEntry::Mark { .. } => None,
            }));
        }
        (!elements.is_empty()).then_some(Marks { settings, elements })
    }
}
