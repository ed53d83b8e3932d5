//! Users and groups of this host, and becoming one that may do less.

use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::ptr;

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name, by which its groups are found.
    pub name: String,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl Account {
    /// Whether this process has that user's rights already.
    pub fn is_current(&self) -> bool {
        effective_user() == self.uid
    }

    /// Makes a directory that is this user's alone; those above it are everybody's to pass.
    ///
    /// # Errors
    /// It is there already, it cannot be made, or root may not give it away, or could not go in then, as where it lacks
    /// capabilities: it is not there or root's then.
    pub fn make_directory(&self, path: &Path) -> io::Result<()> {
        make_above(path)?;
        DirBuilder::new().mode(0o700).create(path)?;
        // Whoever owns what is above may have put something else there.
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let made = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let facts = made.metadata()?;
        if facts.uid() != effective_user() || facts.mode() & 0o7777 != 0o700 {
            return Err(io::Error::other("it was taken away"));
        }
        fchown(&made, Some(self.uid), Some(self.gid))?;
        fs::read_dir(path).map(drop).inspect_err(|_| {
            // Without CAP_DAC_OVERRIDE root is nobody there.
            let _ = fchown(&made, Some(facts.uid()), Some(facts.gid()));
        })
    }
}

/// Makes what is missing above, whatever the umask.
fn make_above(path: &Path) -> io::Result<()> {
    let Some(above) = path.parent().filter(|it| !it.as_os_str().is_empty() && !it.exists()) else {
        return Ok(());
    };
    make_above(above)?;
    fs::create_dir(above)?;
    fs::set_permissions(above, Permissions::from_mode(0o755))
}

/// Room for the texts of an entry; one that needs more is asked for again with twice as much.
const ENTRY: usize = 1024;
/// No entry needs this much.
const LARGEST_ENTRY: usize = 1 << 20;

/// A user by name, with the group that it belongs to first.
///
/// # Errors
/// The system cannot look it up. A user that is not there is `None`.
pub fn account(name: &str) -> io::Result<Option<Account>> {
    let Ok(text) = CString::new(name) else {
        return Ok(None);
    };
    let found = entry(|entry: *mut libc::passwd, room, length, found| {
        // SAFETY: the name ends with a zero; the rest is `entry`'s promise.
        unsafe { libc::getpwnam_r(text.as_ptr(), entry, room, length, found) }
    })?;
    Ok(found.map(|(user, _)| Account { name: name.to_owned(), uid: user.pw_uid, gid: user.pw_gid }))
}

/// The number of a group by its name.
///
/// # Errors
/// As of [`account`].
pub fn group(name: &str) -> io::Result<Option<u32>> {
    let Ok(text) = CString::new(name) else {
        return Ok(None);
    };
    let found = entry(|entry: *mut libc::group, room, length, found| {
        // SAFETY: the name ends with a zero; the rest is `entry`'s promise.
        unsafe { libc::getgrnam_r(text.as_ptr(), entry, room, length, found) }
    })?;
    Ok(found.map(|(group, _)| group.gr_gid))
}

/// The name of a user, or its number where it has none.
pub fn user_name(uid: u32) -> String {
    let found = entry(|entry: *mut libc::passwd, room, length, found| {
        // SAFETY: `entry`'s promise.
        unsafe { libc::getpwuid_r(uid, entry, room, length, found) }
    });
    let name = found.ok().flatten().and_then(|(user, texts)| text_at(user.pw_name, &texts));
    name.unwrap_or_else(|| format!("user {uid}"))
}

/// The name of a group, or its number where it has none.
pub fn group_name(gid: u32) -> String {
    let found = entry(|entry: *mut libc::group, room, length, found| {
        // SAFETY: `entry`'s promise.
        unsafe { libc::getgrgid_r(gid, entry, room, length, found) }
    });
    let name = found.ok().flatten().and_then(|(group, texts)| text_at(group.gr_name, &texts));
    name.unwrap_or_else(|| format!("group {gid}"))
}

