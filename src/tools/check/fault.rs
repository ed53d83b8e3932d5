use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// How much a fault matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// This way does not work.
    Failed,
    /// It works, and somebody may be let down.
    Warning,
    /// It is only so.
    Note,
}

/// Whose silence it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tools) enum Blame {
    /// Datagrams get no answer.
    Udp,
    /// Connections are not made.
    Connect,
    /// On a connection that is made nothing comes.
    Answer,
}

/// Everything that can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tools) enum Fault {
    /// What the resolver says.
    NoName(String),
    NoFamily(&'static str),
    /// The record, and that its target has no address.
    SrvTarget(String, String),
    /// The service that there is not.
    SrvNone(String),
    /// The record, of a name that has no address itself.
    SrvAlone(String),
    PortClosed,
    NoRoute(String),
    Silent(Blame),
    UdpBlocked,
    /// Neither at the usual port nor at the one that is named for plain TURN.
    NotOffered {
        usual: u16,
        named: u16,
    },
    NotStun(String),
    HungUp,
    NotTls,
    TlsFailed(String),
    ApplicationProtocol,
    CertificateExpired,
    CertificateEarly,
    CertificateName,
    CertificateChain,
    CertificateRoot,
    CertificateSelfSigned,
    BindingRefused(u16, String),
    NoBinding,
    OpenRelay,
    NoTurn(u16, String),
    NoRealm,
    WrongRealm {
        expected: String,
        named: String,
    },
    RealmChanges {
        first: String,
        then: String,
    },
    UnknownUser,
    WrongPassword,
    WrongSecret,
    /// The server does not say which of the two it is.
    WrongCredentials,
    /// Seconds since it was good.
    Expired(u64),
    /// Credentials that are good for another hour are told to have expired.
    ClockAhead,
    Forged,
    StaleNonce,
    Quota(String),
    NoCapacity(String),
    /// And by which name in its certificate.
    Redirected(SocketAddr, Option<String>),
    /// To a server that does not work, or that sends back.
    Astray(SocketAddr),
    Refused(u16, String),
    RelayLoopback(IpAddr),
    RelayPrivate(IpAddr),
    RelayElsewhere {
        relay: IpAddr,
        server: IpAddr,
    },
    RelayUnexpected {
        relay: IpAddr,
        expected: IpAddr,
    },
    PeerDenied {
        peer: IpAddr,
        reason: String,
    },
    NoData,
    NoHairpin,
    /// After so many that came.
    DataEnd(u32),
    Loss {
        sent: u32,
        lost: u32,
    },
    RelayFirewalled(SocketAddr),
    RelayMute(SocketAddr),
    NoIpv6(String),
    /// This program's own trouble.
    Here(String),
}

