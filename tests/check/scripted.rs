//! Servers that answer datagrams as a test wants it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use turnwire::auth::{Algorithm, Key};
use turnwire::stun::{Digest, Kind, Message, Method, Writer, attribute};

use super::{blames, turn};

/// What everybody says who has not been told a name.
pub(super) const CHALLENGE: Reply = Reply::Error(401, Some("test"), true);

/// Such a server; it ends with its value.
pub(super) struct Scripted {
    pub(super) place: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// A server that answers Binding requests, and everything else as `answer` does.
    pub(super) fn start(answer: impl Fn(&Message<'_>) -> Reply + Send + 'static) -> Self {
        Self::with(true, answer)
    }

    pub(super) fn with(
        answers_binding: bool,
        answer: impl Fn(&Message<'_>) -> Reply + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (place, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(request) = Message::parse(&buffer[..length]) else { continue };
                let reply = match request.kind().method {
                    Method::BINDING if answers_binding => Reply::Mapped,
                    Method::BINDING => Reply::Nothing,
                    _ => answer(&request),
                };
                if matches!(reply, Reply::Nothing) {
                    continue;
                }
                socket.send_to(&reply.write(&request, client), client).unwrap();
            }
        });
        Self { place, stop, thread: Some(thread) }
    }

    #[track_caller]
    pub(super) fn is_blamed(&self, fault: &str) {
        blames(&[&turn(self.place), "--secret", "north"], fault);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// What a scripted server says.
pub(super) enum Reply {
    Nothing,
    Mapped,
    /// An error with this code, and perhaps with a realm and a nonce.
    Error(u16, Option<&'static str>, bool),
    /// Another server, behind a 300.
    Elsewhere(SocketAddr),
    /// An allocation, signed with this password or not at all.
    Allocated(Option<String>),
}

impl Reply {
    fn write(&self, request: &Message<'_>, client: SocketAddr) -> Vec<u8> {
        let (mut out, method) = ([0; 512], request.kind().method);
        let kind = match self {
            Self::Mapped | Self::Allocated(_) | Self::Nothing => Kind::success(method),
            Self::Error(..) | Self::Elsewhere(_) => Kind::error(method),
        };
        let mut writer = Writer::new(&mut out, kind, &request.transaction_id());
        match self {
            Self::Nothing => {}
            Self::Mapped => writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client),
            Self::Error(code, realm, nonce) => {
                writer.error_code(*code, "as the test wants it");
                if let Some(realm) = realm {
                    writer.attribute(attribute::REALM, realm.as_bytes());
                }
                if *nonce {
                    writer.attribute(attribute::NONCE, b"n0nce");
                }
            }
            Self::Elsewhere(place) => {
                writer.error_code(300, "Try Alternate");
                writer.address(attribute::ALTERNATE_SERVER, *place);
            }
            Self::Allocated(password) => {
                writer.xor_address(attribute::XOR_RELAYED_ADDRESS, client);
                writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client);
                writer.number(attribute::LIFETIME, 600);
                if let (Some(password), Some(name)) = (password, username(request)) {
                    let key = Key::derive(Algorithm::Md5, &name, "test", password);
                    writer.integrity(key.mac(Digest::Sha1));
                }
            }
        }
        let length = writer.finish().unwrap();
        out[..length].to_vec()
    }
}

/// The name in a request.
pub(super) fn username(request: &Message<'_>) -> Option<String> {
    String::from_utf8(request.attribute(attribute::USERNAME)?.to_vec()).ok()
}
