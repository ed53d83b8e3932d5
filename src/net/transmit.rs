//! One socket's messages and the kernel's answers: what is sent, tried again, or counted as lost.

use std::io;
use std::ops::AddAssign;
use std::os::fd::RawFd;

use super::errors::is_pending_icmp;
use super::socket::{option, set_option};

/// What became of the datagrams of one [`SendBatch::flush`](super::SendBatch::flush): each is counted once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SendReport {
    /// Taken by the kernel.
    pub sent: u64,
    /// Dropped: a full send buffer or device queue, no memory, or a push into a full batch.
    pub full: u64,
    /// Dropped: no route, refused by the host's rules, or an ICMP error that came twice.
    pub unreachable: u64,
    /// Dropped: longer than the path takes in one piece, or than UDP takes at all.
    pub too_big: u64,
    /// Dropped for another reason: a closed socket, port 0, a range out of its slot.
    pub other: u64,
}

/// Sends the messages of one socket; one that fails is left out.
pub(super) fn send_run(
    messages: &mut [libc::mmsghdr],
    mut transmit: impl FnMut(&mut [libc::mmsghdr]) -> io::Result<usize>,
) -> SendReport {
    let mut report = SendReport::default();
    let mut done = 0;
    let mut tried_again = false;
    while done < messages.len() {
        let errno = match transmit(&mut messages[done..]) {
            // `sendmmsg` sends at least one or fails; were it not so, this would never end.
            Ok(0) => 0,
            Ok(sent) => {
                report.sent += sent as u64;
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
            errno if is_pending_icmp(errno) => report.unreachable += 1,
            libc::EAGAIN => {
                report.full += (messages.len() - done) as u64;
                return report;
            }
            libc::ENOBUFS | libc::ENOMEM => report.full += 1,
            libc::EPERM | libc::ENETDOWN | libc::EADDRNOTAVAIL => report.unreachable += 1,
            libc::EMSGSIZE => report.too_big += 1,
            _ => report.other += 1,
        }
        done += 1;
        tried_again = false;
    }
    report
}

/// Sends one IPv4 message with the DF bit, and leaves the socket as it was.
pub(super) fn send_unfragmented(
    message: &mut [libc::mmsghdr],
    socket: RawFd,
    transmit: &mut impl FnMut(RawFd, &mut [libc::mmsghdr]) -> io::Result<usize>,
) -> SendReport {
    let (level, name) = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    let switched = option(socket, level, name)
        .and_then(|before| set_option(socket, level, name, libc::IP_PMTUDISC_DO).map(|()| before));
    let Ok(before) = switched else {
        return SendReport { other: 1, ..SendReport::default() };
    };
    let report = send_run(message, |messages| transmit(socket, messages));
    // It was taken back from the same socket a moment ago; only a closed socket refuses it.
    let _ = set_option(socket, level, name, before);
    report
}

/// One `sendmmsg`, which does not block.
///
/// # Safety
/// Every message's pointers are valid for its lengths.
pub(super) unsafe fn send_many(socket: RawFd, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let count = messages.len() as libc::c_uint;
    // SAFETY: the caller's promise; the kernel only reads what the messages point at, and writes their `msg_len`.
    // Any number is a valid argument for `socket`.
    let sent = unsafe { libc::sendmmsg(socket, messages.as_mut_ptr(), count, flags as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

impl AddAssign for SendReport {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.full += more.full;
        self.unreachable += more.unreachable;
        self.too_big += more.too_big;
        self.other += more.other;
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::empty_header;
    use super::*;

    /// Sends three messages through a kernel that gives these answers, and says how many it did not need.
    fn scripted(answers: &[Result<usize, i32>]) -> (SendReport, usize) {
        let mut answers = answers.iter();
        let mut messages: [_; 3] =
            std::array::from_fn(|_| libc::mmsghdr { msg_hdr: empty_header(), msg_len: 0 });
        let report = send_run(&mut messages, |messages| match answers.next() {
            Some(Ok(sent)) => Ok(*sent),
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(messages.len()),
        });
        (report, answers.len())
    }

    fn report(sent: u64, full: u64, unreachable: u64, too_big: u64, other: u64) -> SendReport {
        SendReport { sent, full, unreachable, too_big, other }
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
