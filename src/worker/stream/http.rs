//! Web clients on TURN's ports: passed on to a backend (`web`), or answered with words.

use std::ops::Range;

use super::super::engine::Engine;
use super::super::streams::Phase;
use super::super::web::Refused;

/// Bytes that are thrown away when a client has been answered and goes on sending.
const SURPLUS: usize = 64 << 10;

/// What a browser gets to see that finds no web server here.
const NOT_HERE: &str = "HTTP/1.1 404 Not Found\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 75\r\n\
    Connection: close\r\n\r\n\
    This is a STUN and TURN server (RFC 8489, RFC 8656). There is no web here.\n";
/// What one gets that has forgotten the s of https.
const WITHOUT_TLS: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 51\r\n\
    Connection: close\r\n\r\n\
    This port is for TLS: try https:// or turns: here.\n";
/// What one gets for whom the backend would be.
const UNREACHABLE: &str = "HTTP/1.1 502 Bad Gateway\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 64\r\n\
    Connection: close\r\n\r\n\
    The web server behind this one cannot be reached. Try it later.\n";
/// What one gets that is one too many.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 54\r\n\
    Retry-After: 5\r\n\
    Connection: close\r\n\r\n\
    Too many web connections are open here. Try it later.\n";

impl Engine {
    /// A client speaks HTTP.
    pub(super) fn on_http(&mut self, leg: u32, slot: usize, part: Range<usize>) {
        self.stats.http_requests.add(1);
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        let (sealed, tls_only) = (stream.wire.session().is_some(), stream.tls_only);
        match self.web.backend.clone() {
            Some(backend) if sealed || self.web.plain && !tls_only => {
                if let Err(why) = self.pass_on(leg, &backend, slot, part) {
                    self.refuse_web(leg, why);
                }
            }
            Some(_) if !sealed => self.answer_http(leg, WITHOUT_TLS),
            None if tls_only && !sealed => self.answer_http(leg, WITHOUT_TLS),
            _ => self.answer_http(leg, NOT_HERE),
        }
    }

    /// Answers a client in the backend's place.
    pub(in crate::worker) fn refuse_web(&mut self, leg: u32, why: Refused) {
        self.answer_http(
            leg,
            match why {
                Refused::Full => FULL,
                Refused::Unreachable => UNREACHABLE,
            },
        );
    }

    /// Says the last words to a client, which then has a little time to read them.
    fn answer_http(&mut self, leg: u32, answer: &str) {
        let stats = std::sync::Arc::clone(&self.stats);
        self.streams.keep_input(leg, &[]);
        self.streams.queue(leg, [answer.as_bytes(), &[]], 0, answer.len(), &stats);
        self.streams.set_phase(leg, Phase::Over(SURPLUS), self.now.mono);
        let written = self.streams.write(leg);
        let finished = self.streams.parts(leg).map(|(stream, tools)| stream.wire.finish(tools));
        if !written || !matches!(finished, Some(Ok(()))) {
            self.close_stream(leg);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_are_right() {
        for answer in [NOT_HERE, WITHOUT_TLS, UNREACHABLE, FULL] {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{}",
                body.len()
            );
        }
    }
}
