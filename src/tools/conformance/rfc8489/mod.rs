//! RFC 8489: Session Traversal Utilities for NAT.

mod algorithms;
mod authentication;
mod binding;
mod challenge;
mod format;
mod noise;
mod stream;

pub(super) use binding::needed;

use super::case::Case;

pub(super) const ALL: &[&[Case]] = &[
    binding::CASES,
    format::CASES,
    noise::CASES,
    stream::CASES,
    challenge::CASES,
    authentication::CASES,
    algorithms::CASES,
];
