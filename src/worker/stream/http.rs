use std::ops::Range;

use super::super::engine::Engine;
use super::super::streams::Phase;

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

impl Engine {
    /// A client speaks HTTP.
    pub(super) fn on_http(&mut self, leg: u32, _slot: usize, _part: Range<usize>) {
        self.stats.http_requests.add(1);
        let Some(stream) = self.streams.get_mut(leg) else {
            return;
        };
        let forgotten = stream.tls_only && stream.wire.session().is_none();
        self.answer_http(leg, if forgotten { WITHOUT_TLS } else { NOT_HERE });
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
        for answer in [NOT_HERE, WITHOUT_TLS] {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{}",
                body.len()
            );
        }
    }
}
