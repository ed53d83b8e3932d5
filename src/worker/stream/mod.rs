//! What a connection goes through before it speaks TURN, a layer a file.

pub mod first;
pub mod proxy;
