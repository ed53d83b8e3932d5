//! `POST /2010-04-01/Accounts/{sid}/Tokens.json`: for applications that were written for Twilio's Network Traversal Service.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::admit::Presented;
use super::form::Form;
use super::key::basic;
use super::{Client, Credential, Problem, Shape, Web, json};

/// The account is a key's name, and its auth token the key's secret; a form may have `Ttl`.
pub(super) async fn tokens(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let settings = web.settings();
    let password = basic(&headers);
    let presented =
        Presented { secret: password.as_deref(), name: Some(&sid), challenge: Presented::BASIC };
    let key = web.admit(&settings, (&client, &headers), presented)?;
    let form = Form::of(None, body).map_err(|problem| web.malformed(problem))?;
    let credential = web.give(&settings, key, (form.get("Ttl"), None), Shape::Twilio)?;
    Ok(json(StatusCode::CREATED, &answer(&credential, &sid, &rfc2822(web.now().unix))))
}

/// Each URI has an entry of its own, with its older name beside the one of today.
fn answer(credential: &Credential<'_>, sid: &str, date: &str) -> Value {
    let Credential { username, password, ttl, uris } = credential;
    let server = |uri: &String| match Credential::is_relay(uri) {
        true => json!({ "url": uri, "urls": uri, "username": username, "credential": password }),
        false => json!({ "url": uri, "urls": uri }),
    };
    json!({
        "account_sid": sid,
        "date_created": date,
        "date_updated": date,
        "ice_servers": uris.iter().map(server).collect::<Vec<_>>(),
        "username": username,
        "password": password,
        "ttl": ttl.as_secs().to_string(),
    })
}

/// Seconds since 1970 as RFC 2822 §3.3 has it.
fn rfc2822(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (mut days, seconds) = (unix / 86_400, unix % 86_400);
    let weekday = DAYS[(days % 7) as usize];
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (day, month) = (days + 1, MONTHS[month]);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_in_letters() {
        // date -u -R -d @N
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_588_297_377, "Fri, 01 May 2020 01:42:57 +0000"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 +0000"),
        ] {
            assert_eq!(rfc2822(unix), text);
        }
    }
}
