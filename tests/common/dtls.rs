//! OpenSSL's DTLS client on a socket.

use std::io::{self, Read, Write};
use std::net::UdpSocket;

use openssl::ssl::{
    ErrorCode, ShutdownState, SslContextBuilder, SslMethod, SslOptions, SslStream, SslVerifyMode,
};

/// One association. It believes every certificate: chains are tested elsewhere.
pub(crate) struct Dtls(SslStream<Datagrams>);

/// A connected socket, which can hold back what is written, and lose datagrams.
struct Datagrams {
    socket: UdpSocket,
    held: Option<Vec<Vec<u8>>>,
    loses: Option<Loses>,
    sent: usize,
    received: usize,
}

/// Whether a datagram is lost, by its number in its direction.
pub(crate) type Loses = Box<dyn FnMut(Way, usize) -> bool + Send>;

/// Of a datagram, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

impl Dtls {
    /// Makes an association with the server that the socket is connected to.
    #[track_caller]
    pub(crate) fn connect(socket: UdpSocket) -> Self {
        let mut this = Self::new(socket);
        this.0.connect().expect("an association");
        this
    }

    /// The same, with a name of the server (SNI).
    #[track_caller]
    pub(crate) fn connect_to(socket: UdpSocket, name: &str) -> Self {
        let mut this = Self::asking(socket, Some(name));
        this.0.connect().expect("an association");
        this
    }

    /// Before its handshake.
    pub(crate) fn new(socket: UdpSocket) -> Self {
        Self::asking(socket, None)
    }

    fn asking(socket: UdpSocket, name: Option<&str>) -> Self {
        let mut context = SslContextBuilder::new(SslMethod::dtls_client()).expect("a context");
        context.set_verify(SslVerifyMode::NONE);
        context.set_options(SslOptions::NO_QUERY_MTU);
        let mut ssl = openssl::ssl::Ssl::new(&context.build()).expect("a session");
        ssl.set_mtu(1200).expect("an MTU");
        ssl.set_connect_state();
        if let Some(name) = name {
            ssl.set_hostname(name).expect("a name");
        }
        let datagrams = Datagrams { socket, held: None, loses: None, sent: 0, received: 0 };
        Self(SslStream::new(ssl, datagrams).expect("a stream"))
    }

    /// Before its handshake, on a network that loses what it is told to.
    pub(crate) fn lossy(socket: UdpSocket, loses: Loses) -> Self {
        socket.set_nonblocking(true).expect("an option");
        let mut this = Self::new(socket);
        this.0.get_mut().loses = Some(loses);
        this
    }

    /// From now on nothing is lost, and reading waits.
    pub(crate) fn heal(&mut self) {
        self.0.get_mut().loses = None;
        self.socket().set_nonblocking(false).expect("an option");
    }

    /// Datagrams that it has sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.0.get_ref().sent
    }

    /// Goes on with the handshake until it has to wait for the server.
    pub(crate) fn step(&mut self) -> bool {
        match self.0.do_handshake() {
            Ok(()) => true,
            Err(error) if error.code() == ErrorCode::WANT_READ => false,
            Err(error) => panic!("the handshake fails: {error}"),
        }
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.0.get_ref().socket
    }

    pub(crate) fn write(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.ssl_write(message).map(drop).map_err(io::Error::other)
    }

    /// Sends several records in one datagram.
    pub(crate) fn write_together(&mut self, messages: &[&[u8]]) {
        self.0.get_mut().held = Some(Vec::new());
        messages.iter().for_each(|message| self.write(message).expect("the client can send"));
        let held = self.0.get_mut().held.take().expect("just set");
        assert_eq!(held.len(), messages.len());
        self.socket().send(&held.concat()).expect("the client can send");
    }

    /// The datagram that a message would be sent in.
    pub(crate) fn sealed(&mut self, message: &[u8]) -> Vec<u8> {
        self.0.get_mut().held = Some(Vec::new());
        self.write(message).expect("the client can send");
        self.0.get_mut().held.take().expect("just set").concat()
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.ssl_read(buffer).map_err(|error| match error.code() {
            ErrorCode::WANT_READ => io::ErrorKind::WouldBlock.into(),
            _ => io::Error::other(error),
        })
    }

    /// Says close_notify.
    pub(crate) fn close(&mut self) {
        self.0.shutdown().expect("the client can send");
    }

    /// Waits until the server says close_notify.
    #[track_caller]
    pub(crate) fn is_closed_by_server(&mut self) {
        let mut buffer = vec![0; 20_000];
        while !self.0.get_shutdown().contains(ShutdownState::RECEIVED) {
            let read = self.0.ssl_read(&mut buffer);
            if let Err(error) = read {
                assert_eq!(error.code(), ErrorCode::ZERO_RETURN, "{error}");
            }
        }
    }

    /// The serial number of the server's certificate, in hexadecimal.
    pub(crate) fn serial(&self) -> String {
        let certificate = self.0.ssl().peer_certificate().expect("a certificate");
        let number = certificate.serial_number().to_bn().expect("a number");
        number.to_hex_str().expect("digits").to_string()
    }
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.socket.recv(buffer)?;
            let number = self.received;
            self.received += 1;
            if !self.loses.as_mut().is_some_and(|loses| loses(Way::In, number)) {
                return Ok(length);
            }
        }
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let number = self.sent;
        self.sent += 1;
        match &mut self.held {
            _ if self.loses.as_mut().is_some_and(|loses| loses(Way::Out, number)) => {}
            Some(held) => held.push(datagram.to_vec()),
            None => drop(self.socket.send(datagram)?),
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
