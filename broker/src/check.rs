//! Does an event keep its contract, and what happens if not?

use contract::{
    Error, ErrorCode, Result,
    event::{Disposition, NewEvent, Origin},
    limits::HOPS_MAX,
    schema::{EventValidator, Validated, Violation},
    uri::{EventUri, OWN_NAMESPACE},
};

/// Violations named in the reason of an event that is kept aside.
const REASON_VIOLATIONS_MAX: usize = 3;

/// What the checks say about an event that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It keeps the contract of this minor version; None: nobody knows its contract.
    Deliver { schema_minor: Option<u32> },
    /// It is kept aside.
    Quarantine { reason: String },
}

/// May this event come in at all? Checked before its payload is looked at.
pub(crate) fn admit(event: &NewEvent) -> Result<()> {
    if event.uri.is_own() && event.origin != Origin::Server {
        let text = format!("`{}` belongs to the server: only it makes such events", event.uri);
        return Err(Error::new(ErrorCode::PermissionDenied, text));
    }
    let hops = event.trace.hops;
    if hops > HOPS_MAX {
        let text = format!("it has passed {hops} servers; allowed: {HOPS_MAX}");
        return Err(Error::new(ErrorCode::TooManyHops, text));
    }
    Ok(())
}

/// Checks the payload against its contract and applies what the event's source wants to happen to
/// those without one (`unvalidated`) and to those that break it (`invalid`).
pub(crate) fn judge(validator: &dyn EventValidator, event: &NewEvent) -> Result<Verdict> {
    match validator.validate(&event.uri, &event.content_type, &event.payload) {
        Ok(Validated::Against(minor)) => Ok(Verdict::Deliver { schema_minor: Some(minor) }),
        Ok(Validated::NoSchema) => match event.unvalidated {
            Disposition::Accept => Ok(Verdict::Deliver { schema_minor: None }),
            Disposition::Quarantine => {
                Ok(Verdict::Quarantine { reason: "no schema is known for its type".to_owned() })
            }
            Disposition::Reject => {
                let text = format!("no schema is known for `{}`", event.uri);
                Err(Error::new(ErrorCode::UnknownEventType, text))
            }
        },
        Err(error) if is_breach(error.code) && event.invalid == Disposition::Quarantine => {
            Ok(Verdict::Quarantine { reason: reason(&error, &event.content_type) })
        }
        Err(error) => Err(error),
    }
}

/// The other deployment that says by such an event that it has published a schema.
pub(crate) fn publisher(uri: &EventUri) -> Option<&str> {
    let says = uri.namespace() == OWN_NAMESPACE && uri.name() == "schema_published";
    uri.domain().filter(|_| says)
}

fn is_breach(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::ContractViolation | ErrorCode::MalformedPayload)
}

/// A short reason without a byte of the payload: it stays in the log when the payload is erased.
fn reason(error: &Error, content_type: &str) -> String {
    let name = |violation: &Violation| match violation.path.as_str() {
        "" => violation.rule.clone(),
        path => format!("{path} ({})", violation.rule),
    };
    let named: Vec<_> = error.violations.iter().take(REASON_VIOLATIONS_MAX).map(name).collect();
    let more = match error.violations.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match error.code {
        ErrorCode::MalformedPayload => format!("its payload cannot be read as `{content_type}`"),
        _ => format!("it breaks its contract: {}{more}", named.join(", ")),
    }
}
