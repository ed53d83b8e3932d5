//! The wire: STUN messages (RFC 8489), their TURN attributes (RFC 8656 §18), ChannelData
//! (RFC 8656 §12.4) and the framing of both on byte streams (RFC 8489 §6.2.2).
//!
//! Everything here borrows: [`Message`] is a checked view into the received bytes and [`Writer`]
//! fills a buffer of the caller's. Nothing is allocated and nothing is remembered between calls.
//!
//! ```
//! use turnwire::stun::{Class, Kind, Message, Method, TransactionId, Writer, attribute};
//!
//! let id = TransactionId::new([7; 12]);
//! let mut buffer = [0; 64];
//! let mut writer = Writer::new(&mut buffer, Kind::request(Method::BINDING), &id);
//! writer.attribute(attribute::SOFTWARE, b"example");
//! writer.fingerprint();
//! let length = writer.finish().unwrap();
//!
//! let message = Message::parse(&buffer[..length]).unwrap();
//! assert_eq!(message.kind(), Kind { class: Class::Request, method: Method::BINDING });
//! assert!(message.has_fingerprint());
//! assert_eq!(message.attributes().next(), Some((attribute::SOFTWARE, &b"example"[..])));
//! ```
//!
//! Not here: who may do what (`auth`, `turn`), and any socket.

mod address;
pub mod attribute;
mod channel;
mod error;
pub mod error_code;
mod integrity;
mod message;
mod stream;
mod writer;

pub use address::{Family, decode_address, decode_xor_address};
pub use channel::{CHANNEL_HEADER, ChannelData, ChannelNumber, write_channel_header};
pub use error::Error;
pub use integrity::{Digest, Keyed, Mac};
pub use message::{Class, HEADER, Kind, MAGIC_COOKIE, Message, Method, TransactionId};
pub use stream::{Frame, Framer, Hopeless};
pub use writer::{DATA_INDICATION_MAX, Writer, write_data_indication_header};
