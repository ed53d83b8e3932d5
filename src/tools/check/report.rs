use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::Fault;
use super::fault::Weight;
use super::target::Target;
use crate::client::Uri;

/// What is looked at on a way, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Resolve,
    Reach,
    Tls,
    Certificate,
    Binding,
    Challenge,
    Authenticate,
    Allocate,
    Address,
    Permission,
    Channel,
    Data,
    Outside,
    Ipv6,
}

impl Stage {
    const fn label(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Reach => "reach",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Binding => "binding",
            Self::Challenge => "challenge",
            Self::Authenticate => "authenticate",
            Self::Allocate => "allocate",
            Self::Address => "address",
            Self::Permission => "permission",
            Self::Channel => "channel",
            Self::Data => "data",
            Self::Outside => "outside",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    Skipped,
    Fault(Fault),
}

/// One stage.
#[derive(Clone, Debug)]
struct Step {
    stage: Stage,
    verdict: Verdict,
    detail: String,
    took: Duration,
}

/// One way and what was found on it.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// As the URI calls the server.
    host: String,
    uri: String,
    /// Nothing, when the name has no address.
    pub(super) target: Option<Target>,
    steps: Vec<Step>,
}

impl Report {
    pub(super) fn of(target: &Target) -> Self {
        let uri = target.uri().to_string();
        Self { host: target.host.clone(), uri, target: Some(target.clone()), steps: Vec::new() }
    }

    /// The way ends before it begins.
    pub(super) fn nowhere(uri: &Uri, fault: Fault) -> Self {
        let mut report =
            Self { host: uri.host.clone(), uri: uri.to_string(), target: None, steps: Vec::new() };
        report.step(Stage::Resolve, Verdict::Fault(fault), String::new(), Duration::ZERO);
        report
    }

    pub(super) fn step(&mut self, stage: Stage, verdict: Verdict, detail: String, took: Duration) {
        self.steps.push(Step { stage, verdict, detail, took });
    }

    /// Puts another fault in the place of one that was found.
    pub(super) fn blame(&mut self, mut instead: impl FnMut(&Fault) -> Option<Fault>) {
        for step in &mut self.steps {
            if let Verdict::Fault(fault) = &step.verdict
                && let Some(other) = instead(fault)
            {
                step.verdict = Verdict::Fault(other);
            }
        }
    }

    /// Whether the last stage has failed with the fault of this name.
    pub(super) fn last_is(&self, name: &str) -> bool {
        matches!(self.steps.last(), Some(Step { verdict: Verdict::Fault(fault), .. }) if fault.name() == name)
    }

    /// Whether a stage has failed with the fault of this name.
    pub(super) fn found(&self, name: &str) -> bool {
        let is =
            |step: &Step| matches!(&step.verdict, Verdict::Fault(fault) if fault.name() == name);
        self.steps.iter().any(is)
    }

    /// Where the server sends its clients, by the same way.
    pub(super) fn next(&self) -> Option<Target> {
        let (place, domain) = self.steps.iter().find_map(|step| match &step.verdict {
            Verdict::Fault(Fault::Redirected(place, domain)) => Some((*place, domain.clone())),
            _ => None,
        })?;
        let it = self.target.clone()?;
        // RFC 8489 §14.16: it is there for the certificate alone.
        let host = domain.filter(|_| it.way.is_secure()).unwrap_or(it.host);
        Some(Target { host, address: place, record: None, beside: None, ..it })
    }

    /// Whether it is of a way to this address.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        self.target.as_ref().is_some_and(|it| it.address == address)
    }

    /// Whether it is of this very way.
    pub(super) fn is_of(&self, target: &Target) -> bool {
        let same = |it: &Target| {
            (it.way, it.address, it.relays) == (target.way, target.address, target.relays)
        };
        self.host == target.host && self.target.as_ref().is_some_and(same)
    }

    /// Whether TLS or DTLS was agreed on.
    pub(super) fn is_secured(&self) -> bool {
        self.steps.iter().any(|it| it.stage == Stage::Tls && it.verdict == Verdict::Fine)
    }

    /// Whether the server has answered at all.
    pub(super) fn answered(&self) -> bool {
        let answer = [Stage::Binding, Stage::Challenge];
        self.steps.iter().any(|it| answer.contains(&it.stage) && it.verdict == Verdict::Fine)
    }

    pub(super) fn works(&self) -> bool {
        let tried = self.steps.iter().any(|step| step.verdict != Verdict::Skipped);
        tried && !self.steps.iter().any(|step| step.word() == "FAIL")
    }

    /// How the way is called in the table.
    fn title(&self) -> String {
        match &self.target {
            Some(target) => {
                let family = if target.address.is_ipv4() { "IPv4" } else { "IPv6" };
                format!(
                    "{}  by {} and {family}, {}",
                    self.uri,
                    target.way.label().to_uppercase(),
                    target.address
                )
            }
            None => self.uri.clone(),
        }
    }

    fn json(&self) -> Value {
        let target = self.target.as_ref();
        json!({
            "uri": self.uri,
            "transport": target.map(|target| target.way.label()),
            "address": target.map(|target| target.address.to_string()),
            "works": self.works(),
            "stages": self.steps.iter().map(Step::json).collect::<Vec<_>>(),
        })
    }
}

impl Step {
    fn word(&self) -> &'static str {
        match &self.verdict {
            Verdict::Fine => "ok",
            Verdict::Skipped => "-",
            Verdict::Fault(fault) => match fault.weight() {
                Weight::Failed => "FAIL",
                Weight::Warning => "warn",
                Weight::Note => "note",
            },
        }
    }

    fn json(&self) -> Value {
        let status = match self.word() {
            "FAIL" => "failed",
            "-" => "skipped",
            word => word,
        };
        let mut value = json!({
            "stage": self.stage.label(),
            "status": status,
            "milliseconds": self.took.as_millis() as u64,
        });
        match &self.verdict {
            Verdict::Fault(fault) => {
                value["fault"] = fault.name().into();
                value["cause"] = fault.to_string().into();
                value["remedy"] = fault.remedy().into();
            }
            _ => value["detail"] = self.detail.as_str().into(),
        }
        value
    }
}

/// The table.
pub(super) fn page(reports: &[Report]) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    for report in reports {
        let _ = writeln!(page, "{}", report.title());
        for step in &report.steps {
            let (word, stage) = (step.word(), step.stage.label());
            match &step.verdict {
                Verdict::Fault(fault) => {
                    let _ = writeln!(page, "  {word:<5}{stage:<13}{}: {fault}.", fault.name());
                    let _ = writeln!(page, "       {:<13}{}", "", fault.remedy());
                }
                _ => {
                    let _ = writeln!(page, "  {word:<5}{stage:<13}{}", step.detail);
                }
            }
        }
        page.push('\n');
    }
    let works = reports.iter().filter(|report| report.works()).count();
    let _ = match (works, reports.len()) {
        (1, 1) => writeln!(page, "It works."),
        (0, 1) => writeln!(page, "It does not work."),
        (works, all) => writeln!(page, "{works} of {all} ways work."),
    };
    page
}

/// The same for scripts.
pub(super) fn json(reports: &[Report]) -> String {
    let works = reports.iter().filter(|report| report.works()).count();
    let ways: Vec<_> = reports.iter().map(Report::json).collect();
    format!("{}\n", json!({ "works": works, "of": reports.len(), "ways": ways }))
}
