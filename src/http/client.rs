//! Requests and answers over kept connections: hyper leads each connection, and what is kept, tried again and bounded
//! is decided here.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::url::{Origin, Url};
use super::{Error, connect};
use crate::tls::{self, NoClient, Trust};

/// Headers of an answer that are read.
const HEADERS: usize = 64;

/// What a client may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may take to be made, TLS with it.
    pub connect: Duration,
    /// How long all of it may take, from the request to the last byte of the answer.
    pub request: Duration,
    /// The longest body of an answer in bytes.
    pub answer: usize,
    /// How many connections are kept for the next requests.
    pub kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
            answer: 64 << 10,
            kept: 2,
        }
    }
}

/// What is asked for.
#[derive(Clone)]
pub struct Request {
    /// GET or POST, say.
    pub method: Method,
    /// More of a query behind the URL's own: `name=value&...`, percent-encoded.
    pub query: Option<String>,
    /// Besides Host, User-Agent and Content-Length.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Bytes,
}

impl Request {
    /// Sends this body.
    pub fn post(body: impl Into<Bytes>) -> Self {
        let (query, headers) = (None, HeaderMap::new());
        Self { method: Method::POST, query, headers, body: body.into() }
    }

    /// Asks with a query.
    pub fn get(query: impl Into<Option<String>>) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method: Method::GET, query: query.into(), headers, body }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it is what was asked for.
    pub status: StatusCode,
    /// About it.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

type Sender = SendRequest<Full<Bytes>>;

/// Speaks to one server. It may be shared; requests that are sent at the same time go by connections of their own.
pub struct Client {
    url: Url,
    tls: Option<tls::Client>,
    limits: Limits,
    kept: Mutex<Vec<Sender>>,
}

impl Client {
    /// A client for this URL. `trust` is whose certificates are accepted; without TLS it is not looked at.
    ///
    /// # Errors
    /// There can be no TLS with it.
    pub fn new(url: Url, trust: &Trust, limits: Limits) -> Result<Self, NoClient> {
        let tls = match &url.origin {
            Origin::Tcp { secure: true, host, .. } => Some(tls::Client::new(trust, host)?),
            _ => None,
        };
        Ok(Self { url, tls, limits, kept: Mutex::default() })
    }

    /// Whom it speaks to.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a request and reads the whole answer. A status is no error, whatever it is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let within = self.limits.request;
        timeout(within, self.exchange(request)).await.unwrap_or(Err(Error::Timeout(within)))
    }

    async fn exchange(&self, request: Request) -> Result<Answer, Error> {
        let target = self.url.target(request.query.as_deref()).map_err(|_| Error::Query)?;
        if let Some(kept) = self.take_kept() {
            match self.ask(kept, &request, &target).await {
                // Closed while nobody was looking.
                Err(Error::Closed) => {}
                answered => return answered,
            }
        }
        let stream = connect::connect(&self.url, self.tls.as_ref(), self.limits.connect).await?;
        let mut builder = http1::Builder::new();
        builder.max_headers(HEADERS);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        // It ends when the sender is dropped or the other side closes; its error is the request's as well.
        tokio::spawn(connection);
        self.ask(sender, &request, &target).await
    }

    async fn ask(
        &self,
        mut sender: Sender,
        request: &Request,
        target: &Uri,
    ) -> Result<Answer, Error> {
        sender.ready().await?;
        let mut message = hyper::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = target.clone();
        *message.version_mut() = Version::HTTP_11;
        *message.headers_mut() = request.headers.clone();
        message.headers_mut().insert(HOST, self.url.host.clone());
        message.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let response = sender.send_request(message).await?;
        let answer = self.read(response).await?;
        self.keep(sender);
        Ok(answer)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, Error> {
        let (head, body) = response.into_parts();
        let (status, limit) = (head.status, self.limits.answer);
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(Answer { status, headers: head.headers, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLong { status, limit }),
            Err(error) => Err(match error.downcast::<hyper::Error>() {
                Ok(error) => (*error).into(),
                Err(other) => Error::Failed(other.to_string()),
            }),
        }
    }

    fn take_kept(&self) -> Option<Sender> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|sender| !sender.is_closed());
        kept.pop()
    }

    fn keep(&self, sender: Sender) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && kept.len() < self.limits.kept {
            kept.push(sender);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

const AGENT: &str = concat!("turnwire/", env!("CARGO_PKG_VERSION"));
