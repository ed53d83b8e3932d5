//! What a thread has used of the processor.

use std::mem::MaybeUninit;
use std::time::Duration;

/// The CPU clock of one thread, which other threads of the process may read. Reading it costs its thread nothing.
#[derive(Clone, Copy, Debug)]
pub struct ThreadClock(libc::clockid_t);

impl ThreadClock {
    /// That of the calling thread.
    pub fn own() -> Self {
        // SAFETY: it has no arguments, and cannot fail.
        let thread = unsafe { libc::gettid() };
        // CPUCLOCK_PERTHREAD and CPUCLOCK_SCHED of the kernel's posix-timers.h, as pthread_getcpuclockid(3) makes it.
        Self((!thread << 3) | 4 | 2)
    }

    /// CPU time in the program and in the kernel; `None` when the thread has ended.
    pub fn read(self) -> Option<Duration> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the pointer is to a timespec that may be written; the kernel judges the clock.
        if unsafe { libc::clock_gettime(self.0, time.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: it has been written on success.
        let time = unsafe { time.assume_init() };
        let (seconds, nanos) =
            (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
        Some(Duration::new(seconds, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn another_thread_s_work_shows_and_ends_with_it() {
        let (tell, told) = channel();
        let (go, gone) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut sum = 0_u64;
            while ThreadClock::own().read().is_some_and(|used| used < Duration::from_millis(20)) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            tell.send(ThreadClock::own()).unwrap();
            let _ = gone.recv();
        });
        let clock = told.recv().unwrap();
        let used = clock.read().unwrap();
        assert!(used >= Duration::from_millis(20) && used < Duration::from_secs(5), "{used:?}");
        drop(go);
        thread.join().unwrap();
        // Its number may be given to another thread of this process at once: then that one is read.
        assert!(clock.read().is_none_or(|other| other < used));
    }
}
