//! What came out: text, JSON and JUnit's XML.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::case::{Case, Done, Stop};
use crate::text::printable;

/// One server and what came out.
pub(super) struct Report {
    pub(super) uri: String,
    pub(super) done: Vec<Done>,
    pub(super) took: Duration,
}

/// How many of each.
#[derive(Default)]
struct Totals {
    passed: usize,
    failed: usize,
    skipped: usize,
    unable: usize,
}

impl Report {
    /// Nothing has failed, and everything that is offered could be tried.
    pub(super) fn is_sound(&self) -> bool {
        let totals = self.totals();
        totals.failed + totals.unable == 0
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for done in &self.done {
            let counter = match &done.outcome {
                Ok(()) => &mut totals.passed,
                Err(Stop::Failed(_)) => &mut totals.failed,
                Err(Stop::Skipped(_)) => &mut totals.skipped,
                Err(Stop::Unable(_)) => &mut totals.unable,
            };
            *counter += 1;
        }
        totals
    }

    fn json(&self) -> Value {
        let totals = self.totals();
        json!({
            "uri": self.uri,
            "passed": totals.passed,
            "failed": totals.failed,
            "skipped": totals.skipped,
            "unable": totals.unable,
            "milliseconds": self.took.as_millis() as u64,
            "cases": self.done.iter().map(Done::json).collect::<Vec<_>>(),
        })
    }

    fn suite(&self) -> String {
        let (totals, mut text) = (self.totals(), String::new());
        let (name, all) = (escaped(&self.uri), self.done.len());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  <testsuite name=\"{name}\" tests=\"{all}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
            totals.failed,
            totals.unable,
            totals.skipped,
            self.took.as_secs_f64(),
        );
        for done in &self.done {
            let (case, seconds) = (done.case, done.took.as_secs_f64());
            let (name, class) = (escaped(case.name), escaped(&case.place()));
            let _ = write!(
                text,
                "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{seconds:.3}\""
            );
            let must = escaped(case.must);
            let _ = match &done.outcome {
                Ok(()) => writeln!(text, "/>"),
                Err(Stop::Skipped(why)) => {
                    writeln!(text, "><skipped message=\"{}\"/></testcase>", escaped(why))
                }
                Err(Stop::Failed(why)) => writeln!(
                    text,
                    "><failure message=\"{}\">{must}</failure></testcase>",
                    escaped(why)
                ),
                Err(Stop::Unable(why)) => {
                    writeln!(text, "><error message=\"{}\">{must}</error></testcase>", escaped(why))
                }
            };
        }
        text.push_str("  </testsuite>\n");
        text
    }
}

impl Done {
    const fn status(&self) -> &'static str {
        match &self.outcome {
            Ok(()) => "passed",
            Err(Stop::Failed(_)) => "failed",
            Err(Stop::Skipped(_)) => "skipped",
            Err(Stop::Unable(_)) => "unable",
        }
    }

    fn why(&self) -> Option<&str> {
        match &self.outcome {
            Ok(()) => None,
            Err(Stop::Failed(why) | Stop::Skipped(why) | Stop::Unable(why)) => Some(why),
        }
    }

    fn json(&self) -> Value {
        let mut value = about(self.case);
        value["status"] = self.status().into();
        value["milliseconds"] = (self.took.as_millis() as u64).into();
        if let Some(why) = self.why() {
            value["why"] = why.into();
        }
        value
    }
}

fn about(case: &Case) -> Value {
    json!({ "name": case.name, "rfc": case.rfc, "section": case.section, "must": case.must })
}

/// What there is, without a server.
pub(super) fn list(cases: &[&'static Case], as_json: bool) -> String {
    if as_json {
        let all: Vec<_> = cases.iter().map(|case| about(case)).collect();
        return format!("{}\n", Value::from(all));
    }
    let mut page = String::new();
    for case in cases {
        let _ = writeln!(page, "{:<34} {:<20} {}", case.name, case.place(), case.must);
    }
    let _ = writeln!(page, "{} cases", cases.len());
    page
}

/// The report for people.
pub(super) fn page(reports: &[Report]) -> String {
    let mut page = String::new();
    for report in reports {
        let _ = writeln!(page, "{}", report.uri);
        for done in &report.done {
            let case = done.case;
            let word = match &done.outcome {
                Ok(()) => "ok",
                Err(Stop::Failed(_)) => "FAIL",
                Err(Stop::Skipped(_)) => "-",
                Err(Stop::Unable(_)) => "????",
            };
            let _ = match (done.why(), &done.outcome) {
                (Some(why), Err(Stop::Skipped(_))) => {
                    writeln!(page, "  {word:<5}{:<34} {:<18} {why}", case.name, case.place())
                }
                (Some(why), _) => writeln!(
                    page,
                    "  {word:<5}{:<34} {:<18} {why}\n       {}",
                    case.name,
                    case.place(),
                    case.must
                ),
                (None, _) => writeln!(page, "  {word:<5}{:<34} {}", case.name, case.place()),
            };
        }
        let totals = report.totals();
        let _ = writeln!(
            page,
            "{} passed, {} failed, {} not offered, {} could not be tried; {:.1} s\n",
            totals.passed,
            totals.failed,
            totals.skipped,
            totals.unable,
            report.took.as_secs_f64()
        );
    }
    page
}

/// The same for scripts.
pub(super) fn json(reports: &[Report]) -> String {
    let servers: Vec<_> = reports.iter().map(Report::json).collect();
    format!("{}\n", json!({ "servers": servers }))
}

/// The same for what gathers test results.
pub(super) fn junit(reports: &[Report]) -> String {
    let suites: String = reports.iter().map(Report::suite).collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suites}</testsuites>\n")
}

/// For an attribute's value or a text in XML 1.0, which has no place for control characters.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_cannot_break_out_of_the_xml() {
        assert_eq!(escaped("a<b>\"&\u{1b}"), "a&lt;b&gt;&quot;&amp;\\u{1b}");
    }
}
