use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::{is_private, misplaced};
use super::dialogue::{Dialogue, Heard, Trouble};
use super::link::{Broken, Link};
use super::options::{Identity, Known, Start};
use super::peers;
use super::report::{Report, Stage, Verdict};
use super::target::{Target, Way};
use super::{Blame, Fault, Options};
use crate::client::{Credentials, Request};
use crate::stun::{Family, error_code};
use crate::tls::{Objection, Opinion, Probe};

/// What is asked for first, as browsers ask.
pub(super) const ALLOCATE: Request = Request::Allocate { family: None, lifetime: None };
/// Gives an allocation back.
pub(super) const DELETE: Request = Request::Refresh { lifetime: 0 };

/// One way, while it is walked.
pub(super) struct Walk<'a> {
    pub(super) target: &'a Target,
    pub(super) options: &'a Options,
    start: &'a Start,
    report: Report,
}

/// Goes through all stages of one way, as far as it leads.
pub(super) fn walk(target: Target, options: &Options, start: &Start) -> Report {
    let report = Report::of(&target);
    let mut walk = Walk { target: &target, options, start, report };
    // Each `None` is a stage that failed, with its fault in the report.
    let _ = walk.go();
    walk.report
}

impl Walk<'_> {
    fn go(&mut self) -> Option<()> {
        if let Some(record) = &self.target.record {
            self.stage(Stage::Resolve, |_| match record.alone {
                true => Err(Fault::SrvAlone(record.words.clone())),
                false => Ok(((), record.words.clone())),
            });
        }
        let link = self.reach()?;
        let mut dialogue = Dialogue::new(link, None);
        let answered = self.binding(&mut dialogue);
        if !self.target.relays {
            return answered;
        }
        // There are servers that answer no Binding (coturn: no-stun) and relay all the same.
        let silent = self.report.last_is("no-answer");
        if answered.is_none() && !silent {
            return None;
        }
        self.challenge(&mut dialogue, silent)?;
        let identity = self.start.identity.as_ref()?;
        let mut dialogue = self.allocate(dialogue, identity)?;
        self.address(&dialogue);
        peers::data(self, &mut dialogue);
        // It ends by itself otherwise.
        let _ = dialogue.ask(DELETE);
        self.ipv6();
        Some(())
    }

    /// Goes through a stage; nothing comes of one that fails.
    pub(super) fn stage<T>(
        &mut self,
        stage: Stage,
        go: impl FnOnce(&mut Self) -> Result<(T, String), Fault>,
    ) -> Option<T> {
        let begun = Instant::now();
        let result = go(self);
        let took = begun.elapsed();
        match result {
            Ok((value, detail)) => {
                self.report.step(stage, Verdict::Fine, detail, took);
                Some(value)
            }
            Err(fault) => {
                self.report.step(stage, Verdict::Fault(fault), String::new(), took);
                None
            }
        }
    }

    /// Notes a stage that cannot be gone through, and why.
    pub(super) fn skip(&mut self, stage: Stage, why: String) {
        self.report.step(stage, Verdict::Skipped, why, Duration::ZERO);
    }

    /// Whether a stage has failed with the fault of this name.
    pub(super) fn found(&self, name: &str) -> bool {
        self.report.found(name)
    }

    /// What was found at first proves to be something else.
    pub(super) fn blame(&mut self, instead: impl FnMut(&Fault) -> Option<Fault>) {
        self.report.blame(instead);
    }

    fn reach(&mut self) -> Option<Link> {
        let target = self.target;
        let way = target.way;
        let link = match way {
            // There is nothing to tell of a socket that is open.
            Way::Udp => match Link::udp(target.address) {
                Ok(link) => return Some(link),
                Err(broken) => self.stage(Stage::Reach, |_| Err(fault_of(broken, way)))?,
            },
            Way::Dtls => return self.secure_datagrams(),
            Way::Tcp | Way::Tls => self.stage(Stage::Reach, |_| {
                let begun = Instant::now();
                let link = Link::tcp(target.address).map_err(|broken| fault_of(broken, way))?;
                Ok((link, format!("connected in {}", milliseconds(begun.elapsed()))))
            })?,
        };
        if way == Way::Tls { self.secure(link) } else { Some(link) }
    }

    /// TLS, whatever certificate is shown: a bad one is a fault, and no reason to look no further.
    fn secure(&mut self, link: Link) -> Option<Link> {
        let probe = self.stage_probe()?;
        let link = self.stage(Stage::Tls, |_| {
            let client = probe.connect().map_err(|error| Fault::TlsFailed(error.to_string()))?;
            let link = link.secure(client).map_err(|broken| fault_of(broken, Way::Tls))?;
            let detail = agreed(&link, &probe);
            Ok((link, detail))
        })?;
        self.certificate(&probe);
        Some(link)
    }

    #[cfg(feature = "dtls")]
    fn secure_datagrams(&mut self) -> Option<Link> {
        let probe = self.stage_probe()?;
        let address = self.target.address;
        let host = self.target.host.clone();
        let link = self.stage(Stage::Tls, |_| {
            let client = crate::tls::dtls::Client::new(&host).map_err(Fault::TlsFailed)?;
            let link = Link::dtls(address, client).map_err(|broken| fault_of(broken, Way::Dtls))?;
            probe.look(&link.certificates());
            let detail = agreed(&link, &probe);
            Ok((link, detail))
        })?;
        self.certificate(&probe);
        Some(link)
    }

    #[cfg(not(feature = "dtls"))]
    fn secure_datagrams(&mut self) -> Option<Link> {
        self.skip(Stage::Tls, "this program was built without DTLS".to_owned());
        None
    }

    fn stage_probe(&mut self) -> Option<Probe> {
        let (host, ip) = (self.target.host.clone(), self.target.address.ip());
        match self.start.probes.of(Some(&host), ip) {
            Ok(probe) => Some(probe.speaking(&[b"stun.turn"])),
            Err(error) => {
                self.stage::<()>(Stage::Tls, |_| Err(Fault::Here(error.to_string())))?;
                None
            }
        }
    }

    fn certificate(&mut self, probe: &Probe) {
        let own = probe.shown().is_some_and(|shown| shown.self_signed);
        let alone = !own && probe.shown().is_some_and(|shown| shown.certificates == 1);
        let fault = match probe.opinion() {
            Opinion::Good => {
                let days = probe.shown().map_or(0, |shown| shown.days_left(self.start.unix));
                self.stage(Stage::Certificate, |_| Ok(((), format!("good for {days} more days"))));
                return;
            }
            Opinion::Doubtful(_) if own => Fault::CertificateSelfSigned,
            Opinion::Doubtful(_) if alone => Fault::CertificateChain,
            Opinion::Doubtful(_) => Fault::CertificateRoot,
            Opinion::Bad(dislike) => match dislike.objection() {
                Objection::Expired => Fault::CertificateExpired,
                Objection::Early => Fault::CertificateEarly,
                Objection::Name => Fault::CertificateName,
                Objection::Issuer if alone => Fault::CertificateChain,
                Objection::Issuer => Fault::CertificateRoot,
                // A certificate that is its own authority can be no server's, trusted or not.
                Objection::Other if own => Fault::CertificateSelfSigned,
                Objection::NotTls | Objection::Protocol | Objection::Other => {
                    Fault::TlsFailed(dislike.to_string())
                }
            },
        };
        self.stage::<()>(Stage::Certificate, |_| Err(fault));
    }

    fn binding(&mut self, dialogue: &mut Dialogue) -> Option<()> {
        let way = self.target.way;
        let asked = self.stage(Stage::Binding, |_| match dialogue.ask(Request::Binding) {
            Ok(took) => {
                let seen = dialogue.session().mapped().map_or(String::new(), |it| it.to_string());
                Ok((true, format!("you are {seen}, {}", milliseconds(took))))
            }
            Err(Trouble::Refused { code, reason }) => Err(Fault::BindingRefused(code, reason)),
            Err(trouble) => Err(trouble_of(trouble, way)),
        });
        // A refusal is an answer: the rest can be tried.
        (asked.is_some() || self.report.last_is("binding-refused")).then_some(())
    }

    /// The first Allocate, without credentials, which every server must refuse with a challenge.
    fn challenge(&mut self, dialogue: &mut Dialogue, silent: bool) -> Option<()> {
        let way = self.target.way;
        let asked = dialogue.ask(ALLOCATE);
        match &asked {
            // Neither: the one fault is enough.
            Err(Trouble::Silent) if silent => return None,
            _ if silent => {
                self.blame(|fault| matches!(fault, Fault::Silent(_)).then_some(Fault::NoBinding));
            }
            _ => {}
        }
        self.stage(Stage::Challenge, |walk| {
            let refused = match asked {
                Ok(_) => {
                    let _ = dialogue.ask(DELETE);
                    return Err(Fault::OpenRelay);
                }
                Err(Trouble::Refused { code, reason }) => (code, reason),
                // coturn's stun-only says nothing to an Allocate.
                Err(Trouble::Silent) => {
                    return Err(Fault::NoTurn(0, "Allocate is not answered".into()));
                }
                Err(trouble) => return Err(trouble_of(trouble, way)),
            };
            let heard = dialogue.heard();
            match refused {
                (error_code::UNAUTHENTICATED, _) => {}
                (error_code::TRY_ALTERNATE, reason) => {
                    return Err(elsewhere(heard).unwrap_or(Fault::Refused(300, reason)));
                }
                (code, reason) => return Err(Fault::NoTurn(code, reason)),
            }
            let Some(realm) = heard.realms.first().filter(|_| heard.nonce) else {
                return Err(Fault::NoRealm);
            };
            let named = realm.clone();
            if let Some(expected) = walk.options.realm.clone().filter(|it| *it != named) {
                return Err(Fault::WrongRealm { expected, named });
            }
            let software = heard.software.as_deref().map_or(String::new(), |it| format!(", {it}"));
            Ok(((), format!("realm {named:?}{software}")))
        })
    }

    /// The same with credentials: two stages, as a refusal may be for either.
    fn allocate(&mut self, dialogue: Dialogue, identity: &Identity) -> Option<Dialogue> {
        let way = self.target.way;
        let name = identity.credentials.username().to_owned();
        let mut dialogue = dialogue.known_as(Some(Arc::clone(&identity.credentials)));
        let refused = match dialogue.ask(ALLOCATE) {
            Ok(_) => None,
            Err(Trouble::Refused { code, reason }) => Some((code, reason)),
            Err(trouble) => {
                let fault = trouble_of(trouble, way);
                return self.stage(Stage::Authenticate, |_| Err(fault));
            }
        };
        self.stage(Stage::Authenticate, |walk| match &refused {
            Some((code, reason)) if is_about_credentials(*code) => {
                Err(walk.disbelief(*code, reason, &dialogue, identity))
            }
            _ => Ok(((), format!("as {name}"))),
        })?;
        self.stage(Stage::Allocate, |_| match refused {
            Some((code, reason)) => Err(no_allocation(code, reason, &dialogue)),
            None => {
                let relayed =
                    dialogue.session().relayed().map_or(String::new(), |it| it.to_string());
                let lifetime = dialogue.session().lifetime();
                Ok(((), format!("{relayed} for {lifetime} s")))
            }
        })?;
        Some(dialogue)
    }

    /// Which of the things that make a 401 it is.
    fn disbelief(&self, code: u16, reason: &str, dialogue: &Dialogue, who: &Identity) -> Fault {
        if code == error_code::STALE_NONCE {
            return Fault::StaleNonce;
        }
        if let Known::Ephemeral(expires) = who.kind
            && expires <= self.start.unix
        {
            return Fault::Expired(self.start.unix - expires);
        }
        if let [first, .., then] = dialogue.heard().realms.as_slice() {
            return Fault::RealmChanges { first: first.clone(), then: then.clone() };
        }
        let says = |word: &str| reason.to_lowercase().contains(word);
        match who.kind {
            _ if code == error_code::BAD_REQUEST => Fault::WrongCredentials,
            Known::Minted if self.takes_later(who) => Fault::ClockAhead,
            Known::Ephemeral(_) if says("expired") => Fault::ClockAhead,
            Known::Minted => Fault::WrongSecret,
            _ if says("unknown user") => Fault::UnknownUser,
            _ if says("password") => Fault::WrongPassword,
            _ => Fault::WrongCredentials,
        }
    }

    /// Whether the server takes what is good for years: then the secret is right, and a clock is not.
    fn takes_later(&self, who: &Identity) -> bool {
        let Ok(mut dialogue) = self.another(who.later.clone()) else {
            return false;
        };
        let taken = dialogue.ask(ALLOCATE).is_ok();
        if taken {
            let _ = dialogue.ask(DELETE);
        }
        taken
    }

    /// One more client at the same server.
    fn another(&self, credentials: Option<Arc<Credentials>>) -> Result<Dialogue, Fault> {
        let link = self.start.open(self.target)?;
        Ok(Dialogue::new(link, credentials))
    }

    /// One more client, with an allocation.
    pub(super) fn second(&self, request: Request) -> Result<Dialogue, Fault> {
        let identity = self.start.identity.as_ref();
        let credentials = identity.map(|identity| Arc::clone(&identity.credentials));
        let mut dialogue = self.another(credentials)?;
        match dialogue.ask(request) {
            Ok(_) => Ok(dialogue),
            Err(Trouble::Refused { code, reason }) => Err(no_allocation(code, reason, &dialogue)),
            Err(trouble) => Err(trouble_of(trouble, self.target.way)),
        }
    }

    fn address(&mut self, dialogue: &Dialogue) {
        let Some(relayed) = dialogue.session().relayed() else {
            return;
        };
        let (relay, server) = (relayed.ip(), self.target.address.ip());
        let expected = self.options.relay;
        self.stage(Stage::Address, |_| match misplaced(relay, server, expected) {
            Some(fault) => Err(fault),
            None if relay.is_loopback() => Ok(((), "this host alone can reach it".to_owned())),
            None if is_private(relay) => {
                Ok(((), "a private address: good for peers in its network".to_owned()))
            }
            None => Ok(((), "public".to_owned())),
        });
    }

    /// Whether there are relays for peers who have IPv6 only.
    fn ipv6(&mut self) {
        let request = Request::Allocate { family: Some(Family::V6), lifetime: None };
        self.stage(Stage::Ipv6, |walk| match walk.second(request) {
            Ok(mut dialogue) => {
                let relayed =
                    dialogue.session().relayed().map_or(String::new(), |it| it.to_string());
                let _ = dialogue.ask(DELETE);
                Ok(((), relayed))
            }
            Err(fault) => Err(Fault::NoIpv6(fault.to_string())),
        });
    }
}

