//! A small client of HTTP/1.1: for whoever is told something (the webhook of events) and whoever is asked something
//! (the HTTP hook of the stores).
//!
//! # How it is driven
//! [`Url::parse`] reads where to, in words if it cannot. A [`Client`] is made of it once and keeps a few connections;
//! [`Client::send`] sends one [`Request`] and waits for the [`Answer`], on a tokio runtime.
//!
//! - `http://`, `https://` (TLS 1.2 or 1.3, HTTP/1.1) and a Unix socket (`http://unix:/run/app.sock:/path`).
//! - Every wait has an end: [`Limits::connect`] for the connection, [`Limits::request`] for all of it.
//! - An answer is read up to [`Limits::answer`] bytes, and one that is longer is an error.
//! - A request may arrive **twice**: a server may close a kept connection at the very moment at which the next request
//!   is on its way there, and then nobody can tell whether it was read. It is sent again, on a new connection, once.
//!
//! Not here: redirects (whoever is told a secret is named by the operator, not by an answer), proxies, cookies, HTTP/2,
//! compressed bodies, trying again.

mod client;
mod connect;
mod error;
mod signature;
mod url;

pub use client::{Answer, Client, Limits, Request};
pub use error::Error;
pub use hyper::body::Bytes;
pub use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use hyper::{Method, StatusCode};
pub use signature::{SIGNATURE, signature};
pub use url::{InvalidUrl, Url};
