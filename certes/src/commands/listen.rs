//! `certes listen`: takes deliveries and posts them to a local URL.

use crate::{
    cli::ServerArgs,
    http_client,
    misuse::Misuse,
    output,
    remote::{Lost, Remote, Say, Told},
};
use anyhow::{Context, Result, bail};
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use clap::Args;
use contract::{
    backoff::Span,
    command::{Command, Target},
    event::Headers,
    pull::{Answer, Ask, Handout},
    subscription::SubscriptionSpec,
    uri::EventPattern,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A stream that broke is opened again after so long, at first and at most.
const REOPEN_AFTER_MIN: Duration = Duration::from_millis(100);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(5);

/// `certes listen`
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Where deliveries are posted, as in http://localhost:3000/webhooks
    #[arg(long, value_name = "URL")]
    pub forward: Uri,
    /// Take the deliveries of this subscription, which must have `pull: true`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["events", "subscriber"])]
    pub subscription: Option<String>,
    /// Make a subscription for these types until the end, as in 'github/1/*'
    #[arg(
        long, value_name = "PATTERN", num_args = 1.., required_unless_present = "subscription"
    )]
    pub events: Vec<EventPattern>,
    /// Whose subscription is made [default: our own]
    #[arg(long, value_name = "ID")]
    pub subscriber: Option<String>,
    /// Most deliveries at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub max_in_flight: u32,
    /// How long the URL may take for each
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub timeout: Span,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Runs the command until `stop`, or until the server refuses.
pub async fn run(args: ListenArgs, stop: CancellationToken) -> Result<()> {
    if !matches!(args.forward.scheme_str(), Some("http" | "https")) {
        let text = format!("`{}` is no URL of http or https", args.forward);
        bail!(Misuse::new(text));
    }
    let remote = Remote::find(&args.server).await?;
    let (name, made) = match &args.subscription {
        Some(name) => (name.clone(), false),
        None => (make(&remote, &args).await?, true),
    };
    let listener = Listener { args, name: name.clone(), stop };
    let ended = listener.listen(remote).await;
    if !made {
        return ended;
    }
    let removed = listener.remove().await;
    let removed = removed.with_context(|| {
        format!("the subscription `{name}` was made for this and could not be removed")
    });
    ended.and(removed)
}

/// Makes a subscription for as long as this runs; its name.
async fn make(remote: &Remote, args: &ListenArgs) -> Result<String> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("listen-{}", &id[..12]);
    let spec = SubscriptionSpec {
        name: name.clone(),
        subscriber: args.subscriber.clone(),
        events: args.events.clone(),
        pull: true,
        ..SubscriptionSpec::default()
    };
    let change = remote.execute_one(Command::PutSubscription { spec, secrets: Vec::new() }).await?;
    let secret = change.revealed.as_ref().map(contract::secret::Secret::expose);
    eprintln!("certes: made the subscription `{name}`, until the end of this command");
    if let Some(secret) = secret {
        eprintln!("certes: deliveries are signed with {secret}");
    }
    Ok(name)
}

struct Listener {
    args: ListenArgs,
    /// Of the subscription.
    name: String,
    stop: CancellationToken,
}

impl Listener {
    /// Takes deliveries, and opens the stream again when it breaks.
    async fn listen(&self, mut remote: Remote) -> Result<()> {
        let schedule = ExponentialBuilder::default()
            .with_min_delay(REOPEN_AFTER_MIN)
            .with_max_delay(REOPEN_AFTER_MAX)
            .with_jitter()
            .without_max_times();
        let mut breaks = schedule.build();
        loop {
            let (opened, broke) = match self.follow(&remote).await {
                (_, Ok(())) if self.stop.is_cancelled() => return Ok(()),
                (opened, Ok(())) => (opened, "the server ended the stream".to_owned()),
                (opened, Err(error)) if error.is::<Lost>() => (opened, error.to_string()),
                (_, Err(refusal)) => return Err(refusal),
            };
            if opened {
                breaks = schedule.build();
            }
            eprintln!("certes: {broke}; connecting again");
            let pause = tokio::time::sleep(breaks.next().unwrap_or(REOPEN_AFTER_MAX));
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
            if let Ok(found) = Remote::find(&self.args.server).await {
                remote = found;
            }
        }
    }

