//! Credentials over HTTP.

use std::fmt;

use super::Page;
use crate::web::{Refused, Shape, Stats};

impl Page<'_, '_> {
    pub(super) fn web(&mut self, stats: &Stats) -> fmt::Result {
        let given = Shape::ALL.map(|shape| ([("shape", shape.label())], stats.given(shape)));
        self.counts(
            "web_credentials",
            "Credentials given over HTTP, by the request's shape",
            given,
        )?;
        let refused = Refused::ALL.map(|why| ([("cause", why.label())], stats.refused(why)));
        self.counts("web_refusals", "Requests over HTTP that were not granted", refused)
    }
}
