/// What is to be known about a cause, whatever the request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The metric label and log word.
    pub label: &'static str,
    /// The error code of the response.
    pub code: u16,
    /// What it means, in short.
    pub phrase: &'static str,
    /// What the operator may do about it, in one sentence.
    pub hint: &'static str,
}

const fn entry(label: &'static str, code: u16, phrase: &'static str, hint: &'static str) -> Entry {
    Entry { label, code, phrase, hint }
}

const OWN_MISTAKE: &str = "A mistake of the client's software: look for a newer version of it.";
const HOSTILE: &str =
    "Nobody's client does this by itself: something between alters packets, or somebody is trying.";

/// In the order of [`super::Cause::index`].
pub(super) const TABLE: [Entry; 57] = [
    entry(
        "challenge",
        401,
        "Unauthenticated",
        "Normal: every client's first request is answered so, with the realm and a nonce; a client that never comes \
         back with a user name has no credentials in its iceServers.",
    ),
    entry(
        "wrong_realm",
        401,
        "wrong realm",
        "The client has its realm from another server or from before a change: it asks anew by itself; if it does \
         not, its realm is set by hand and must be auth.realm.",
    ),
    entry(
        "unknown_user",
        401,
        "unknown user",
        "Compare the user name in iceServers with [auth.users]; names like 1700000000:alice need a shared secret \
         here (auth.secrets).",
    ),
    entry(
        "wrong_password",
        401,
        "wrong password",
        "The password in iceServers is not this user's in [auth.users]: compare them, and mind spaces and the realm \
         that a stored key was made for.",
    ),
    entry(
        "expired_credential",
        401,
        "the credential has expired (or a clock is wrong)",
        "The application gave the credential too short a time, or its page was open longer; if that is not it, compare \
         the clocks of this server and of the application.",
    ),
    entry(
        "stale_nonce",
        438,
        "Stale Nonce",
        "Normal: nonces end after auth.nonce_lifetime and with a restart, and the client repeats its request with the \
         new one.",
    ),
    entry("incomplete_credential", 400, "USERNAME, REALM or NONCE is missing", OWN_MISTAKE),
    entry("bid_down", 400, "password algorithms differ from those offered", HOSTILE),
    entry("malformed", 400, "an attribute is malformed", OWN_MISTAKE),
    entry("missing_attribute", 400, "a required attribute is missing", OWN_MISTAKE),
    entry("contradiction", 400, "these attributes exclude each other", OWN_MISTAKE),
    entry(
        "channel_range",
        400,
        "channel numbers are 0x4000 to 0x4FFF",
        "Clients of the older RFC 5766 use numbers up to 0x7FFF: turn.rfc5766_channels admits them.",
    ),
    entry(
        "channel_conflict",
        400,
        "the channel or the peer is bound already",
        "A client may bind a channel to another peer only 5 minutes after its end (RFC 8656 §12): a mistake of its \
         software.",
    ),
    entry(
        "peer_denied",
        403,
        "peer denied",
        "Normal for private addresses if another candidate pair works: browsers offer all that they have; to relay \
         there, name the prefix in peers.allow (--allow-peer). No rule opens the server's own listeners.",
    ),
    entry("unknown_attribute", 420, "Unknown Attribute", OWN_MISTAKE),
    entry(
        "no_allocation",
        437,
        "there is no allocation",
        "It has ended (not refreshed in time, or the server was restarted), or the client's NAT has given it a new \
         port; the client has to allocate anew.",
    ),
    entry(
        "allocation_exists",
        437,
        "there is an allocation already",
        "The client has used this address and port before and not deleted its allocation: it goes on from another \
         port, or when the old one ends.",
    ),
    entry(
        "family_not_supported",
        440,
        "Address Family not Supported",
        "The client wants a relay address of a family that relay.addresses has none of; add one, or let the client ask \
         for the other.",
    ),
    entry(
        "wrong_user",
        441,
        "the allocation belongs to another user",
        "Another user's credentials came from the same address and port: an application that changed its user must \
         use a new socket.",
    ),
    entry(
        "transport_not_supported",
        442,
        "Unsupported Transport Protocol",
        "REQUESTED-TRANSPORT is neither UDP nor, with turn.tcp_allocations, TCP.",
    ),
    entry(
        "peer_family",
        443,
        "the allocation has no address of the peer's family",
        "Normal for the candidates of the other family; browsers ask for IPv4 only, so IPv6 peers are not reached \
         through the relay.",
    ),
    entry(
        "user_quota",
        486,
        "the user has too many allocations",
        "limits.allocations_per_user: each tab, call and network interface takes one or two; an application that \
         names all its users alike shares one quota.",
    ),
    entry(
        "address_quota",
        486,
        "the client's address has too many allocations",
        "limits.allocations_per_address: an office or a mobile network behind one address may need more; limits.exempt \
         names those.",
    ),
    entry(
        "total_quota",
        486,
        "the server has too many allocations",
        "limits.allocations: raise it if these are real users and the machine has room for more.",
    ),
    entry(
        "no_port",
        508,
        "no relay port is free",
        "Widen relay.ports (--relay-ports), and the firewall's range with it; each allocation needs a port for each \
         family.",
    ),
    entry(
        "bad_reservation",
        508,
        "the reservation token is not valid",
        "A token is good once, for 30 seconds and for the same user (RFC 8656 §7.2).",
    ),
    entry(
        "no_socket",
        508,
        "the server is out of sockets",
        "Raise the limit of open files (LimitNOFILE in the unit), or the relay address is none of this host's any \
         more.",
    ),
    entry(
        "permission_limit",
        508,
        "the allocation has too many permissions",
        "limits.permissions: only a client that talks to very many peers needs more.",
    ),
    entry(
        "channel_limit",
        508,
        "the allocation has too many channels",
        "limits.channels: only a client that talks to very many peers needs more.",
    ),
    entry("classic_over_dtls", 500, "RFC 3489 is not spoken over DTLS", OWN_MISTAKE),
    entry(
        "mobility_forbidden",
        405,
        "Mobility Forbidden",
        "turn.mobility lets clients take their allocations along to another address; without it they allocate anew.",
    ),
    entry("bad_ticket", 400, "the mobility ticket is not valid", HOSTILE),
    entry(
        "used_ticket",
        400,
        "the mobility ticket has been used",
        "Each move brings a new ticket: the client has missed an answer, or somebody repeats what it said.",
    ),
    entry(
        "same_address",
        400,
        "the client has not moved: refresh without the mobility ticket",
        OWN_MISTAKE,
    ),
    entry(
        "lost_allocation",
        437,
        "the mobility ticket's allocation has ended",
        "The client came back after its allocation's lifetime: it has to allocate anew.",
    ),
    entry(
        "busy",
        508,
        "the server is too busy for this now",
        "A worker's mailbox is full: the server has more to do than it can; look at its load and at turnwire_drops_total.",
    ),
    entry(
        "needs_stream",
        400,
        "TCP is relayed for clients on TCP or TLS only",
        "RFC 6062 wants the client on TCP or TLS: a turn: URI with ?transport=tcp, or turns:.",
    ),
    entry(
        "unknown_connection",
        400,
        "no connection waits under this CONNECTION-ID",
        "A client must bind a peer's connection within 30 seconds and with the same user (RFC 6062 §5.4).",
    ),
    entry("wrong_protocol", 437, "not what this allocation relays (UDP or TCP)", OWN_MISTAKE),
    entry("connection_exists", 446, "Connection Already Exists", OWN_MISTAKE),
    entry(
        "connect_timeout",
        447,
        "the peer did not answer in time",
        "The peer is off or its firewall drops: try to reach it from this host.",
    ),
    entry(
        "connect_failed",
        447,
        "the peer refused, or cannot be reached",
        "Nothing listens there, or this host has no route: try to reach it from this host.",
    ),
    entry(
        "connection_quota",
        486,
        "the user has too many connections with peers",
        "limits.connections_per_user: raise it if these are real users.",
    ),
    entry(
        "connection_limit",
        508,
        "the allocation has too many connections with peers",
        "limits.connections: raise it if these are real users.",
    ),
    entry(
        "unknown_token_key",
        401,
        "no key of this kid is valid for access tokens here",
        "The kid in USERNAME is none of [auth.tokens], or its key's time is over.",
    ),
    entry(
        "bad_token",
        401,
        "the access token was not sealed for this server",
        "The authorization server seals with another key, or for another server name than auth.tokens has.",
    ),
    entry(
        "expired_token",
        401,
        "the access token has expired (or a clock is wrong)",
        "The client has to get a new one; if that is not it, compare the clocks of this server and of the \
         authorization server.",
    ),
    entry(
        "wrong_session_key",
        401,
        "the request is not signed with the access token's key",
        "The client signs with another key than the authorization server put into its token.",
    ),
    entry(
        "unexpected_token",
        420,
        "access tokens are not taken here",
        "The client brings an access token (RFC 7635), and no key for them is configured.",
    ),
    entry(
        "try_alternate",
        300,
        "Try Alternate",
        "Normal: [redirect] sends clients to another server, which is named in the answer.",
    ),
    entry(
        "draining",
        508,
        "the server is about to end: no new allocations",
        "Normal during a drain: clients find another server, or this one when it has started again; [redirect] would \
         name one.",
    ),
    entry(
        "wrong_secret",
        401,
        "the password was not made with a shared secret of this server",
        "The application's secret is none of auth.secrets, or it hashes with something else than auth.digests \
         has, or the name was changed after the password was made.",
    ),
    entry(
        "store_unavailable",
        500,
        "it cannot be looked up who you are: try again",
        "No store of [stores.ask] can say whether there is such a user: the log says why, once a minute, and \
         users who are known go on.",
    ),
    entry(
        "only_md5",
        438,
        "stores may have MD5 keys only: try again without SHA-256",
        "Normal where stores keep MD5 keys: the client goes on with MD5 and is let in, or told what is wrong. A name that \
         nobody has is told the same, so that nobody finds out by it who is there. It costs one round trip, which \
         auth.sha256 = false spares where the stores keep MD5 keys only, as coturn's databases do.",
    ),
    entry(
        "realm_quota",
        486,
        "the realm has too many allocations",
        "limits.allocations of its [[realm]]: raise it if these are real users.",
    ),
    entry(
        "revoked_credential",
        401,
        "the credential was taken back",
        "An operator has revoked this user (turnwire revoke); turnwire revoke --list tells until when, and --undo lets \
         it in again.",
    ),
    entry(
        "store_wait",
        500,
        "too many wait to be looked up: try again",
        "More requests of users who are not known wait for [stores.ask] than may (512 at one worker, 64 of one client \
         address): a store is slow (turnwire_store_answer_seconds), or somebody tries names; clients come in when they \
         try again.",
    ),
];
