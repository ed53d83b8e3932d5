//! What the client-side subcommands do. They stand on [`crate::client`] and know nothing of the server's rooms.

pub mod admin;
mod argument;
pub mod check;
pub mod conformance;
pub mod credentials;
pub mod explain;
pub mod inventory;
pub mod load;
pub mod nat;
pub mod users;
