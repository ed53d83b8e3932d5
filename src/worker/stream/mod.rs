//! What a connection goes through before it speaks TURN, a layer a file.

mod accept;
pub mod first;
mod http;
mod opening;
pub mod proxy;
mod reading;
pub(super) mod tools;
mod unfit;
pub(super) mod wire;

pub(super) use accept::Acceptor;
pub(super) use reading::STRANGER_LIMIT;
pub(super) use unfit::Told;
pub use unfit::Unfit;
