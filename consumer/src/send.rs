//! One attempt's request: proved, built, sent, and sent once more where a token was not taken.

use crate::{
    auth::{Proof, TlsIdentity},
    form::{self, Body, Unformed},
    outcome::{Failure, Outcome},
    prepared::Prepared,
    request,
    service::Consumer,
    token::Token,
};
use bytes::Bytes;
use contract::{clock::Timestamp, master_api::Work, rules::Rules};
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::time::Duration;
use tokio::time::Instant;

/// What shows who sends in one request.
struct Shown<'a> {
    header: Option<(HeaderName, HeaderValue)>,
    certificate: Option<&'a TlsIdentity>,
    /// Where the header came from.
    token: Option<Token>,
}

/// How long deliveries are put back whose contract is not at hand yet.
const FORMED_LATER: Duration = Duration::from_secs(1);

impl Consumer {
    /// Makes the body that the subscription wants, and sends it. Errors: nothing was sent, and the
    /// delivery is due at that time.
    pub(crate) async fn make_and_send(
        &self,
        rules: &Rules,
        (work, payload): (&Work, &Bytes),
        prepared: &Prepared,
        now: Timestamp,
    ) -> Result<Outcome, Timestamp> {
        let transform = prepared.transform.as_ref();
        let made = match transform.map(|transform| transform.apply(work, payload)).transpose() {
            Ok(made) => made,
            Err(failure) => return Ok(Outcome::unsent(failure)),
        };
        let (work, payload) = made.as_ref().map_or((work, payload), |(work, body)| (work, body));
        let event = &work.event;
        let in_force = rules.schemas.contains_key(&event.uri) || rules.sequence < event.rules;
        let formed = form::body(event, payload, prepared.format, &self.converter, in_force).await;
        match formed {
            Ok(body) => {
                let sent = self.send(work, prepared, &body, now).await;
                sent.ok_or_else(|| self.clock.now())
            }
            Err(Unformed::Later) => Err(self.clock.now().after(FORMED_LATER)),
            Err(Unformed::Never(failure)) => Ok(Outcome::unsent(failure)),
        }
    }

    /// None: all connections are in use, and nothing was sent.
    async fn send(
        &self,
        work: &Work,
        prepared: &Prepared,
        body: &Body,
        now: Timestamp,
    ) -> Option<Outcome> {
        let started = Instant::now();
        let deadline = started + prepared.timeout;
        self.metrics.attempts_in_flight.inc();
        let exchange = async {
            let shown = self.show(&prepared.proof, None, deadline).await?;
            let first = self.send_once(work, prepared, body, (now, deadline, &shown)).await;
            let refused = Some(StatusCode::UNAUTHORIZED.as_u16());
            match (&shown.token, &first) {
                // It was taken back before its time: another one, once.
                (Some(token), Some(outcome)) if outcome.status == refused => {
                    let shown = self.show(&prepared.proof, Some(token), deadline).await?;
                    let sent = (self.clock.now(), deadline, &shown);
                    Ok(self.send_once(work, prepared, body, sent).await)
                }
                _ => Ok(first),
            }
        };
        let outcome = exchange.await.unwrap_or_else(|failure| Some(Outcome::unsent(failure)));
        self.metrics.attempts_in_flight.dec();
        if outcome.is_none() {
            self.metrics.connections_exhausted.inc();
        } else if work.delivery.attempts.is_empty() {
            let delay = now.since(work.event.received_at);
            self.metrics.first_attempt_delay_seconds.observe(delay.as_secs_f64());
        }
        outcome.map(|outcome| Outcome { duration: started.elapsed(), ..outcome })
    }

    /// What shows who sends; the token is another one than `refused`.
    async fn show<'a>(
        &self,
        proof: &'a Proof,
        refused: Option<&Token>,
        deadline: Instant,
    ) -> Result<Shown<'a>, Failure> {
        let none = Shown { header: None, certificate: None, token: None };
        Ok(match proof {
            Proof::Signatures => none,
            Proof::Header(name, value) => {
                Shown { header: Some((name.clone(), value.clone())), ..none }
            }
            Proof::Token(client) => {
                let token = self.tokens.get(client, refused, deadline).await?;
                let header = Some((header::AUTHORIZATION, token.header.clone()));
                Shown { header, token: Some(token), ..none }
            }
            Proof::Certificate(identity) => Shown { certificate: Some(identity), ..none },
        })
    }

    async fn send_once(
        &self,
        work: &Work,
        prepared: &Prepared,
        body: &Body,
        (now, deadline, shown): (Timestamp, Instant, &Shown<'_>),
    ) -> Option<Outcome> {
        let Work { delivery, event, .. } = work;
        let header = shown.header.as_ref();
        let request = request::build(prepared, header, delivery, event, body.clone(), now);
        let record = self.deliverer.keeper().request(&request, work, now);
        let time = (deadline, prepared.timeout);
        self.deliverer.deliver(shown.certificate, request, time, record).await
    }
}
