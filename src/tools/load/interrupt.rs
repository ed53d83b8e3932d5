//! Ctrl-C: a load that is stopped gives everything back and reports what it has found so far.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::ctrl_c;

/// What shells report of a process that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// Whether somebody has asked for the end.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Asked twice, the process ends at once.
    pub(super) fn listen() -> Self {
        let interrupt = Self::default();
        let asked = interrupt.clone();
        let listen = move || -> io::Result<()> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ctrl_c())?;
            asked.0.store(true, Ordering::Relaxed);
            runtime.block_on(ctrl_c())?;
            process::exit(INTERRUPTED)
        };
        // Without a thread or a runtime for it, Ctrl-C ends the process as it always did.
        let _ = thread::Builder::new().name("interrupt".to_owned()).spawn(listen);
        interrupt
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