const fn is_about_credentials(code: u16) -> bool {
    matches!(
        code,
        error_code::UNAUTHENTICATED
            | error_code::STALE_NONCE
            | error_code::WRONG_CREDENTIALS
            // pion says so of a wrong password; the same request was fine but for its credentials.
            | error_code::BAD_REQUEST
    )
}

/// Why there is no allocation for somebody who is believed.
fn no_allocation(code: u16, reason: String, dialogue: &Dialogue) -> Fault {
    match code {
        error_code::TRY_ALTERNATE => {
            elsewhere(dialogue.heard()).unwrap_or(Fault::Refused(code, reason))
        }
        error_code::ALLOCATION_QUOTA_REACHED => Fault::Quota(reason),
        error_code::INSUFFICIENT_CAPACITY => Fault::NoCapacity(reason),
        _ => Fault::Refused(code, reason),
    }
}

fn elsewhere(heard: &Heard) -> Option<Fault> {
    heard.alternate.clone().map(|(place, domain)| Fault::Redirected(place, domain))
}

/// What a dead way means.
pub(super) fn trouble_of(trouble: Trouble, way: Way) -> Fault {
    match trouble {
        Trouble::Silent if way.is_stream() => Fault::Silent(Blame::Answer),
        Trouble::Silent => Fault::Silent(Blame::Udp),
        Trouble::Forged => Fault::Forged,
        Trouble::Refused { code, reason } => Fault::Refused(code, reason),
        Trouble::Incomplete(what) => Fault::NotStun(format!("an answer without {what}")),
        Trouble::Broken(broken) => fault_of(broken, way),
    }
}

pub(super) fn fault_of(broken: Broken, way: Way) -> Fault {
    let silent = |stream| Fault::Silent(if way.is_stream() { stream } else { Blame::Udp });
    match broken {
        Broken::Closed => Fault::HungUp,
        Broken::Foreign(why) => Fault::NotStun(why),
        // A connection comes before the handshake.
        Broken::Slow => silent(Blame::Answer),
        Broken::Tls(dislike) => match dislike.objection() {
            Objection::NotTls => Fault::NotTls,
            Objection::Protocol => Fault::ApplicationProtocol,
            _ => Fault::TlsFailed(dislike.to_string()),
        },
        Broken::System(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Fault::PortClosed,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => silent(Blame::Connect),
            _ => Fault::NoRoute(error.to_string()),
        },
    }
}

fn agreed(link: &Link, probe: &Probe) -> String {
    let version = link.version().unwrap_or("TLS");
    let protocol = link.protocol().map_or(String::new(), |name| format!(", ALPN {name}"));
    let sent = probe.shown().map_or(0, |shown| shown.certificates);
    format!("{version}{protocol}, {sent} certificate{}", if sent == 1 { "" } else { "s" })
}

pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
