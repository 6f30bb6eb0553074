//! What publishing a schema would do: compiled, compared, numbered, and not yet done.

use crate::{
    Config, bundle,
    compare::{Findings, Rule, Version, compare, is_breaking},
    compile::{Compiled, Neighbours, compile_among, invalid},
    descriptors::pool_of,
    validate::Contract,
};
use bytes::Bytes;
use contract::{
    Error, Result,
    clock::Timestamp,
    limits::{DIFFERENCES_LISTED_MAX, SUBSCRIPTIONS_NAMED_MAX, VIOLATIONS_MAX},
    schema::{
        Difference, Published, Rulebook, SchemaBundle, SchemaSource, SchemaVersion, UnknownFields,
        Verdict, VersionNumber, Violation,
    },
    uri::EventUri,
};
use std::sync::Arc;

/// Differences that the sentence of a refusal lists; the rest is in its violations.
const DIFFERENCES_SHOWN_MAX: usize = 50;

/// Subscriptions that it names.
const SUBSCRIPTIONS_SHOWN_MAX: usize = 20;

/// A schema that compiles and might be published.
pub(crate) struct Candidate {
    /// The type that was named.
    pub uri: EventUri,
    /// A breaking change makes the next major.
    pub next_major: bool,
    /// The latest version that the publisher knows of.
    pub expected: Option<VersionNumber>,
    /// Address of its bundle.
    pub digest: [u8; 32],
    /// The bundle.
    pub bytes: Bytes,
    unknown_fields: UnknownFields,
    rulebook: Option<Rulebook>,
    example: Option<String>,
    compiled: Compiled,
}

impl Candidate {
    /// Compiles a schema and checks its example. Errors: `invalid_definition`,
    /// `contract_violation` and others of a payload for the example.
    /// `now` is what rules of time in the contract go by when its example is checked.
    pub(crate) fn new(
        source: &SchemaSource,
        neighbours: &Arc<Neighbours>,
        config: &Config,
        now: Timestamp,
    ) -> Result<Self> {
        if source.uri.domain().is_some() {
            let uri = &source.uri;
            return Err(invalid(format!("{uri} belongs to another deployment: publish it there")));
        }
        let compiled = compile_among(source, neighbours, config)?;
        let example = source.example.as_deref();
        let bytes = bundle::encode(&compiled.descriptor_set, &compiled.files, example)?;
        let candidate = Self {
            uri: source.uri.clone(),
            next_major: source.next_major,
            expected: source.expected,
            digest: bundle::digest(&bytes),
            bytes,
            unknown_fields: source.unknown_fields.unwrap_or(config.unknown_fields),
            rulebook: source.rulebook,
            example: source.example.clone(),
            compiled,
        };
        candidate.check_example(config, now)?;
        Ok(candidate)
    }

    fn check_example(&self, config: &Config, now: Timestamp) -> Result<()> {
        let Some(example) = &self.example else { return Ok(()) };
        let bytes_max = config.source_bytes_max;
        if example.len() > bytes_max {
            let bytes = example.len();
            return Err(invalid(format!(
                "the example has {bytes} bytes; at most {bytes_max} are allowed"
            )));
        }
        let contract = Contract::new(&self.bundle(), config.payload_depth())?;
        let checked = contract.check("application/json", example.as_bytes(), now);
        checked.map_err(|error| Error {
            message: format!("the example of {}: {}", self.uri, error.message),
            ..error
        })
    }

    fn bundle(&self) -> SchemaBundle {
        SchemaBundle {
            version: self.settings(Rulebook::default()),
            descriptor_set: self.compiled.descriptor_set.clone(),
            files: self.compiled.files.clone(),
            example: self.example.clone(),
        }
    }

    fn settings(&self, kept: Rulebook) -> SchemaVersion {
        SchemaVersion {
            uri: self.uri.clone(),
            minor: 0,
            message: self.compiled.message.clone(),
            digest: self.digest,
            unknown_fields: self.unknown_fields,
            rulebook: self.rulebook.unwrap_or(kept),
            published_at: Timestamp(0),
        }
    }

    /// It becomes this version. `kept` is the rulebook so far.
    pub(crate) fn next(&self, uri: EventUri, minor: u32, at: Timestamp, kept: Rulebook) -> Plan {
        Plan {
            version: SchemaVersion { uri, minor, published_at: at, ..self.settings(kept) },
            same: false,
            next: true,
            differences: Vec::new(),
            subscriptions: Vec::new(),
        }
    }

    /// Is this what `latest` holds? Sources decide: a newer compiler may describe the same text by
    /// other bytes.
    pub(crate) fn is_same(&self, latest: &SchemaBundle) -> bool {
        let version = &latest.version;
        version.message == self.compiled.message
            && version.unknown_fields == self.unknown_fields
            && self.rulebook.is_none_or(|rulebook| version.rulebook == rulebook)
            && latest.files == self.compiled.files
            && latest.example == self.example
    }