impl Fault {
    /// Its name, for scripts: never changes.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::NoName(_) => "name-unresolved",
            Self::NoFamily(_) => "no-address",
            Self::SrvTarget(..) => "srv-target-unresolved",
            Self::SrvNone(_) => "srv-no-service",
            Self::SrvAlone(_) => "srv-only",
            Self::PortClosed => "port-closed",
            Self::NoRoute(_) => "unreachable",
            Self::Silent(_) => "no-answer",
            Self::UdpBlocked => "udp-blocked",
            Self::NotOffered { .. } => "not-offered",
            Self::NotStun(_) => "not-stun",
            Self::HungUp => "hung-up",
            Self::NotTls => "not-tls",
            Self::TlsFailed(_) => "tls-failed",
            Self::ApplicationProtocol => "alpn-refused",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateEarly => "certificate-not-yet-valid",
            Self::CertificateName => "certificate-wrong-name",
            Self::CertificateChain => "certificate-incomplete-chain",
            Self::CertificateRoot => "certificate-unknown-root",
            Self::CertificateSelfSigned => "certificate-self-signed",
            Self::BindingRefused(..) => "binding-refused",
            Self::NoBinding => "no-binding",
            Self::OpenRelay => "open-relay",
            Self::NoTurn(..) => "no-turn",
            Self::NoRealm => "no-realm",
            Self::WrongRealm { .. } => "wrong-realm",
            Self::RealmChanges { .. } => "realm-changes",
            Self::UnknownUser => "unknown-user",
            Self::WrongPassword => "wrong-password",
            Self::WrongSecret => "wrong-secret",
            Self::WrongCredentials => "wrong-credentials",
            Self::Expired(_) => "expired-credential",
            Self::ClockAhead => "clock-skew",
            Self::Forged => "forged-answer",
            Self::StaleNonce => "stale-nonce",
            Self::Quota(_) => "quota",
            Self::NoCapacity(_) => "no-capacity",
            Self::Redirected(..) => "redirected",
            Self::Astray(_) => "redirected-nowhere",
            Self::Refused(..) => "refused",
            Self::RelayLoopback(_) => "relay-loopback",
            Self::RelayPrivate(_) => "relay-private",
            Self::RelayElsewhere { .. } => "relay-elsewhere",
            Self::RelayUnexpected { .. } => "relay-unexpected",
            Self::PeerDenied { .. } => "peer-denied",
            Self::NoData => "no-data",
            Self::NoHairpin => "no-hairpin",
            Self::DataEnd(_) => "data-end",
            Self::Loss { .. } => "loss",
            Self::RelayFirewalled(_) => "relay-ports-firewalled",
            Self::RelayMute(_) => "relay-cannot-send",
            Self::NoIpv6(_) => "no-ipv6-relay",
            Self::Here(_) => "local",
        }
    }

    pub(super) const fn weight(&self) -> Weight {
        match self {
            Self::CertificateRoot
            | Self::SrvAlone(_)
            | Self::NoBinding
            | Self::RelayElsewhere { .. }
            | Self::RelayMute(_)
            | Self::Redirected(..) => Weight::Warning,
            Self::NoIpv6(_) => Weight::Note,
            Self::Loss { sent, lost } if *lost * 2 < *sent => Weight::Warning,
            _ => Weight::Failed,
        }
    }

    /// What to do about it, in one sentence.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::NoName(_) => "Check the spelling and the name's A and AAAA records.",
            Self::NoFamily(_) => "Add the record, or ask by the other family.",
            Self::SrvTarget(..) => {
                "Mend the SRV record's target, or give that name an address (no CNAME)."
            }
            Self::SrvNone(_) => "Replace the record, if there is such a service.",
            Self::SrvAlone(_) => {
                "Add an A or AAAA record at the host's own name: browsers do not look at SRV records."
            }
            Self::PortClosed => {
                "Is the server running, and does it listen on this address and port for this transport?"
            }
            Self::NoRoute(_) => "Check this host's own connection and route to the server.",
            Self::Silent(Blame::Udp) => {
                "Open the port for UDP in the firewall and in the cloud's security group, on the way in and back."
            }
            Self::Silent(Blame::Connect) => {
                "Open the port for TCP in the firewall and in the cloud's security group, and see that the server runs."
            }
            Self::Silent(Blame::Answer) => {
                "Is it the TURN server's port? A balancer in front may accept for a server that is gone."
            }
            Self::NotOffered { .. } => {
                "Nothing, if the server has no certificate: leave --all out. Else open the port in the firewall, or name the one that it has TLS on, as in turns:HOST:443."
            }
            Self::UdpBlocked => {
                "Open the port for UDP, not only for TCP; if it is this network that drops UDP, clients in it need turn: over TCP or turns: on port 443."
            }
            Self::NotStun(_) => {
                "Point the URI at the port of the TURN server; turns: is for TLS and turn: is not."
            }
            Self::HungUp => {
                "Is it the TURN server's port? The server's log may say why it closes: too many connections, or a proxy in front that expects something else."
            }
            Self::NotTls => {
                "Use turn: for this port, or the server's TLS port (usually 5349 or 443)."
            }
            Self::TlsFailed(_) => "See what the server logs about it.",
            Self::ApplicationProtocol => {
                "Let the server, or the proxy in front of it, accept the ALPN name stun.turn (RFC 7443), or none."
            }
            Self::CertificateExpired => {
                "Renew it, and see that the server has read the new one: many need a signal or a restart."
            }
            Self::CertificateEarly => {
                "Set this host's clock, or wait until the certificate is good."
            }
            Self::CertificateName => {
                "Use a name in the URI that is in the certificate, or have one issued for this name; browsers refuse it."
            }
            Self::CertificateChain => {
                "Give the server the full chain (fullchain.pem instead of cert.pem): leaf first, then the intermediates."
            }
            Self::CertificateRoot => {
                "Browsers will not connect: use a certificate of a public authority; for clients of your own, name your root with --ca."
            }
            Self::CertificateSelfSigned => {
                "Browsers refuse it without a word: use a certificate that an authority has issued."
            }
            Self::NoBinding => {
                "Nothing, unless clients use stun: with it as well (coturn: no-stun)."
            }
            Self::BindingRefused(..) => {
                "Let the server answer Binding requests: clients need them."
            }
            Self::OpenRelay => {
                "Close it at once (coturn: remove no-auth and set lt-cred-mech or use-auth-secret): strangers will send through it in your name."
            }
            Self::NoTurn(..) => {
                "Turn relaying on (coturn: stun-only and no-udp-relay must not be set)."
            }
            Self::NoRealm => {
                "Set the server's realm (coturn: realm=example.org): without one no client can make its key."
            }
            Self::WrongRealm { .. } => {
                "Set the realm on the server, or expect the one that it names."
            }
            Self::RealmChanges { .. } => {
                "Several servers seem to answer behind one address: give all of them one realm and keep a client on one of them."
            }
            Self::UnknownUser => "Add the user on the server, or mend the name.",
            Self::WrongPassword => {
                "Mend the password; with coturn, a key made for another realm fails just so."
            }
            Self::WrongSecret => {
                "Use the very secret that the server has (static-auth-secret, auth.secrets), without quotes or spaces around it."
            }
            Self::WrongCredentials => {
                "Check name, password and realm; for ephemeral credentials also the shared secret and both clocks. (Some servers, as pion, say 400 to wrong credentials.)"
            }
            Self::Expired(_) => {
                "Have the application mint a new one, and let pages fetch it just before a call."
            }
            Self::ClockAhead => {
                "Set the clocks of the server and of what mints credentials by NTP (timedatectl set-ntp true)."
            }
            Self::Forged => {
                "Look for something that rewrites STUN on the way (an ALG in a router), or for a second server that answers."
            }
            Self::StaleNonce => {
                "Several servers with different nonces seem to answer behind one address: keep a client on one of them."
            }
            Self::Quota(_) => {
                "Wait until old allocations end, or raise the quota (coturn: user-quota, total-quota; Turnwire: limits)."
            }
            Self::NoCapacity(_) => {
                "Give the server more relay ports or descriptors; it may also be draining: see its log."
            }
            Self::Redirected(..) => "Nothing, if that is meant: clients are to go there.",
            Self::Astray(_) => {
                "Mend the server there, or take it out of those that clients are sent to."
            }
            Self::Refused(..) => "See the server's log for this request.",
            Self::RelayLoopback(_) | Self::RelayPrivate(_) => {
                "Tell the server its public address (coturn: external-ip=PUBLIC/PRIVATE; Turnwire: relay.external or --external-ip)."
            }
            Self::RelayElsewhere { .. } => {
                "Nothing, if the server has both addresses; if data do not come back, its external address is wrong."
            }
            Self::RelayUnexpected { .. } => {
                "Mend the server's external address, or what is expected."
            }
            Self::PeerDenied { .. } => {
                "Nothing, if that peer is in your own network; otherwise allow it on the server (coturn: allowed-peer-ip; Turnwire: peers.allow)."
            }
            Self::NoData => {
                "The relayed address is probably not the server's: check its external address, and the firewall for the range of relay ports."
            }
            Self::NoHairpin => {
                "Two clients who both need the relay cannot talk: tell the server its public and its private address together (coturn: external-ip=PUBLIC/PRIVATE; Turnwire: relay.external), or let the router loop its public address back."
            }
            Self::DataEnd(_) => {
                "See the server's log for this session: a limit may be reached, or the server be gone."
            }
            Self::Loss { .. } => {
                "Look for a full line, a full CPU or small socket buffers on the server."
            }
            Self::RelayFirewalled(_) => {
                "Open the range of relay ports for UDP (49152-65535 unless set otherwise) in the firewall and in the cloud's security group."
            }
            Self::RelayMute(_) => {
                "Let the server send UDP from its relay ports; if this host is behind a strict firewall, try from another one."
            }
            Self::NoIpv6(_) => "Nothing, unless peers have IPv6 only.",
            Self::Here(_) => "See to it on this host.",
        }
    }
}

