//! One socket's messages and the kernel's answers: what is sent, tried again, or counted as lost.

use std::io;
use std::ops::AddAssign;
use std::os::fd::RawFd;

use super::errors::is_pending_icmp;
use super::socket::{option, set_option};

/// What became of the datagrams of one [`SendBatch::flush`](super::SendBatch::flush): each is counted once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams taken by the kernel.
    pub sent: u64,
    /// Messages among them that held more than one datagram.
    pub trains: u64,
    /// Dropped: a full send buffer or device queue, no memory, or a push into a full batch.
    pub full: u64,
    /// Dropped: no route, refused by the host's rules, or an ICMP error that came twice.
    pub unreachable: u64,
    /// Dropped: longer than the path takes in one piece, or than UDP takes at all.
    pub too_big: u64,
    /// Dropped for another reason: a closed socket, port 0, a range out of its slot.
    pub other: u64,
}

/// How a run of messages ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All were sent or counted as lost.
    Done,
    /// The socket would block: it takes no more, and the rest is counted.
    Blocked,
    /// Message number `at` holds several datagrams and the kernel does not take it: nothing of it is counted, and
    /// nothing behind it has been tried.
    Refused { at: usize, errno: i32 },
}

/// Sends the messages of one socket, each of which holds as many datagrams as `counts` says; a single datagram
/// that fails is left out.
pub(super) fn send_run(
    messages: &mut [libc::mmsghdr],
    counts: &[u32],
    report: &mut SendReport,
    mut transmit: impl FnMut(&mut [libc::mmsghdr]) -> io::Result<usize>,
) -> End {
    let mut done = 0;
    let mut tried_again = false;
    while done < messages.len() {
        let errno = match transmit(&mut messages[done..]) {
            // `sendmmsg` sends at least one or fails; were it not so, this would never end.
            Ok(0) => 0,
            Ok(sent) => {
                report.add_sent(&counts[done..done + sent]);
                done += sent;
                tried_again = false;
                continue;
            }
            Err(error) => error.raw_os_error().unwrap_or(0),
        };
        match errno {
            libc::EINTR => continue,
            // Perhaps not about this message: IP_RECVERR gives the pending error of an earlier one to the
            // next send, instead of sending. Asking took it away, so the second answer is about this one.
            errno if is_pending_icmp(errno) && !tried_again => {
                tried_again = true;
                continue;
            }
            libc::EAGAIN => {
                report.full += total(&counts[done..]);
                return End::Blocked;
            }
            // One by one they would only be more work for a host that has too much.
            libc::ENOBUFS | libc::ENOMEM => report.full += u64::from(counts[done]),
            errno if counts[done] > 1 => return End::Refused { at: done, errno },
            errno if is_pending_icmp(errno) => report.unreachable += 1,
            libc::EPERM | libc::ENETDOWN | libc::EADDRNOTAVAIL => report.unreachable += 1,
            libc::EMSGSIZE => report.too_big += 1,
            _ => report.other += 1,
        }
        done += 1;
        tried_again = false;
    }
    End::Done
}

/// Sends one IPv4 datagram with the DF bit, and leaves the socket as it was.
pub(super) fn send_unfragmented(
    message: &mut [libc::mmsghdr],
    socket: RawFd,
    transmit: impl FnMut(&mut [libc::mmsghdr]) -> io::Result<usize>,
) -> SendReport {
    let (level, name) = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    let mut report = SendReport::default();
    let switched = option(socket, level, name)
        .and_then(|before| set_option(socket, level, name, libc::IP_PMTUDISC_DO).map(|()| before));
    let Ok(before) = switched else {
        report.other = 1;
        return report;
    };
    send_run(message, &[1], &mut report, transmit);
    // It was taken back from the same socket a moment ago; only a closed socket refuses it.
    let _ = set_option(socket, level, name, before);
    report
}

/// All datagrams of some messages.
pub(super) fn total(counts: &[u32]) -> u64 {
    counts.iter().copied().map(u64::from).sum()
}

impl SendReport {
    fn add_sent(&mut self, counts: &[u32]) {
        self.sent += total(counts);
        self.trains += counts.iter().filter(|count| **count > 1).count() as u64;
    }
}