    /// How it differs from the latest version.
    pub(crate) fn compared_with(&self, latest: &SchemaBundle) -> Result<Plan> {
        let version = latest.version.clone();
        let same = self.is_same(latest);
        let differences = if same {
            Vec::new()
        } else {
            let new = Version { pool: &self.compiled.pool, message: &self.compiled.message };
            let settings = self.settings(version.rulebook);
            differences(latest, new, (&settings, self.example.as_deref()), None)?
        };
        Ok(Plan { version, same, next: false, differences, subscriptions: Vec::new() })
    }
}

/// What publishing would do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The version that it becomes; the latest one if it becomes none.
    pub version: SchemaVersion,
    /// That version has the content already.
    pub same: bool,
    /// It becomes a new version.
    pub next: bool,
    /// How it differs from the latest version of the major that was named.
    pub differences: Vec<Difference>,
    /// Who is hit if it breaks.
    pub subscriptions: Vec<String>,
}

impl Plan {
    /// Does it break the contract of the major that was named?
    pub(crate) fn is_breaking(&self) -> bool {
        is_breaking(&self.differences)
    }

    /// Is there no version that it could become?
    pub(crate) const fn is_refused(&self) -> bool {
        !self.same && !self.next
    }

    pub(crate) fn into_published(self, refusal: Option<String>) -> Published {
        let Self { version, same, mut differences, mut subscriptions, .. } = self;
        if differences.len() > DIFFERENCES_LISTED_MAX {
            // The sort is stable: within each verdict, the order stays.
            differences.sort_by_key(|found| found.verdict != Verdict::Breaking);
        }
        let differences_left_out = cut(&mut differences, DIFFERENCES_LISTED_MAX);
        let subscriptions_left_out = cut(&mut subscriptions, SUBSCRIPTIONS_NAMED_MAX);
        Published {
            version,
            changed: !same && refusal.is_none(),
            differences,
            refusal,
            subscriptions,
            differences_left_out,
            subscriptions_left_out,
        }
    }
}

/// Keeps the first; answers how many went.
fn cut<T>(list: &mut Vec<T>, kept_max: usize) -> u32 {
    let left_out = list.len().saturating_sub(kept_max);
    list.truncate(kept_max);
    u32::try_from(left_out).unwrap_or(u32::MAX)
}

/// All differences from `old` to `new`, which has these settings and this example.
pub(crate) fn differences(
    old: &SchemaBundle,
    new: Version<'_>,
    (settings, example): (&SchemaVersion, Option<&str>),
    rulebook: Option<Rulebook>,
) -> Result<Vec<Difference>> {
    let rulebook = rulebook.unwrap_or(settings.rulebook);
    let pool = pool_of(old.descriptor_set.as_ref()).map_err(|error| {
        let (uri, number) = (&old.version.uri, old.version.number());
        Error::internal(format!("the bundle of {uri} {number}: {error}"))
    })?;
    let before = Version { pool: &pool, message: &old.version.message };
    let mut findings = Findings::new(rulebook);
    if old.version.unknown_fields != settings.unknown_fields {
        let (rule, text) = match settings.unknown_fields {
            UnknownFields::Ignore => (Rule::UnknownFieldsPass, "unknown fields pass now"),
            UnknownFields::Reject => (Rule::UnknownFieldsRefused, "unknown fields are refused now"),
        };
        findings.add(rule, "", text.to_owned());
    }
    let (was, is) = (old.version.rulebook, settings.rulebook);
    if was != is {
        findings.add(Rule::RulebookChanged, "", format!("the rulebook is {is}; it was {was}"));
    }
    if old.example.as_deref() != example {
        findings.add(Rule::ExampleChanged, "", "the example is another".to_owned());
    }
    findings.found.extend(compare(before, new, rulebook));
    Ok(findings.found)
}

/// The refusal of a breaking change: a sentence, and every breaking difference as a violation.
pub(crate) fn refused(plan: &Plan) -> Error {
    let (uri, number) = (&plan.version.uri, plan.version.number());
    let breaking: Vec<_> =
        plan.differences.iter().filter(|found| found.verdict == Verdict::Breaking).collect();
    let shown: Vec<_> =
        breaking.iter().take(DIFFERENCES_SHOWN_MAX).map(|found| found.text.as_str()).collect();
    let more = match breaking.len() - shown.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let hit = match plan.subscriptions.as_slice() {
        [] => String::new(),
        names => {
            let shown = &names[..names.len().min(SUBSCRIPTIONS_SHOWN_MAX)];
            let more = match names.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (count, shown) = (names.len(), shown.join(", "));
            format!(" Subscriptions that it would hit ({count}): {shown}{more}.")
        }
    };
    let message = format!(
        "this breaks the contract of {uri} (version {number}): {}{more}. Ask for the next major \
         version to publish it as major {} instead.{hit}",
        shown.join("; "),
        u64::from(number.major) + 1
    );
    let violation = |found: &&Difference| Violation {
        path: found.path.clone(),
        expected: format!("compatible with {number}"),
        found: found.text.clone(),
        rule: found.rule.clone(),
    };
    let violations = breaking.iter().take(VIOLATIONS_MAX).map(violation).collect();
    Error { violations, ..invalid(message) }
}