    /// Forwards what a stream brings, to its end. Says whether it was ever open.
    async fn follow(&self, remote: &Remote) -> (bool, Result<()>) {
        // The server waits a little longer than the URL may take.
        let lease = self.args.timeout.0 + Duration::from_secs(2);
        let opening = remote.pull(&self.name, self.args.max_in_flight, Some(lease));
        let mut stream = match opening.await {
            Ok(stream) => stream,
            Err(error) => return (false, Err(error)),
        };
        let (say, tasks) = (stream.say(), TaskTracker::new());
        let (mut opened, mut leaving) = (false, false);
        let ended = loop {
            let told = tokio::select! {
                told = stream.next() => told,
                () = self.stop.cancelled(), if !leaving => {
                    leaving = true;
                    say.say(Ask::Drain).await;
                    continue;
                }
            };
            match told {
                Ok(Some(Told::Opened)) => {
                    opened = true;
                    eprintln!("certes: `{}` goes to {}", self.name, self.args.forward);
                }
                Ok(Some(Told::Delivery(handout))) => {
                    let post = Post { url: self.args.forward.clone(), limit: self.args.timeout.0 };
                    let (say, json) = (say.clone(), self.args.server.json);
                    // As many as the server hands out at most.
                    tasks.spawn(async move { post.carry(*handout, &say, json).await });
                }
                Ok(Some(Told::Expired(_))) => {
                    eprintln!("certes: an answer came too late: the delivery comes again");
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        tasks.close();
        tasks.wait().await;
        (opened, ended)
    }

    /// Removes the subscription that was made.
    async fn remove(&self) -> Result<()> {
        let remote = Remote::find(&self.args.server).await?;
        remote.execute_one(Command::Remove(Target::Subscription(self.name.clone()))).await?;
        eprintln!("certes: removed the subscription `{}`", self.name);
        Ok(())
    }
}

/// How a delivery is posted.
struct Post {
    url: Uri,
    limit: Duration,
}

impl Post {
    /// Posts a delivery, answers for it, and says so.
    async fn carry(self, handout: Handout, say: &Say, as_json: bool) {
        let (ticket, started) = (handout.ticket, Instant::now());
        let (delivery, attempt) = (handout.delivery, handout.attempt);
        let event = handout.event_uri.to_string();
        let id = value(&handout.headers, "webhook-id").to_owned();
        let answer = self.answer(handout).await;
        let took_ms = started.elapsed().as_millis();
        let (status, error) = match &answer {
            Answer::Ack { status } => (*status, None),
            Answer::Nack { status, reason, .. } => (*status, Some(reason.clone())),
        };
        say.say(Ask::Answer { ticket, answer }).await;
        let shown = status.map_or("-".to_owned(), |status| status.to_string());
        let said = if as_json {
            output::json(&json!({
                "delivery": delivery, "event": id, "type": event, "attempt": attempt,
                "status": status, "error": error, "duration_ms": took_ms,
            }))
        } else {
            let why = error.filter(|_| status.is_none()).unwrap_or_default();
            let line = format!("{shown}  {event}  {id}  attempt {attempt}  {took_ms} ms  {why}");
            output::line(line.trim_end())
        };
        if let Err(error) = said {
            eprintln!("certes: {error}");
        }
    }

    async fn answer(&self, handout: Handout) -> Answer {
        let refused = |reason: String| Answer::Nack { status: None, delay: None, reason };
        let request = match request(&self.url, handout) {
            Ok(request) => request,
            Err(error) => return refused(format!("{error:#}")),
        };
        match http_client::call_within(request, self.limit).await {
            Ok(response) => of_response(&response),
            Err(error) => refused(format!("{error:#}")),
        }
    }
}

/// A POST with the headers and the body as they were sent.
fn request(url: &Uri, handout: Handout) -> Result<Request<Bytes>> {
    let mut request = Request::new(handout.payload);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.clone();
    for (name, value) in &handout.headers.0 {
        let name = HeaderName::try_from(name).context("a header of the delivery")?;
        let value = HeaderValue::from_bytes(value.as_bytes())?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

/// What the answer of the URL means.
fn of_response(response: &Response<Bytes>) -> Answer {
    let status = response.status();
    if status.is_success() {
        return Answer::Ack { status: Some(status.as_u16()) };
    }
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = wait.and_then(|wait| wait.trim().parse().ok());
    let delay = seconds.map(Duration::from_secs);
    Answer::Nack { status: Some(status.as_u16()), delay, reason: String::new() }
}

fn value<'a>(headers: &'a Headers, name: &str) -> &'a str {
    let found = headers.0.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_the_url_is_the_answer() {
        let answer = |status: u16, wait: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(wait) = wait {
                response = response.header("retry-after", wait);
            }
            of_response(&response.body(Bytes::new()).unwrap())
        };
        let nack = |status, delay: Option<u64>| Answer::Nack {
            status: Some(status),
            delay: delay.map(Duration::from_secs),
            reason: String::new(),
        };
        assert_eq!(answer(204, None), Answer::Ack { status: Some(204) });
        assert_eq!(answer(500, None), nack(500, None));
        assert_eq!(answer(301, None), nack(301, None));
        assert_eq!(answer(503, Some("7")), nack(503, Some(7)));
        assert_eq!(answer(429, Some("-7")), nack(429, None));
    }

    #[test]
    fn headers_and_body_go_on_as_they_are() {
        let headers = [("webhook-id", "evt_1"), ("hmac-sig", "a"), ("hmac-sig", "b")];
        let handout = Handout {
            ticket: 1,
            delivery: contract::id::DeliveryId {
                lane: contract::id::LaneId(1),
                sequence: contract::id::Sequence(7),
            },
            attempt: 2,
            event_uri: "github/1/push".parse().unwrap(),
            headers: Headers(headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec()),
            payload: Bytes::from_static(b"{ }"),
            deadline: contract::clock::Timestamp(0),
        };
        assert_eq!(value(&handout.headers, "webhook-id"), "evt_1");
        let request = request(&Uri::from_static("http://localhost:1/x"), handout).unwrap();
        assert_eq!(request.headers().get_all("hmac-sig").iter().count(), 2);
        assert_eq!((request.method(), request.body().as_ref()), (&Method::POST, b"{ }".as_slice()));
    }
}
