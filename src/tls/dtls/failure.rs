//! OpenSSL's errors in the words of this room.

use openssl::error::ErrorStack;
use openssl::ssl;
use rustls::AlertDescription;

use crate::tls::{Cause, Failure};

/// OpenSSL's library number of TLS.
const LIBRARY: i32 = 20;
/// What OpenSSL adds to the number of an alert that the peer has sent.
const ALERT: i32 = 1000;
const LAST_ALERT: i32 = ALERT + 255;

/// What a handshake has failed of.
pub(super) fn of_handshake(error: &ssl::Error) -> Failure {
    match error.ssl_error() {
        Some(errors) => of(errors),
        // OpenSSL reports the end of the association so (close_notify in the middle).
        None => Failure::new(Cause::Cancelled),
    }
}

/// The same, of OpenSSL's queue of errors: the first has led to the others.
pub(super) fn of(errors: &ErrorStack) -> Failure {
    let errors = errors.errors();
    let ours = errors.iter().find(|error| error.library_code() == LIBRARY);
    let Some(error) = ours.or(errors.first()) else {
        return Failure::new(Cause::Internal);
    };
    let reason = if error.library_code() == LIBRARY { error.reason_code() } else { 0 };
    let told = |cause| Failure::told(cause, error.reason().unwrap_or("unknown").to_owned());
    match reason {
        NO_SHARED_CIPHER => Failure::new(Cause::NoSharedCipher),
        UNSUPPORTED_PROTOCOL
        | NO_PROTOCOLS_AVAILABLE
        | VERSION_TOO_LOW
        | WRONG_SSL_VERSION
        | WRONG_VERSION_NUMBER => Failure::new(Cause::NoSharedVersion),
        NO_SHARED_SIGNATURE_ALGORITHMS | NO_SUITABLE_SIGNATURE_ALGORITHM => {
            Failure::new(Cause::NoSharedSignature)
        }
        NO_SHARED_GROUPS | NO_SUITABLE_GROUPS => Failure::new(Cause::NoSharedGroup),
        NO_APPLICATION_PROTOCOL => Failure::new(Cause::NoSharedProtocol),
        ALERT..=LAST_ALERT => {
            let alert = AlertDescription::from(u8::try_from(reason - ALERT).unwrap_or(u8::MAX));
            match Cause::of_alert(alert) {
                Cause::OtherAlert => Failure::told(Cause::OtherAlert, format!("{alert:?}")),
                cause => Failure::new(cause),
            }
        }
        1..ALERT => told(Cause::Malformed),
        // Of another library, or common to all: memory, a key that cannot sign.
        _ => told(Cause::Internal),
    }
}

// From OpenSSL's sslerr.h, where they have not changed since 1.1.1.
const NO_SUITABLE_SIGNATURE_ALGORITHM: i32 = 118;
const NO_PROTOCOLS_AVAILABLE: i32 = 191;
const NO_SHARED_CIPHER: i32 = 193;
const NO_APPLICATION_PROTOCOL: i32 = 235;
const UNSUPPORTED_PROTOCOL: i32 = 258;
const WRONG_SSL_VERSION: i32 = 266;
const WRONG_VERSION_NUMBER: i32 = 267;
const NO_SUITABLE_GROUPS: i32 = 295;
const NO_SHARED_SIGNATURE_ALGORITHMS: i32 = 376;
const VERSION_TOO_LOW: i32 = 396;
const NO_SHARED_GROUPS: i32 = 410;
