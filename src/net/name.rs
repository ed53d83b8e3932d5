//! The system's own resolver for what `getaddrinfo` does not ask: it knows /etc/resolv.conf, retries and TCP.

use std::ffi::{CString, c_char, c_int, c_uchar};

/// `C_IN` of arpa/nameser.h: the Internet.
const INTERNET: c_int = 1;
/// An answer is never longer (RFC 1035 §4.2.2).
const LONGEST: usize = 65_535;

#[link(name = "resolv")]
unsafe extern "C" {
    fn res_query(
        name: *const c_char,
        class: c_int,
        record: c_int,
        answer: *mut c_uchar,
        room: c_int,
    ) -> c_int;
}

/// The answer of the name servers about one type of records of a name, as it came (RFC 1035 §4); nothing where there
/// are none, or nobody who can say. Waits as long as the system's resolver does.
pub fn name_records(name: &str, record: u16) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    let mut answer = vec![0; LONGEST];
    // SAFETY: the name is a C string, and `answer` has the room that is said; both live beyond the call, which keeps
    // neither. Each thread has a resolver of its own.
    let length = unsafe {
        res_query(name.as_ptr(), INTERNET, record.into(), answer.as_mut_ptr(), LONGEST as c_int)
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST)?;
    answer.truncate(length);
    Some(answer)
}
