//! What the client-side subcommands do. They stand on [`crate::client`] and know nothing of the server's rooms.

mod argument;
pub mod check;
pub mod credentials;
pub mod load;
