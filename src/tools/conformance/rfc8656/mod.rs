//! RFC 8656: Traversal Using Relays around NAT.

mod allocate;
mod channel;
mod data;
mod families;
mod permission;
mod refresh;

use super::case::Case;

pub(super) const ALL: &[&[Case]] = &[
    allocate::CASES,
    families::CASES,
    refresh::CASES,
    permission::CASES,
    data::CASES,
    channel::CASES,
];
