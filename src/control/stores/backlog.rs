//! Users whom the stores are to be asked about again, in the order in which that became due.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::auth::UserName;

/// Each user once.
#[derive(Default)]
pub(super) struct Backlog {
    order: VecDeque<Arc<UserName>>,
    all: HashSet<Arc<UserName>>,
}

impl Backlog {
    /// One more, unless it is there already. It is no longer than the directory from which they come.
    pub(super) fn add(&mut self, user: Arc<UserName>) {
        if self.all.insert(Arc::clone(&user)) {
            self.order.push_back(user);
        }
    }

    /// The one that has waited longest.
    pub(super) fn next(&mut self) -> Option<Arc<UserName>> {
        let user = self.order.pop_front()?;
        self.all.remove(&user);
        Some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_comes_out_once_and_the_first_first() {
        let user = |name: &str| Arc::new(UserName { realm: "r".into(), name: name.into() });
        let mut backlog = Backlog::default();
        for name in ["a", "b", "a", "c", "b"] {
            backlog.add(user(name));
        }
        let mut names = Vec::new();
        while let Some(user) = backlog.next() {
            names.push(user.name.to_string());
            if names.len() == 1 {
                backlog.add(user);
            }
        }
        assert_eq!(names, ["a", "b", "c", "a"]);
    }
}