/// Whose rights this process has.
pub fn effective_user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The groups whose rights this process has.
///
/// # Errors
/// The system does not tell them.
pub fn effective_groups() -> io::Result<Vec<u32>> {
    // SAFETY: it takes nothing and cannot fail.
    let first = unsafe { libc::getegid() };
    // SAFETY: with no room asked for, nothing is written.
    let count = unsafe { libc::getgroups(0, ptr::null_mut()) };
    check(count.min(0))?;
    let mut groups = vec![first; count as usize + 1];
    // SAFETY: there is room for as many as are said to be there; the last one stays.
    check(unsafe { libc::getgroups(count, groups.as_mut_ptr()) }.min(0))?;
    Ok(groups)
}

/// Gives a file that root has made in another's directory to that other, as SQLite has it with its journals: a server that
/// has given up root is to read it.
///
/// # Errors
/// The system does not say whose they are, or lets no file be given away.
pub fn give_to_owner_of_directory(file: &File, path: &Path) -> io::Result<()> {
    if file.metadata()?.uid() != 0 {
        return Ok(());
    }
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = fs::metadata(directory.unwrap_or(Path::new(".")))?;
    fchown(file, Some(directory.uid()), Some(directory.gid()))
}

/// Becomes a user for good, with all of its groups and `group` (or its own) as the first one. All
/// threads of the process change together.
///
/// # Errors
/// Only root may do this; after an error the process should end, as it may have changed in part.
pub fn become_user(account: &Account, group: Option<u32>) -> io::Result<()> {
    let gid = group.unwrap_or(account.gid);
    let name = CString::new(account.name.as_str())?;
    // The groups go first: a user may not change them any more.
    // SAFETY: the name ends with a zero.
    check(unsafe { libc::initgroups(name.as_ptr(), gid) })?;
    // SAFETY: numbers alone.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: numbers alone.
    check(unsafe { libc::setresuid(account.uid, account.uid, account.uid) })?;
    // SAFETY: numbers alone.
    let back = unsafe { libc::setresuid(0, 0, 0) };
    if account.uid != 0 && back == 0 {
        return Err(io::Error::other("the way back to root is still open"));
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for an entry of the user data base, and gives the texts that it points into with it.
///
/// `ask` gets pointers that are good for the length of the call: the entry, room for texts with
/// its length, and where to put a pointer to the entry if there is one.
fn entry<E>(
    ask: impl Fn(*mut E, *mut libc::c_char, usize, *mut *mut E) -> libc::c_int,
) -> io::Result<Option<(E, Vec<libc::c_char>)>> {
    let mut texts: Vec<libc::c_char> = vec![0; ENTRY];
    loop {
        let mut entry = MaybeUninit::<E>::uninit();
        let mut found = ptr::null_mut();
        match ask(entry.as_mut_ptr(), texts.as_mut_ptr(), texts.len(), &mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: the call has filled the entry in, as it points to it.
            0 => return Ok(Some((unsafe { entry.assume_init() }, texts))),
            libc::ERANGE if texts.len() < LARGEST_ENTRY => texts.resize(texts.len() * 2, 0),
            libc::EINTR => {}
            // "Not there" has many numbers (getpwnam(3)).
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// A text of an entry, which lies within `texts`.
fn text_at(text: *const libc::c_char, texts: &[libc::c_char]) -> Option<String> {
    if !texts.as_ptr_range().contains(&text) {
        return None;
    }
    // SAFETY: it lies within the texts of the entry, which are alive and end with a zero.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_by_number() {
        let root = account("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, user_name(0)), (0, 0, "root".to_owned()));
        assert_eq!((group("root").unwrap(), group_name(0)), (Some(0), "root".to_owned()));
    }

    #[test]
    fn who_is_not_there_is_nobody_and_keeps_the_number() {
        for name in ["no such user", "", "a\0b"] {
            assert_eq!(account(name).unwrap(), None);
            assert_eq!(group(name).unwrap(), None);
        }
        assert_eq!(user_name(3_999_999_999), "user 3999999999");
        assert_eq!(group_name(3_999_999_999), "group 3999999999");
    }
}
