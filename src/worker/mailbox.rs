//! Letters between workers: what has arrived at one worker and is another's to decide about.
//!
//! Each worker has one mailbox with a bounded queue, which it empties when its waker calls. Whoever posts a letter
//! that finds no room gets it back, and says so to the client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mobility::{Answer, Arrival, Packet};
use super::remote::Question;
use super::streams::Stream;
use crate::auth::UserName;
use crate::net::Waker;
use crate::time::Mono;
use crate::turn::{Client, FiveTuple};

/// Letters that may lie in one mailbox. A worker that lets more lie has no time for them either.
const CAPACITY: usize = 256;

/// What one worker hands to another.
pub(super) enum Letter {
    /// A TCP connection, watched by nobody. Its `input` begins with a whole message that the receiver is to handle
    /// as if it had been read just now; bytes of the next ones may follow.
    Stream(Box<Stream>),
    /// A datagram of a client whose allocation the receiver has.
    Packet(Box<Packet>),
    /// What it is answered with.
    Answer(Box<Answer>),
    /// An allocation whose client is at the receiver.
    Arrival(Box<Arrival>),
    /// The receiver's client has no allocation at the sender any more.
    Gone(Client),
    /// What the receiver's guest has sent did not make its allocation follow.
    Stays(FiveTuple),
    /// The allocation of the receiver's guest ends at another time.
    Renewed(FiveTuple, Mono),
    /// What the owner wants to know.
    Question(Box<Question>),
    /// The sender's client is gone, whose allocation the receiver has.
    Parted(Client),
    /// The stores have said what they know of a user about whom the receiver has asked.
    LookedUp(Arc<UserName>),
    /// They say something else than before, about one user or about shared secrets.
    Doubted(Option<Arc<UserName>>),
}

/// The letters for one worker.
pub(super) struct Mailbox {
    /// `None` when the worker has stopped.
    letters: Mutex<Option<VecDeque<Letter>>>,
    waker: Arc<Waker>,
}

impl Mailbox {
    /// `waker` ends the sleep of the worker that reads the letters.
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self { letters: Mutex::new(Some(VecDeque::new())), waker }
    }

    /// Ends the sleep of the worker that reads the letters, without one.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Leaves a letter and wakes its reader.
    ///
    /// # Errors
    /// The letter comes back when the mailbox is full or its worker has stopped.
    pub(super) fn post(&self, letter: Letter) -> Result<(), Letter> {
        let mut letters = self.lock();
        let Some(letters) = letters.as_mut().filter(|letters| letters.len() < CAPACITY) else {
            return Err(letter);
        };
        letters.push_back(letter);
        // One call for many letters: the reader takes all of them.
        if letters.len() == 1 {
            self.waker.wake();
        }
        Ok(())
    }

    /// Takes all letters out, the oldest first.
    pub(super) fn take(&self) -> VecDeque<Letter> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the last letters out; later ones go back to their senders.
    pub(super) fn close(&self) -> VecDeque<Letter> {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Letter>>> {
        // A queue is whole at every moment.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::wire::Wire;
    use super::super::streams::Phase;
    use super::*;
    use crate::net::{Events, Interest, Poller};
    use crate::time::Mono;
    use crate::turn::{FiveTuple, Transport};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn letters() -> impl FnMut() -> Letter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        move || {
            let _client = TcpStream::connect(server).unwrap();
            let (socket, client) = listener.accept().unwrap();
            let tuple = FiveTuple { transport: Transport::Tcp, client, server };
            let stream = Stream::new(Wire::new(socket), tuple, Phase::Turn, Mono::default());
            Letter::Stream(Box::new(stream))
        }
    }

    fn client(letter: &Letter) -> std::net::SocketAddr {
        let Letter::Stream(stream) = letter else { panic!("nothing else was posted") };
        stream.tuple.client
    }

    #[test]
    fn letters_come_out_in_order_after_one_call() {
        let (waker, poller, mut letter) =
            (Arc::new(Waker::new().unwrap()), Poller::new().unwrap(), letters());
        poller.add(waker.as_fd(), 1, Interest::Read).unwrap();
        let mailbox = Mailbox::new(Arc::clone(&waker));
        let mut events = Events::with_capacity(1);
        for round in 0..3 {
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty(), "called without a letter in round {round}");
            let posted: Vec<_> = (0..3)
                .map(|_| {
                    let letter = letter();
                    let client = client(&letter);
                    assert!(mailbox.post(letter).is_ok());
                    client
                })
                .collect();
            poller.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert_eq!(events.len(), 1);
            waker.drain();
            assert_eq!(mailbox.take().iter().map(client).collect::<Vec<_>>(), posted);
            assert!(mailbox.take().is_empty());
        }
    }

    #[test]
    fn a_letter_without_room_and_one_too_late_come_back() {
        let (mailbox, mut letter) = (Mailbox::new(Arc::new(Waker::new().unwrap())), letters());
        assert!((0..CAPACITY).all(|_| mailbox.post(letter()).is_ok()));
        let one_more = letter();
        let sender = client(&one_more);
        assert_eq!(mailbox.post(one_more).err().as_ref().map(client), Some(sender));
        assert_eq!(mailbox.take().len(), CAPACITY);
        assert!(mailbox.post(letter()).is_ok());
        assert_eq!(mailbox.close().len(), 1);
        assert!(mailbox.post(letter()).is_err());
        assert!(mailbox.take().is_empty());
    }
}