impl AddAssign for SendReport {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.trains += more.trains;
        self.full += more.full;
        self.unreachable += more.unreachable;
        self.too_big += more.too_big;
        self.other += more.other;
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::empty_message;
    use super::*;

    /// Sends messages of so many datagrams through a kernel that gives these answers, and says how it ended and
    /// how many answers it did not need.
    fn run(counts: &[u32], answers: &[Result<usize, i32>]) -> (SendReport, End, usize) {
        let mut answers = answers.iter();
        let mut messages = vec![empty_message(); counts.len()];
        let mut report = SendReport::default();
        let end = send_run(&mut messages, counts, &mut report, |messages| match answers.next() {
            Some(Ok(sent)) => Ok(*sent),
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(messages.len()),
        });
        (report, end, answers.len())
    }

    /// Sends three single datagrams.
    fn scripted(answers: &[Result<usize, i32>]) -> (SendReport, usize) {
        let (report, _, unused) = run(&[1; 3], answers);
        (report, unused)
    }

    fn report(sent: u64, full: u64, unreachable: u64, too_big: u64, other: u64) -> SendReport {
        SendReport { sent, full, unreachable, too_big, other, trains: 0 }
    }

    #[test]
    fn a_refused_train_is_given_back_whole_and_ends_the_run() {
        for errno in [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EPERM] {
            let (sent, end, _) = run(&[1, 5, 7], &[Ok(1), Err(errno)]);
            assert_eq!(sent, report(1, 0, 0, 0, 0));
            assert_eq!(end, End::Refused { at: 1, errno });
        }
        let refused = Err(libc::ECONNREFUSED);
        let (sent, end, _) = run(&[5, 1], &[refused]);
        assert_eq!((sent.sent, sent.trains, end), (6, 1, End::Done));
        let errno = libc::ECONNREFUSED;
        assert_eq!(run(&[5], &[refused; 2]).1, End::Refused { at: 0, errno });
    }

    #[test]
    fn a_train_is_counted_by_its_datagrams() {
        assert_eq!(
            run(&[4, 1, 3], &[Ok(2), Err(libc::EAGAIN)]),
            (SendReport { trains: 1, ..report(5, 3, 0, 0, 0) }, End::Blocked, 0)
        );
        let (sent, end, _) = run(&[4, 3], &[Err(libc::ENOBUFS)]);
        assert_eq!((sent.sent, sent.full, end), (3, 4, End::Done));
    }

    #[test]
    fn a_socket_that_would_block_loses_the_rest_and_is_not_asked_again() {
        assert_eq!(scripted(&[Ok(1), Err(libc::EAGAIN), Ok(1)]), (report(1, 2, 0, 0, 0), 1));
    }

    #[test]
    fn a_failed_message_costs_only_itself() {
        for (errno, expected) in [
            (libc::ENOBUFS, report(2, 1, 0, 0, 0)),
            (libc::EPERM, report(2, 0, 1, 0, 0)),
            (libc::EADDRNOTAVAIL, report(2, 0, 1, 0, 0)),
            (libc::EMSGSIZE, report(2, 0, 0, 1, 0)),
            (libc::EINVAL, report(2, 0, 0, 0, 1)),
        ] {
            assert_eq!(scripted(&[Ok(1), Err(errno)]), (expected, 0), "{errno}");
        }
    }

    #[test]
    fn a_pending_error_is_not_the_messages_own() {
        let refused = Err(libc::ECONNREFUSED);
        assert_eq!(scripted(&[refused]).0, report(3, 0, 0, 0, 0));
        assert_eq!(scripted(&[refused, refused]).0, report(2, 0, 1, 0, 0));
        assert_eq!(scripted(&[refused, Ok(1), refused, Ok(1)]).0, report(3, 0, 0, 0, 0));
        assert_eq!(scripted(&[refused; 6]).0, report(0, 0, 3, 0, 0));
        // Each message has a second try of its own.
        assert_eq!(scripted(&[refused; 3]).0, report(2, 0, 1, 0, 0));
    }

    #[test]
    fn an_interrupted_call_is_repeated_and_a_senseless_answer_ends() {
        assert_eq!(scripted(&[Err(libc::EINTR), Err(libc::EINTR)]).0, report(3, 0, 0, 0, 0));
        assert_eq!(scripted(&[Ok(0), Ok(0), Ok(0)]).0, report(0, 0, 0, 0, 3));
    }
}
