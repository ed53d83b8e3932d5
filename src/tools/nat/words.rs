use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::discover::{Behaviour, Found, Memory};

impl Behaviour {
    /// The RFCs' word for it (RFC 4787).
    const fn label(self) -> &'static str {
        match self {
            Self::Anybody => "endpoint-independent",
            Self::Address => "address-dependent",
            Self::AddressAndPort => "address-and-port-dependent",
        }
    }
}

impl Found {
    /// What this kind of NAT is often called (RFC 3489's words).
    const fn kind(&self) -> &'static str {
        match (self.nat, self.mapping, self.filtering) {
            (false, _, Some(Behaviour::Anybody)) => "no NAT and no firewall for UDP",
            (false, _, Some(_)) => "no NAT, and a firewall",
            (false, ..) => "no NAT",
            (true, Some(Behaviour::Anybody), Some(Behaviour::Anybody)) => "a full cone NAT",
            (true, Some(Behaviour::Anybody), Some(Behaviour::Address)) => "a restricted cone NAT",
            (true, Some(Behaviour::Anybody), Some(Behaviour::AddressAndPort)) => {
                "a port restricted cone NAT"
            }
            (true, Some(Behaviour::Anybody), None) => "a cone NAT",
            (true, Some(_), _) => "a symmetric NAT",
            (true, None, _) => "a NAT",
        }
    }

    /// Whether somebody here needs a relay to talk with somebody behind the same kind of NAT elsewhere.
    const fn twins_need_turn(&self) -> Option<bool> {
        match (self.nat, self.mapping, self.filtering) {
            (false, ..) | (true, Some(Behaviour::Anybody), _) => Some(false),
            // Neither can tell the other where to send to; who lets in anybody from an address may be lucky.
            (true, Some(_), Some(Behaviour::AddressAndPort)) => Some(true),
            (true, Some(_), Some(Behaviour::Anybody)) => Some(false),
            (true, Some(_), Some(Behaviour::Address)) => Some(false),
            (true, _, _) => None,
        }
    }

    fn meaning(&self) -> &'static str {
        match (self.twins_need_turn(), self.nat, self.mapping) {
            (Some(true), ..) => {
                "Two users behind NATs like this one cannot reach each other: they need TURN. With somebody \
                 behind a friendlier NAT it works without."
            }
            (Some(false), true, Some(Behaviour::Anybody)) => {
                "Two users behind NATs like this one reach each other directly, without TURN. With somebody behind \
                 a symmetric NAT, who is let in by address and port, TURN is needed."
            }
            (Some(false), true, _) => {
                "Two users behind NATs like this one mostly reach each other directly; where both outer ports \
                 change, TURN is needed now and then."
            }
            (Some(false), false, _) => {
                "Calls from here go direct, unless the other side's NAT or firewall is strict."
            }
            (None, ..) if self.other.is_some() => {
                "Whether two users behind NATs like this one need TURN takes a server whose second address answers to \
                 tell (RFC 5780): see to this one's."
            }
            (None, ..) => {
                "Whether two users behind NATs like this one need TURN takes a server with a second address to tell \
                 (RFC 5780; with Turnwire: --nat-alternate)."
            }
        }
    }
}

/// For people.
pub(super) fn page(found: &Found) -> String {
    let mut page = String::new();
    let mut line = |name: &str, text: String| {
        // Writing to a string does not fail.
        let _ = writeln!(page, "{name:<12}{text}");
    };
    line("server", found.server.to_string());
    line("here", found.local.to_string());
    line("seen as", found.mapped.to_string());
    let there = if found.nat { "this host is behind" } else { "there is" };
    line("so", format!("{there} {}", found.kind()));
    if let Some(mapping) = found.mapping.filter(|_| found.nat) {
        let text = match mapping {
            Behaviour::Anybody => "whoever it talks with sees the same outer port",
            Behaviour::Address => "each address that it talks with sees another outer port",
            Behaviour::AddressAndPort => {
                "each address and port that it talks with sees another outer port"
            }
        };
        line("mapping", format!("{}: {text}", mapping.label()));
    }
    if let Some(filtering) = found.filtering {
        let text = match filtering {
            Behaviour::Anybody => "anybody can send to an open port",
            Behaviour::Address => "only addresses that were sent to are let in",
            Behaviour::AddressAndPort => "only addresses and ports that were sent to are let in",
        };
        line("filtering", format!("{}: {text}", filtering.label()));
    }
    match found.hairpin {
        Some(true) => line(
            "hairpin",
            "yes: two users behind it reach each other by its outer address".to_owned(),
        ),
        Some(false) => line(
            "hairpin",
            "no: two users behind it reach each other by their inner addresses only".to_owned(),
        ),
        None => {}
    }
    if let Some(other) = found.other.filter(|_| found.mapping.is_none()) {
        line("and", format!("the server's second address {other} does not answer"));
    }
    match found.memory {
        Memory::Unasked => {}
        Memory::Untold(why) => line("memory", format!("not to be told: {why}")),
        Memory::Looked(known, forgotten) => line("memory", memory(known, forgotten)),
    }
    let _ = write!(page, "\n{}\n", found.meaning());
    page
}

fn memory(known: Duration, forgotten: Option<Duration>) -> String {
    match forgotten {
        Some(end) => format!(
            "a silent socket is forgotten after {} to {} s: keep-alives must come more often",
            known.as_secs(),
            end.as_secs(),
        ),
        None => format!("a silent socket is remembered for {} s and more", known.as_secs()),
    }
}

/// For scripts.
pub(super) fn json(found: &Found) -> String {
    let label = |behaviour: Option<Behaviour>| behaviour.map(Behaviour::label);
    let seconds = |time: Duration| Value::from(time.as_secs());
    let lifetime = match found.memory {
        Memory::Looked(known, forgotten) => {
            Some([seconds(known), forgotten.map_or(Value::Null, seconds)])
        }
        Memory::Unasked | Memory::Untold(_) => None,
    };
    let unknown = match found.memory {
        Memory::Untold(why) => Some(why),
        Memory::Unasked | Memory::Looked(..) => None,
    };
    let value = json!({
        "server": found.server.to_string(),
        "local": found.local.to_string(),
        "mapped": found.mapped.to_string(),
        "nat": found.nat,
        "kind": found.kind(),
        "second_address": found.other.is_some(),
        "second_address_answers": found.other.map(|_| found.mapping.is_some()),
        "mapping": label(found.mapping),
        "filtering": label(found.filtering),
        "hairpin": found.hairpin,
        "lifetime_seconds": lifetime,
        "lifetime_unknown": unknown,
        "two_such_need_turn": found.twins_need_turn(),
        "meaning": found.meaning(),
    });
    format!("{value}\n")
}
