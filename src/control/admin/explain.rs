//! One client followed live, as lines of JSON.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

use super::Admin;
use super::query::Query;
use super::token::Pass;
use crate::control::heard;
use crate::turn::{FOLLOWERS, Prefix, Whom};
use crate::web::{Problem, head};
use crate::worker::Follower;

/// How long somebody is followed unless another time is asked for, and at most, in seconds.
const USUAL: u64 = 600;
const LONGEST: u64 = 86_400;
/// An empty line goes out so often: the connection is alive, and whoever has gone is noticed.
const BEAT: Duration = Duration::from_secs(5);

/// `GET /v1/explain`
pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    pass: Option<Extension<Pass>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(raw.as_deref(), &["user", "address", "realm", "for_seconds"])?;
    let address =
        query.parsed("address", "an IP address or a CIDR", |it| it.parse::<Prefix>().ok());
    let text = |name| query.text(name).map(str::to_owned);
    let whom = Whom { user: text("user"), address: address?, realm: text("realm") };
    if whom == Whom::default() {
        return Err(Problem::bad("say whom to follow: by user, address or realm"));
    }
    let form = format!("a number of seconds up to {LONGEST}");
    let time = query.parsed("for_seconds", &form, |text| {
        text.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds))
    })?;
    let seconds = time.unwrap_or(USUAL);
    let Some(follower) = admin.followers.follow(whom.clone()) else {
        let detail = format!("{FOLLOWERS} follow somebody already: one of them has to end first");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let first = json!({
        "event": "following",
        "user": whom.user,
        "address": whom.address.map(|prefix| prefix.to_string()),
        "realm": whom.realm,
        "seconds": seconds,
    });
    let allowed = pass.map(|Extension(pass)| (admin, pass));
    let body = Lines::new((follower, allowed), &first, Duration::from_secs(seconds));
    Ok((head("application/jsonl"), Body::new(body)).into_response())
}

/// What a follower hears, line by line, until its time is over. It ends when whoever reads it goes.
struct Lines {
    follower: Follower,
    /// Who says whether the token is good still that it was asked for with: a reload may take that out.
    allowed: Option<(Arc<Admin>, Pass)>,
    first: Option<Bytes>,
    beat: Interval,
    end: Pin<Box<Sleep>>,
    ended: bool,
    /// What has been told of what was left out.
    lost: u64,
}

impl Lines {
    fn new(
        (follower, allowed): (Follower, Option<(Arc<Admin>, Pass)>),
        first: &Value,
        time: Duration,
    ) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and the first line says as much.
        beat.reset();
        let (first, end) = (Some(line(first)), Box::pin(sleep(time)));
        Self { follower, allowed, first, beat, end, ended: false, lost: 0 }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let withdrawn =
            |(admin, pass): &(Arc<Admin>, Pass)| !admin.settings.load().tokens.have(pass);
        if self.allowed.as_ref().is_some_and(withdrawn) {
            self.ended = true;
            return Poll::Ready(Some(line(&over("the token is no longer one of admin.tokens"))));
        }
        let lost = self.follower.lost();
        if lost != self.lost {
            let more = lost - std::mem::replace(&mut self.lost, lost);
            return Poll::Ready(Some(line(&json!({ "event": "lost", "lines": more }))));
        }
        if let Poll::Ready(heard) = self.follower.poll_next(context) {
            self.ended = heard.is_none();
            let told = heard.as_ref().map(|heard| line(&heard::json(heard)));
            return Poll::Ready(told.or_else(|| Some(line(&over("the server has ended")))));
        }
        if self.end.as_mut().poll(context).is_ready() {
            self.ended = true;
            return Poll::Ready(Some(line(&over("the time is over"))));
        }
        self.beat.poll_tick(context).map(|_| Some(Bytes::from_static(b"\n")))
    }
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

fn over(why: &str) -> Value {
    json!({ "event": "over", "why": why })
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.next(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
