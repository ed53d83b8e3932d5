//! What browsers are served over HTTP: the page.
//!
//! [`page`] is an axum `Router`, served on whatever listener there is. It knows neither sockets nor the configuration.

mod page;

pub use page::page;
