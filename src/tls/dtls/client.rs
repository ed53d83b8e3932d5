//! The client's end of associations, for tools: the server has no use for it.

use std::collections::VecDeque;

use openssl::error::ErrorStack;
use openssl::ssl::{
    ErrorCode, Ssl, SslContextBuilder, SslMethod, SslStream, SslVerifyMode, SslVersion,
};

use super::acceptor::MTU;
use super::handshake::Pipe;
use super::keys::PLAIN_MAX;

/// A client of DTLS 1.2 for tools that look at one server: OpenSSL leads all of it, and repeats by the wall clock.
///
/// Any certificate is accepted; what was shown is there to be judged ([`Client::certificates`]).
pub struct Client {
    stream: SslStream<Pipe>,
}

impl Client {
    /// A client for the server that is called `host`.
    ///
    /// # Errors
    /// What OpenSSL says.
    pub fn new(host: &str) -> Result<Self, String> {
        Self::session(host).map(|stream| Self { stream }).map_err(|errors| errors.to_string())
    }

    fn session(host: &str) -> Result<SslStream<Pipe>, ErrorStack> {
        let mut context = SslContextBuilder::new(SslMethod::dtls_client())?;
        context.set_verify(SslVerifyMode::NONE);
        context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        let mut ssl = Ssl::new(&context.build())?;
        // RFC 6066 §3: an address is no name to ask for.
        if host.parse::<std::net::IpAddr>().is_err() {
            ssl.set_hostname(host)?;
        }
        ssl.set_mtu(MTU)?;
        ssl.set_connect_state();
        SslStream::new(ssl, Pipe { input: VecDeque::new(), output: Vec::new() })
    }

    /// Goes on with the handshake; whether it is complete. To be called again now and then when nothing comes.
    ///
    /// # Errors
    /// Why there will be no association, in OpenSSL's words.
    pub fn advance(&mut self) -> Result<bool, String> {
        match self.stream.do_handshake() {
            Ok(()) => Ok(true),
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes a datagram that has come.
    pub fn receive(&mut self, datagram: &[u8]) {
        self.stream.get_mut().input.push_back(datagram.to_vec());
    }

    /// The datagrams that are to be sent.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.stream.get_mut().output)
    }

    /// Seals a message.
    ///
    /// # Errors
    /// There is no association (any more).
    pub fn send(&mut self, message: &[u8]) -> Result<(), String> {
        self.stream.ssl_write(message).map(drop).map_err(|error| error.to_string())
    }

    /// Opens the next message of what has come; `None` when there is none.
    ///
    /// # Errors
    /// The association has ended.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut message = vec![0; PLAIN_MAX];
        match self.stream.ssl_read(&mut message) {
            Ok(length) => {
                message.truncate(length);
                Ok(Some(message))
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The certificates that the server has shown, its own first, each in DER.
    pub fn certificates(&self) -> Vec<Vec<u8>> {
        let chain = self.stream.ssl().peer_cert_chain();
        chain.into_iter().flatten().filter_map(|one| one.to_der().ok()).collect()
    }
}
