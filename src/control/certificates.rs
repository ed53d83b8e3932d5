//! Certificates while the server runs: read at the start, watched, swapped under live sessions,
//! and complained of before they expire.
//!
//! A file that has changed is read again. What cannot be used yet (a certificate whose key comes a
//! moment later, a file that is half written) is tried again for a while before it is spoken of;
//! then once, and the certificate before it stays in use.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::error::StartError;
use crate::time::{Mono, Now};
use crate::tls::{Doubt, Files, Identities, Identity, InvalidFile, Roots};
use crate::worker::Clock;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(2);
/// How long what cannot be used is taken for half of a change.
const GRACE: Duration = Duration::from_secs(30);
const DAY: u64 = 86400;
/// Days before the end at which it is said, and from which on it is said every day.
const NEAR: i64 = 14;
const CLOSE: i64 = 3;

/// The certificates of this server, as the sessions, the metrics and the signals see them.
pub(super) struct Certificates {
    watch: Arc<Mutex<Watch>>,
    /// What the metrics show.
    pub(super) report: Arc<Report>,
    again: Arc<Notify>,
    clock: Clock,
}

/// Other certificates, read and not in force yet.
pub(super) struct Fresh {
    all: Vec<Watched>,
    /// What handshakes take; nothing without a certificate.
    pub(super) identities: Option<Arc<Identities>>,
}

/// What has become of the certificates, for the metrics.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Changed files taken into use.
    pub(super) reloads: AtomicU64,
    /// Changes that could not be used.
    pub(super) failures: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

/// One certificate.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) not_after: i64,
}

/// One pair of files, and what is known of it.
#[derive(Clone)]
struct Watched {
    files: Files,
    identity: Identity,
    /// The files as they were when `identity` was read.
    read: Stamps,
    trouble: Option<Trouble>,
    /// When its end was spoken of last, and how near that was.
    warned: Option<(Nearness, u64)>,
}

/// Files that cannot be used as they are.
#[derive(Clone)]
struct Trouble {
    stamps: Stamps,
    since: Mono,
    told: bool,
}

/// What tells a file from another version of it.
type Stamp = Option<[u64; 7]>;
type Stamps = [Stamp; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nearness {
    Near,
    Close,
    Expired,
}

/// What there is to say.
#[derive(Debug)]
enum Remark {
    Loaded,
    Doubted(Doubt),
    Exposed,
    Failed(InvalidFile),
    Recovered,
    Ends(Nearness, i64),
}

impl Certificates {
    /// Watches none; the first ones come by [`Self::prepare`] and [`Self::commit`].
    pub(super) fn watch(clock: Clock) -> Self {
        let (report, again) = (Arc::<Report>::default(), Arc::<Notify>::default());
        let watch = Watch { all: Vec::new(), identities: None, report: Arc::clone(&report) };
        let watch = Arc::new(Mutex::new(watch));
        tokio::spawn(run(Arc::clone(&watch), clock, Arc::clone(&again)));
        Self { watch, report, again, clock }
    }

    /// Reads those that are not in use.
    ///
    /// # Errors
    /// One of them cannot be used: a server that goes on without it would be found out by calls
    /// that fail.
    pub(super) fn prepare(&self, files: &[Files]) -> Result<Fresh, StartError> {
        let watch = lock(&self.watch);
        let mut all = Vec::new();
        for files in files {
            let known = watch.all.iter().find(|watched| watched.files == *files);
            all.push(known.map_or_else(|| Watched::read(files), |known| Ok(known.clone()))?);
        }
        // The workers have the set for good, whatever is in it.
        let identities = match &watch.identities {
            Some(identities) if !all.is_empty() => Some(Arc::clone(identities)),
            _ => Identities::new(identities(&all)).ok().map(Arc::new),
        };
        Ok(Fresh { all, identities })
    }

    /// Puts them in the place of those that were in use.
    pub(super) fn commit(&self, fresh: Fresh) {
        let (mut watch, now) = (lock(&self.watch), self.clock.now());
        let Fresh { all, identities: set } = fresh;
        let before = std::mem::replace(&mut watch.all, all);
        for watched in &watch.all {
            if before.iter().all(|known| known.files != watched.files) {
                watched.introduce(now);
            }
        }
        if let Some(set) = set {
            // There is one at least.
            let _ = set.replace(identities(&watch.all));
            watch.identities = Some(set);
        }
        watch.note();
        watch.warn(now);
    }

    /// Has them read again now, and what is wrong told now.
    pub(super) fn read_again(&self) {
        self.again.notify_one();
    }
}

fn lock(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task that watches.
async fn run(watch: Arc<Mutex<Watch>>, clock: Clock, again: Arc<Notify>) {
    let mut ticks = tokio::time::interval(POLL);
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            () = again.notified() => true,
        };
        let (mut watch, now) = (lock(&watch), clock.now());
        watch.look(now, asked);
        watch.warn(now);
    }
}

/// What is watched.
struct Watch {
    all: Vec<Watched>,
    /// What the workers have, once there has been a certificate.
    identities: Option<Arc<Identities>>,
    report: Arc<Report>,
}

impl Watch {
    /// Takes what has changed into use; `asked` when somebody waits for an answer.
    fn look(&mut self, now: Now, asked: bool) {
        let mut changed = false;
        for watched in &mut self.all {
            match watched.look(now.mono, asked) {
                None => {}
                Some(Remark::Loaded) => {
                    changed = true;
                    self.report.reloads.fetch_add(1, Ordering::Relaxed);
                    watched.introduce(now);
                }
                Some(remark) => {
                    if matches!(remark, Remark::Failed(_)) {
                        self.report.failures.fetch_add(1, Ordering::Relaxed);
                    }
                    watched.say(now, &remark);
                }
            }
        }
        if changed && let Some(set) = &self.identities {
            // One has changed, so there is one at least.
            let _ = set.replace(identities(&self.all));
            self.note();
        }
    }

