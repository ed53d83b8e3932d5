//! Standard error, which somebody else reads: as slowly as they like, or not at all.
//!
//! Once the server serves ([`begin`]), only threads of the log's own write there. What any other thread has to say waits in
//! a bounded queue, and what finds that full is counted: whoever stops reading the log holds up nobody. At the end
//! ([`finish`]) the last lines are waited for as long as they are being read.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of other threads that may wait: they are few.
const QUEUE: usize = 1024;
/// How long the end waits for whoever takes no line.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether it has taken one.
const LOOK: Duration = Duration::from_millis(5);

thread_local! {
    /// Whether this thread may be held up by who reads.
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// There is none before the server serves: what is said then is waited for.
static OUT: OnceLock<Out> = OnceLock::new();
/// Lines written, by whichever thread.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

struct Out {
    queue: SyncSender<Box<[u8]>>,
    /// Lines put into the queue and taken out of it.
    put: AtomicU64,
    taken: AtomicU64,
    lost: AtomicU64,
}

/// What a line is written to, all of it at once.
pub(super) struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match OUT.get().filter(|_| !MAY_WAIT.get()) {
            None => write(line),
            Some(out) => {
                // Before it can be taken.
                out.put.fetch_add(1, Ordering::Relaxed);
                if out.queue.try_send(line.into()).is_err() {
                    out.taken.fetch_add(1, Ordering::Relaxed);
                    out.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has a thread of its own write what others say from now on.
///
/// # Errors
/// The system gives no thread.
pub(super) fn begin() -> io::Result<()> {
    let (queue, lines) = sync_channel(QUEUE);
    let [put, taken, lost] = [(); 3].map(|()| AtomicU64::new(0));
    if OUT.set(Out { queue, put, taken, lost }).is_ok() {
        thread::Builder::new().name("log-lines".to_owned()).spawn(move || run(&lines))?;
    }
    Ok(())
}

fn run(lines: &Receiver<Box<[u8]>>) {
    while let (Ok(line), Some(out)) = (lines.recv(), OUT.get()) {
        write(&line);
        out.taken.fetch_add(1, Ordering::Release);
    }
}

fn write(line: &[u8]) {
    // Nobody may be reading any more: there is nobody to tell.
    let _ = io::stderr().write_all(line);
    WRITTEN.fetch_add(1, Ordering::Relaxed);
}

/// Lets this thread be held up by who reads.
pub(super) fn may_wait() {
    MAY_WAIT.set(true);
}

/// Lines that found no room.
pub(super) fn lost() -> u64 {
    OUT.get().map_or(0, |out| out.lost.load(Ordering::Relaxed))
}

/// Waits until it is done, as long as somebody reads.
pub(super) fn wait_until(done: impl Fn() -> bool) {
    let (mut written, mut since) = (WRITTEN.load(Ordering::Relaxed), Instant::now());
    while !done() && since.elapsed() < PATIENCE {
        thread::sleep(LOOK);
        let now = WRITTEN.load(Ordering::Relaxed);
        if now != written {
            (written, since) = (now, Instant::now());
        }
    }
}

/// Waits until all that was said is written, as long as somebody reads.
pub(super) fn finish() {
    if let Some(out) = OUT.get() {
        wait_until(|| out.taken.load(Ordering::Acquire) >= out.put.load(Ordering::Relaxed));
    }
}
