//! The instances of an engine, with what was last shown of each: a question about thousands of them rebuilds only what has
//! been touched since the last one, and shares the rest with the answers before.
//!
//! An instance that is lent out to be changed counts as touched: there is no other way to one. What a view shows of the
//! surroundings (trackers, links, the wall clock) has the version of [`super::around::Surroundings`]; what ends by itself,
//! because time passes, has a time in the view's [`Shown::until`].

use super::instance::Instance;
use super::snapshot::InstanceView;
use crate::time::Time;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;

/// All instances, by their number. To be read it is a slice of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    all: Vec<Instance>,
    shown: RefCell<Vec<Shown>>,
}

/// A view, and what it holds for.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// `None` before it was asked for first.
    pub(super) view: Option<Arc<InstanceView>>,
    /// The instance has been lent out to be changed since the view was made. The view is not dropped then: that would cost
    /// time each time an advert is sent or heard.
    touched: bool,
    /// The version that the surroundings had.
    around: u64,
    /// It is true from the moment at which it was made (`from`) up to `until`, exclusive.
    pub(super) from: Time,
    pub(super) until: Time,
}

impl Shown {
    /// The view, if it is true at `now` with surroundings of that version.
    pub(super) fn at(&self, now: Time, around: u64) -> Option<&Arc<InstanceView>> {
        let holds = !self.touched && self.around == around && self.from <= now && now < self.until;
        self.view.as_ref().filter(|_| holds)
    }

    pub(super) fn renew(&mut self, view: Arc<InstanceView>, around: u64, from: Time, until: Time) {
        *self = Shown { view: Some(view), touched: false, around, from, until };
    }
}

impl Roster {
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Instance> {
        if let Some(shown) = self.shown.get_mut().get_mut(index) {
            shown.touched = true;
        }
        self.all.get_mut(index)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        self.shown.get_mut().clear();
        self.all.iter_mut()
    }

    pub(super) fn push(&mut self, instance: Instance) {
        self.all.push(instance);
    }

    /// All of them, which go over to another Spec; nothing stays.
    pub(super) fn take(&mut self) -> Vec<Instance> {
        std::mem::take(self).all
    }

    /// Keeps none of the views.
    pub(super) fn forget_views(&self) {
        *self.shown.borrow_mut() = Vec::new();
    }

    /// A view of each, in order, from `show`, which is told the position, the instance and what was shown of it last.
    pub(super) fn show(
        &self,
        show: impl Fn(usize, &Instance, &mut Shown) -> Option<Arc<InstanceView>>,
    ) -> Vec<Arc<InstanceView>> {
        let mut shown = self.shown.borrow_mut();
        shown.resize_with(self.all.len(), Shown::default);
        self.all
            .iter()
            .zip(&mut *shown)
            .enumerate()
            .filter_map(|(index, (one, shown))| show(index, one, shown))
            .collect()
    }
}

impl FromIterator<Instance> for Roster {
    fn from_iter<T: IntoIterator<Item = Instance>>(instances: T) -> Roster {
        Roster { all: instances.into_iter().collect(), shown: RefCell::default() }
    }
}

impl<'a> IntoIterator for &'a Roster {
    type Item = &'a Instance;
    type IntoIter = std::slice::Iter<'a, Instance>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl Deref for Roster {
    type Target = [Instance];

    fn deref(&self) -> &[Instance] {
        &self.all
    }
}