    fn warn(&mut self, now: Now) {
        for watched in &mut self.all {
            if let Some(remark) = watched.end(now.unix) {
                watched.say(now, &remark);
            }
        }
    }

    fn note(&self) {
        let entry = |watched: &Watched| Entry {
            file: watched.files.chain.display().to_string(),
            name: watched.identity.label().to_owned(),
            not_after: watched.identity.not_after(),
        };
        let entries = self.all.iter().map(entry).collect();
        *self.report.entries.lock().unwrap_or_else(PoisonError::into_inner) = entries;
    }
}

impl Watched {
    fn read(files: &Files) -> Result<Self, StartError> {
        let read = stamps(files);
        let (identity, files) = (files.load()?, files.clone());
        Ok(Self { files, identity, read, trouble: None, warned: None })
    }

    /// Reads the files again if they have changed.
    fn look(&mut self, now: Mono, asked: bool) -> Option<Remark> {
        let stamps = stamps(&self.files);
        // After a trouble they may look as before and be unreadable still.
        if stamps == self.read && !asked && self.trouble.is_none() {
            return None;
        }
        match self.files.load() {
            Ok(identity) => {
                self.read = stamps;
                let told = self.trouble.take().is_some_and(|trouble| trouble.told);
                if identity.chain().eq(self.identity.chain()) {
                    return told.then_some(Remark::Recovered);
                }
                self.identity = identity;
                self.warned = None;
                Some(Remark::Loaded)
            }
            Err(invalid) => {
                let fresh = Trouble { stamps, since: now, told: false };
                let trouble = self.trouble.get_or_insert(fresh);
                if trouble.stamps != stamps {
                    *trouble = Trouble { stamps, since: now, told: false };
                }
                let due = asked || !trouble.told && now.since(trouble.since) >= GRACE;
                trouble.told |= due;
                due.then_some(Remark::Failed(invalid))
            }
        }
    }

    /// Whether it is time to speak of its end.
    fn end(&mut self, unix: u64) -> Option<Remark> {
        let left = self.identity.seconds_left(unix);
        let nearness = match left.div_euclid(DAY as i64) {
            ..0 => Nearness::Expired,
            days if days < CLOSE => Nearness::Close,
            days if days < NEAR => Nearness::Near,
            _ => return None,
        };
        let due = match self.warned {
            Some((before, _)) if before != nearness => true,
            Some((Nearness::Near, _)) => false,
            Some((_, at)) => unix.saturating_sub(at) >= DAY,
            None => true,
        };
        due.then(|| {
            self.warned = Some((nearness, unix));
            Remark::Ends(nearness, left)
        })
    }

    /// Says that it is in use from now on, and what clients may dislike.
    fn introduce(&self, now: Now) {
        self.say(now, &Remark::Loaded);
        for doubt in self.identity.doubts(now.unix, Roots::of_system().as_ref()) {
            // Its end has a line of its own.
            if !matches!(doubt, Doubt::Expired(_)) {
                self.say(now, &Remark::Doubted(doubt));
            }
        }
        if self.files.key_is_exposed() == Some(true) {
            self.say(now, &Remark::Exposed);
        }
    }

    fn say(&self, now: Now, remark: &Remark) {
        let name = self.identity.label();
        let file = self.files.chain.display().to_string();
        let days = self.identity.seconds_left(now.unix).div_euclid(DAY as i64);
        let serial = self.identity.serial();
        match remark {
            Remark::Loaded => tracing::info!(
                event = "certificate",
                name,
                file,
                serial,
                days,
                "certificate in use: {}",
                self.identity.names().join(", "),
            ),
            Remark::Doubted(doubt) => {
                tracing::warn!(event = "certificate_doubted", name, file, "{file}: {doubt}");
            }
            Remark::Exposed => tracing::warn!(
                event = "certificate_key_exposed",
                name,
                file,
                "everybody on this host may read {}: chmod o-r it",
                self.files.key.display(),
            ),
            Remark::Failed(invalid) => tracing::error!(
                event = "certificate_reload_failed",
                name,
                file,
                days,
                "the certificate that is there now cannot be used, the one before it stays ({days} days \
                 left): {invalid}",
            ),
            Remark::Recovered => tracing::info!(
                event = "certificate_recovered",
                name,
                file,
                "the files are again those of the certificate in use",
            ),
            Remark::Ends(Nearness::Expired, _) => tracing::error!(
                event = "certificate_expired",
                name,
                file,
                days,
                "the certificate has expired, so that clients refuse it: renew {file}",
            ),
            Remark::Ends(_, left) => tracing::warn!(
                event = "certificate_expires",
                name,
                file,
                days,
                "the certificate expires in {}: is its renewal at work?",
                if days > 1 { format!("{days} days") } else { format!("{} hours", left / 3600) },
            ),
        }
    }
}

impl Report {
    /// What the certificates are now.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn identities(all: &[Watched]) -> Vec<Identity> {
    all.iter().map(|watched| watched.identity.clone()).collect()
}

/// The files behind the paths, through whatever links lead there now.
fn stamps(files: &Files) -> Stamps {
    [stamp(&files.chain), stamp(&files.key)].map(Result::ok)
}

fn stamp(path: &Path) -> io::Result<[u64; 7]> {
    let about = fs::metadata(path)?;
    let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
    let [written, fraction, changed, changed_fraction] = times.map(i64::cast_unsigned);
    Ok([about.dev(), about.ino(), about.size(), written, fraction, changed, changed_fraction])
}

#[cfg(test)]
#[path = "certificates/tests.rs"]
mod tests;
