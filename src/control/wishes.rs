//! What is wanted of the process, by signals and by the admin API alike: one way into the main loop, which answers
//! when it is done.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::config::Level;

/// Wishes that may wait for the main loop. It is busy for the moment of a reload only.
const WAITING: usize = 16;

/// What somebody wants of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM: an end that may take the configured time; a second one is an end now.
    Terminate,
    /// SIGINT: an end now.
    Stop,
    /// SIGHUP: the configuration is read again.
    Reload,
    /// No new clients, and an end when the last call is over or the time is. Without a time it is the configured one,
    /// or none where that is zero.
    Drain(Option<Duration>),
    /// Another level of the log, until the next reload.
    LogLevel(Level),
}

/// What became of a wish, in a sentence; an error when nothing was changed.
pub(super) type Answer = Result<String, String>;

/// A wish, and who waits for its answer.
pub(super) struct Asked {
    pub(super) wish: Wish,
    /// A signal wants none.
    answer: Option<oneshot::Sender<Answer>>,
}

impl Asked {
    /// Tells what became of it.
    pub(super) fn answer(self, answer: Answer) {
        if let Some(waiting) = self.answer {
            // Who has gone meanwhile does not want to know.
            let _ = waiting.send(answer);
        }
    }
}

/// The main loop's end.
pub(super) struct Wishes {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    asked: mpsc::Receiver<Asked>,
}

impl Wishes {
    /// Takes the signals over, and makes the other end.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn install() -> io::Result<(Self, Wisher)> {
        let (sender, asked) = mpsc::channel(WAITING);
        let wishes = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            asked,
        };
        Ok((wishes, Wisher(sender)))
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Asked {
        let by_signal = |wish| Asked { wish, answer: None };
        tokio::select! {
            _ = self.terminate.recv() => by_signal(Wish::Terminate),
            _ = self.interrupt.recv() => by_signal(Wish::Stop),
            _ = self.hangup.recv() => by_signal(Wish::Reload),
            // When nobody is left who could ask, signals are all there is.
            Some(asked) = self.asked.recv() => asked,
        }
    }
}

/// The end of whoever may ask.
#[derive(Clone)]
pub(super) struct Wisher(mpsc::Sender<Asked>);

impl Wisher {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub(super) async fn ask(&self, wish: Wish) -> Answer {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { wish, answer: Some(answer) };
        if self.0.try_send(asked).is_err() {
            return Err("the server has too much of this kind to do: try again in a moment".into());
        }
        answered.await.unwrap_or_else(|_| Err("the server is stopping".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_is_answered_and_too_many_are_refused() {
        let (mut wishes, wisher) = Wishes::install().unwrap();
        let wish = Wish::LogLevel(Level::Debug);
        let asking = |wisher: Wisher| tokio::spawn(async move { wisher.ask(wish).await });
        let all: Vec<_> = (0..=WAITING).map(|_| asking(wisher.clone())).collect();
        tokio::task::yield_now().await;
        let mut last = None;
        for _ in 0..WAITING {
            let asked = wishes.next().await;
            assert_eq!(asked.wish, wish);
            match last.take() {
                None => last = Some(asked),
                Some(before) => before.answer(Ok("done".into())),
            }
        }
        drop((last, wishes));
        let mut answers = Vec::new();
        for one in all {
            answers.push(one.await.unwrap());
        }
        let count = |what: &dyn Fn(&Answer) -> bool| answers.iter().filter(|it| what(it)).count();
        assert_eq!(count(&|it| it == &Ok("done".into())), WAITING / 2);
        assert_eq!(count(&|it| matches!(it, Err(why) if why.contains("too much"))), 1);
        assert_eq!(count(&|it| matches!(it, Err(why) if why.contains("stopping"))), WAITING / 2);
    }
}