/// What is wrong, in one sentence.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::NoName(why) => return write!(f, "the name cannot be resolved: {why}"),
            Self::NoFamily(family) => return write!(f, "the name has no {family} address"),
            Self::SrvTarget(record, why) => {
                return write!(f, "an SRV record leads nowhere ({record}): {why}");
            }
            Self::SrvNone(service) => {
                return write!(f, "the SRV record of {service} says that there is no such service");
            }
            Self::SrvAlone(record) => {
                return write!(f, "the host has no address of its own, only {record}");
            }
            Self::PortClosed => "nothing listens there: the host refuses",
            Self::NoRoute(why) => return write!(f, "there is no way to the server: {why}"),
            Self::Silent(Blame::Udp) => "no answer to any datagram",
            Self::Silent(Blame::Connect) => "no connection, and no refusal either",
            Self::Silent(Blame::Answer) => "the connection is made, and nothing is answered",
            Self::NotOffered { usual, named } => {
                return write!(
                    f,
                    "it is neither at port {usual}, where it usually is, nor at {named}"
                );
            }
            Self::UdpBlocked => "no answer by UDP, while the same server answers by TCP",
            Self::NotStun(why) => return write!(f, "what answers there is no STUN server: {why}"),
            Self::HungUp => "the server closes the connection without an answer",
            Self::NotTls => "what the server speaks there is not TLS",
            Self::TlsFailed(why) => return write!(f, "TLS or DTLS fails: {why}"),
            Self::ApplicationProtocol => "the server refuses the ALPN name of TURN, stun.turn",
            Self::CertificateExpired => "the server's certificate has expired",
            Self::CertificateEarly => "the server's certificate is not good yet",
            Self::CertificateName => "the server's certificate is for other names",
            Self::CertificateChain => {
                "the server sends its certificate without the intermediate that vouches for it"
            }
            Self::CertificateRoot => {
                "nobody who is trusted here vouches for the server's certificate"
            }
            Self::CertificateSelfSigned => "the server's certificate is signed by itself",
            Self::BindingRefused(code, reason) => {
                return write!(f, "a Binding request is refused: {code} {reason}");
            }
            Self::NoBinding => "Binding requests are not answered",
            Self::OpenRelay => "the server relays for anybody, without credentials",
            Self::NoTurn(0, reason) => return write!(f, "the server does not relay: {reason}"),
            Self::NoTurn(code, reason) => {
                return write!(f, "the server does not relay: {code} {reason}");
            }
            Self::NoRealm => "the server asks for credentials and names no realm",
            Self::WrongRealm { expected, named } => {
                return write!(f, "the server's realm is {named:?} and not {expected:?}");
            }
            Self::RealmChanges { first, then } => {
                return write!(f, "the server names the realm {first:?}, and then {then:?}");
            }
            Self::UnknownUser => "the server does not know this user",
            Self::WrongPassword => "the password is wrong",
            Self::WrongSecret => "the server does not have this shared secret",
            Self::WrongCredentials => "the server does not know the user, or the password is wrong",
            Self::Expired(ago) => {
                return write!(f, "the credential has expired {} ago", ago_in_words(*ago));
            }
            Self::ClockAhead => {
                "credentials for an hour have expired for the server, and those for years have not: the clocks differ"
            }
            Self::Forged => "the answer is not signed by somebody who knows the password",
            Self::StaleNonce => "each nonce is refused as stale, the newest too",
            Self::Quota(reason) => return write!(f, "a quota is used up: {reason}"),
            Self::NoCapacity(reason) => return write!(f, "the server has no room: {reason}"),
            Self::Redirected(place, _) => {
                return write!(f, "the server sends its clients to {place}");
            }
            Self::Astray(place) => {
                return write!(f, "the server sends its clients to {place}, which leads nowhere");
            }
            Self::Refused(code, reason) => return write!(f, "refused: {code} {reason}"),
            Self::RelayLoopback(ip) => {
                return write!(f, "relays are at {ip}, which is every host's own");
            }
            Self::RelayPrivate(ip) => {
                return write!(f, "relays are at {ip}, which nobody outside can reach");
            }
            Self::RelayElsewhere { relay, server } => {
                return write!(
                    f,
                    "relays are at {relay}, while the server was reached at {server}"
                );
            }
            Self::RelayUnexpected { relay, expected } => {
                return write!(f, "relays are at {relay} and not at {expected}");
            }
            Self::PeerDenied { peer, reason } => {
                return write!(f, "the server does not relay to {peer}: {reason}");
            }
            Self::NoData => "an allocation is made and nothing comes through it",
            Self::NoHairpin => "one relay of the server does not reach another",
            Self::DataEnd(came) => {
                return write!(f, "after {came} packets to and fro nothing comes any more");
            }
            Self::Loss { sent, lost } => return write!(f, "{lost} of {sent} packets are lost"),
            Self::RelayFirewalled(relay) => {
                return write!(
                    f,
                    "what is sent to the relay at {relay} from outside does not arrive"
                );
            }
            Self::RelayMute(peer) => {
                return write!(f, "what the relay sends does not arrive outside, at {peer}");
            }
            Self::NoIpv6(why) => return write!(f, "there are no IPv6 relays: {why}"),
            Self::Here(why) => return f.write_str(why),
        };
        f.write_str(words)
    }
}

/// A time as people say it, in one unit.
fn ago_in_words(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_one_unit() {
        for (seconds, words) in [
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(ago_in_words(seconds), words);
        }
    }

    #[test]
    fn a_little_loss_is_a_warning_and_much_of_it_is_none() {
        assert_eq!(Fault::Loss { sent: 20, lost: 9 }.weight(), Weight::Warning);
        assert_eq!(Fault::Loss { sent: 20, lost: 10 }.weight(), Weight::Failed);
    }
}
