//! One attempt's request: proved, built, sent, and sent once more where a token was not taken.

use crate::{
    auth::{Proof, TlsIdentity},
    form::Body,
    outcome::{Failure, Outcome},
    prepared::Prepared,
    request,
    service::Consumer,
    token::Token,
};
use contract::{clock::Timestamp, master_api::Work};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

/// What shows who sends in one request.
struct Shown<'a> {
    header: Option<(HeaderName, HeaderValue)>,
    certificate: Option<&'a TlsIdentity>,
    /// Where the header came from.
    token: Option<Token>,
}

impl Consumer {
    /// Sends what was made of `work`. None: all connections are in use, and nothing was sent.
    pub(crate) async fn send(
        &self,
        (work, made): (&Work, &Work),
        prepared: &Prepared,
        body: &Body,
        now: Timestamp,
    ) -> Option<Outcome> {
        let started = Instant::now();
        let deadline = started + prepared.timeout;
        self.metrics.attempts_in_flight.inc();
        let exchange = async {
            let shown = self.show(&prepared.proof, None, deadline).await?;
            let first = self.send_once((work, made), prepared, body, (now, deadline, &shown)).await;
            let refused = Some(StatusCode::UNAUTHORIZED.as_u16());
            match (&shown.token, &first) {
                // It was taken back before its time: another one, once.
                (Some(token), Some(outcome)) if outcome.status == refused => {
                    let shown = self.show(&prepared.proof, Some(token), deadline).await?;
                    let sent = (self.clock.now(), deadline, &shown);
                    Ok(self.send_once((work, made), prepared, body, sent).await)
                }
                _ => Ok(first),
            }
        };
        let outcome = exchange.await.unwrap_or_else(|failure| Some(Outcome::unsent(failure)));
        self.metrics.attempts_in_flight.dec();
        if outcome.is_none() {
            self.metrics.connections_exhausted.inc();
        } else {
            self.measure_delay(work, now);
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
        (work, made): (&Work, &Work),
        prepared: &Prepared,
        body: &Body,
        (now, deadline, shown): (Timestamp, Instant, &Shown<'_>),
    ) -> Option<Outcome> {
        let Work { delivery, event, .. } = made;
        let header = shown.header.as_ref();
        let request = request::build(prepared, header, delivery, event, body.clone(), now);
        let record = self.deliverer.keeper().request(&request, work, now);
        let time = (deadline, prepared.timeout);
        self.deliverer.deliver(shown.certificate, request, time, record).await
    }
}
