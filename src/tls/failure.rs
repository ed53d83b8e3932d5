//! What went wrong with a client's TLS, in words: what was seen, and what an operator can do.

use std::fmt;

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

/// Why a session has failed: typed for the metrics, in words for the log.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind it is.
    pub cause: Cause,
    /// What rustls or the client said exactly, where the cause alone does not tell.
    detail: Option<String>,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// The client says `unknown_ca`.
    UnknownCa,
    /// The client says `bad_certificate`.
    BadCertificate,
    /// The client says `certificate_unknown`, which can mean anything.
    CertificateRejected,
    /// The client says `certificate_expired`.
    CertificateExpired,
    /// The client says `certificate_revoked`.
    CertificateRevoked,
    /// The client says `unsupported_certificate`.
    UnsupportedCertificate,
    /// The client says `unrecognized_name`.
    UnrecognizedName,
    /// The client says `handshake_failure` or `insufficient_security`.
    ClientHandshakeFailure,
    /// The client says `protocol_version` or `inappropriate_fallback`.
    ClientVersion,
    /// The client says `user_canceled`.
    Cancelled,
    /// The client sends another alert.
    OtherAlert,
    /// No version of TLS in common.
    NoSharedVersion,
    /// No cipher suite in common.
    NoSharedCipher,
    /// The client takes no signature that a key here can make.
    NoSharedSignature,
    /// No group for the key exchange in common.
    NoSharedGroup,
    /// The client wants other application protocols only (ALPN).
    NoSharedProtocol,
    /// What came is not TLS.
    NotTls,
    /// It is TLS, and broken.
    Malformed,
    /// The client has left in the middle of the handshake without a word.
    LeftSilently,
    /// Asked of a session that is over.
    Over,
    /// Our own fault.
    Internal,
}

