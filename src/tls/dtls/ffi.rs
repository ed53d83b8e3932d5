//! What OpenSSL has for DTLS servers and its bindings leave out; all `unsafe` of this room.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::ptr;

use foreign_types::ForeignTypeRef;
use openssl::ssl::{SslContextBuilder, SslRef, SslStream};
use openssl_sys as sys;

unsafe extern "C" {
    fn DTLSv1_listen(ssl: *mut sys::SSL, client: *mut c_void) -> c_int;
    fn DTLS_set_timer_cb(
        ssl: *mut sys::SSL,
        callback: Option<unsafe extern "C" fn(*mut sys::SSL, c_uint) -> c_uint>,
    );
    fn BIO_ADDR_new() -> *mut c_void;
    fn BIO_ADDR_free(address: *mut c_void);
}

const SSL_CTRL_SET_MAX_CERT_LIST: c_int = 51;

/// Lets a fresh server session continue after a HelloVerifyRequest that was sent without it. Its
/// BIO must hold the datagram with the ClientHello that brings the cookie back. True when OpenSSL
/// finds the hello whole, and the session's callback the cookie good.
pub(super) fn listen<S>(stream: &mut SslStream<S>) -> bool {
    let ssl = stream.ssl();
    // SAFETY: takes nothing, and returns null or an address that is freed below.
    let client = unsafe { BIO_ADDR_new() };
    if client.is_null() {
        return false;
    }
    // SAFETY: the session is live and borrowed exclusively with its stream, and so is `client`.
    // OpenSSL reads the stream through its BIO and calls callbacks that do not touch the session.
    let listened = unsafe { DTLSv1_listen(ssl.as_ptr(), client) };
    // SAFETY: it came from `BIO_ADDR_new`, and nothing has kept it.
    unsafe { BIO_ADDR_free(client) };
    listened == 1
}

/// Keeps OpenSSL from repeating flights by the wall clock: whoever drives the session does that by
/// a clock of its own.
pub(super) fn stop_timer(ssl: &mut SslRef) {
    /// Microseconds of every timer: 71 minutes, which no handshake lives to see.
    unsafe extern "C" fn never(_: *mut sys::SSL, _: c_uint) -> c_uint {
        c_uint::MAX
    }
    // SAFETY: the session is live; the callback is a function that touches nothing.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), Some(never)) };
}

/// Lets the context choose groups for DHE that are as strong as its key.
pub(super) fn enable_dhe(context: &mut SslContextBuilder) {
    // SAFETY: the context is live and borrowed exclusively; the call sets a flag in it.
    unsafe { sys::SSL_CTX_set_dh_auto(context.as_ptr(), 1) };
}

/// Bounds what is reserved for one handshake message that comes in fragments, as far as OpenSSL
/// lets it: 17 KiB.
pub(super) fn bound_messages(context: &mut SslContextBuilder, bytes: u16) {
    let bytes = c_long::from(bytes);
    // SAFETY: the context is live and borrowed exclusively; the call sets a number in it.
    unsafe {
        sys::SSL_CTX_ctrl(context.as_ptr(), SSL_CTRL_SET_MAX_CERT_LIST, bytes, ptr::null_mut());
    }
}