impl Cause {
    /// All of them, in the order of [`Self::index`].
    pub const ALL: [Self; 21] = [
        Self::UnknownCa,
        Self::BadCertificate,
        Self::CertificateRejected,
        Self::CertificateExpired,
        Self::CertificateRevoked,
        Self::UnsupportedCertificate,
        Self::UnrecognizedName,
        Self::ClientHandshakeFailure,
        Self::ClientVersion,
        Self::Cancelled,
        Self::OtherAlert,
        Self::NoSharedVersion,
        Self::NoSharedCipher,
        Self::NoSharedSignature,
        Self::NoSharedGroup,
        Self::NoSharedProtocol,
        Self::NotTls,
        Self::Malformed,
        Self::LeftSilently,
        Self::Over,
        Self::Internal,
    ];
    /// How many there are for the metrics.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place among the metrics' labels: 0 to [`Self::COUNT`] - 1.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The metric label and log word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnknownCa => "unknown_ca",
            Self::BadCertificate => "bad_certificate",
            Self::CertificateRejected => "certificate_rejected",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateRevoked => "certificate_revoked",
            Self::UnsupportedCertificate => "unsupported_certificate",
            Self::UnrecognizedName => "unrecognized_name",
            Self::ClientHandshakeFailure => "client_handshake_failure",
            Self::ClientVersion => "client_version",
            Self::Cancelled => "cancelled",
            Self::OtherAlert => "other_alert",
            Self::NoSharedVersion => "no_shared_version",
            Self::NoSharedCipher => "no_shared_cipher",
            Self::NoSharedSignature => "no_shared_signature",
            Self::NoSharedGroup => "no_shared_group",
            Self::NoSharedProtocol => "no_shared_protocol",
            Self::NotTls => "not_tls",
            Self::Malformed => "malformed",
            Self::LeftSilently => "left_silently",
            Self::Over => "over",
            Self::Internal => "internal",
        }
    }

    /// What has happened.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::UnknownCa => {
                "the client does not trust who signed the certificate (alert unknown_ca)"
            }
            Self::BadCertificate => "the client refuses the certificate (alert bad_certificate)",
            Self::CertificateRejected => {
                "the client refuses the certificate for a reason of its own (alert \
                 certificate_unknown)"
            }
            Self::CertificateExpired => {
                "the client finds the certificate out of date (alert certificate_expired)"
            }
            Self::CertificateRevoked => {
                "the client knows that the certificate was revoked (alert certificate_revoked)"
            }
            Self::UnsupportedCertificate => {
                "the client cannot use this kind of certificate (alert unsupported_certificate)"
            }
            Self::UnrecognizedName => {
                "the certificate is not for the name that the client wants (alert \
                 unrecognized_name)"
            }
            Self::ClientHandshakeFailure => {
                "the client accepts none of what was agreed on (alert handshake_failure)"
            }
            Self::ClientVersion => {
                "the client refuses this version of TLS (alert protocol_version)"
            }
            Self::Cancelled => "the client has changed its mind (alert user_canceled)",
            Self::OtherAlert => "the client has ended the session with an alert",
            Self::NoSharedVersion => "the client offers no version of TLS that is enabled here",
            Self::NoSharedCipher => "the client offers no cipher suite that is good enough",
            Self::NoSharedSignature => "the client accepts no signature that a key here can make",
            Self::NoSharedGroup => "the client offers no group for the key exchange that is known",
            Self::NoSharedProtocol => {
                "the client wants another application protocol than this listener serves (ALPN)"
            }
            Self::NotTls => "what the client sends is not TLS",
            Self::Malformed => "the client breaks the rules of TLS",
            Self::LeftSilently => {
                "the client has left in the middle of the handshake without a word"
            }
            Self::Over => "the session is over",
            Self::Internal => "TLS has failed on this side",
        }
    }

    /// What to look at; empty where nothing is to be done.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::UnknownCa => {
                "the certificate file must have the intermediates behind the leaf (fullchain.pem; \
                 turnwire check-config tells), and the client must have the root: one of your own \
                 has to be installed there, and libwebrtc carries a short list of its own"
            }
            Self::BadCertificate | Self::CertificateRejected | Self::LeftSilently => {
                "usual reasons: the certificate has not the name or address in the client's URI, \
                 intermediates are missing, the root is unknown there, or it has expired"
            }
            Self::CertificateExpired => "renew it, or set the client's clock",
            Self::CertificateRevoked => "get a new certificate",
            Self::UnsupportedCertificate => {
                "it must be for servers (extended key usage serverAuth), with an RSA or P-256 key \
                 for old clients"
            }
            Self::UnrecognizedName => {
                "use a name in the client's URI that is among the certificate's subject \
                 alternative names, or add a certificate for it"
            }
            Self::ClientHandshakeFailure | Self::NoSharedCipher | Self::NoSharedGroup => {
                "the client is old or restricted: it needs ECDHE with AES-GCM or \
                 ChaCha20-Poly1305"
            }
            Self::NoSharedSignature => {
                "an old client may know RSA alone: give an RSA certificate beside the ECDSA one"
            }
            Self::ClientVersion | Self::NoSharedVersion => {
                "TLS 1.2 and 1.3 and DTLS 1.2 exist here; tls.min_version may have turned TLS 1.2 off, \
                 and clients with TLS 1.1 or DTLS 1.0 at most cannot be served"
            }
            Self::NoSharedProtocol => {
                "TURN clients name stun.turn or nothing, and Firefox behind a proxy http/1.1"
            }
            Self::NotTls => {
                "plain TURN goes to another port: turn: and turns: may be mixed up in its URI"
            }
            Self::Cancelled | Self::OtherAlert | Self::Malformed | Self::Over | Self::Internal => {
                ""
            }
        }
    }

    pub(super) const fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA => Self::UnknownCa,
            AlertDescription::BadCertificate => Self::BadCertificate,
            AlertDescription::CertificateUnknown => Self::CertificateRejected,
            AlertDescription::CertificateExpired => Self::CertificateExpired,
            AlertDescription::CertificateRevoked => Self::CertificateRevoked,
            AlertDescription::UnsupportedCertificate => Self::UnsupportedCertificate,
            AlertDescription::UnrecognisedName => Self::UnrecognizedName,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                Self::ClientHandshakeFailure
            }
            AlertDescription::ProtocolVersion | AlertDescription::InappropriateFallback => {
                Self::ClientVersion
            }
            AlertDescription::UserCanceled => Self::Cancelled,
            _ => Self::OtherAlert,
        }
    }

    const fn of_incompatible(what: &PeerIncompatible) -> Self {
        match what {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // What has no such extension is older than TLS 1.2.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::NoSharedVersion,
            PeerIncompatible::NoSignatureSchemesInCommon => Self::NoSharedSignature,
            PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoEcPointFormatsInCommon
            | PeerIncompatible::NamedGroupsExtensionRequired => Self::NoSharedGroup,
            PeerIncompatible::NoCipherSuitesInCommon => Self::NoSharedCipher,
            _ => Self::Malformed,
        }
    }

    const fn of(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::PeerIncompatible(what) => Self::of_incompatible(what),
            Error::NoApplicationProtocol => Self::NoSharedProtocol,
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::General(_)
            | Error::FailedToGetCurrentTime
            | Error::FailedToGetRandomBytes
            | Error::HandshakeNotComplete
            | Error::EncryptError => Self::Internal,
            _ => Self::Malformed,
        }
    }
}

impl Failure {
    /// Of this kind, with nothing to add.
    pub const fn new(cause: Cause) -> Self {
        Self { cause, detail: None }
    }

    /// Who has spoken TLS before does not merely speak something else.
    pub(super) fn of_a_peer(self) -> Self {
        match self.cause {
            Cause::NotTls => Self {
                cause: Cause::Malformed,
                detail: Some("a record of an unknown kind or version".to_owned()),
            },
            _ => self,
        }
    }

    /// With what was said exactly.
    #[cfg(feature = "dtls")]
    pub(super) const fn told(cause: Cause, detail: String) -> Self {
        Self { cause, detail: Some(detail) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = Cause::of(&error);
        let detail = match (cause, &error) {
            (Cause::OtherAlert, Error::AlertReceived(alert)) => Some(format!("{alert:?}")),
            (Cause::Malformed | Cause::Internal, error) => Some(error.to_string()),
            _ => None,
        };
        Self { cause, detail }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.meaning())?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        match self.cause.hint() {
            "" => Ok(()),
            hint => write!(f, "; {hint}"),
        }
    }
}

impl std::error::Error for Failure {}
