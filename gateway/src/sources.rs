//! The sources in force, with everything set up that a request would otherwise set up anew.

use crate::{config::Config, policy::Policy, template::Filler, verify::Verifier};
use arc_swap::ArcSwap;
use contract::{
    Error, ErrorCode, Result,
    rules::{Rules, RulesReceiver},
    source::{Scheme, Source, Template},
};
use std::{collections::HashMap, sync::Arc};

/// All sources, prepared once for each version of the rules.
#[derive(Debug)]
pub(crate) struct Sources {
    rules: RulesReceiver,
    prepared: ArcSwap<Prepared>,
    defaults: Defaults,
}

/// One source, ready to receive.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) source: Arc<Source>,
    pub(crate) verifier: Verifier,
    pub(crate) event_type: Filler,
    pub(crate) policy: Policy,
    pub(crate) idempotency_key: Option<Filler>,
    /// The scheme's own id of a delivery; fills to nothing where it has none.
    pub(crate) delivery_id: Filler,
    pub(crate) body_bytes_max: usize,
}

#[derive(Debug)]
struct Prepared {
    rules: Arc<Rules>,
    /// By name; a source that cannot work is there with the reason.
    doors: HashMap<String, Result<Arc<Door>, String>>,
}

/// What holds where a source says nothing.
#[derive(Debug)]
struct Defaults {
    body_bytes_max: usize,
    body_bytes_max_github: usize,
    bodies_bytes_max: usize,
    tolerance_s: u32,
}

impl Sources {
    pub(crate) fn new(rules: RulesReceiver, config: &Config) -> Self {
        let defaults = Defaults {
            body_bytes_max: config.body_bytes_max,
            body_bytes_max_github: config.body_bytes_max_github,
            bodies_bytes_max: config.bodies_bytes_max,
            tolerance_s: config.tolerance_s,
        };
        let newest = Arc::clone(&rules.borrow());
        let prepared = ArcSwap::from_pointee(Prepared::new(newest, None, &defaults));
        Self { rules, prepared, defaults }
    }

    /// The source of that name under the newest rules. Errors: `unknown_source`; `internal` when
    /// what was declared of it cannot work.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Door>> {
        let newest = Arc::clone(&self.rules.borrow());
        let mut prepared = self.prepared.load_full();
        if !Arc::ptr_eq(&prepared.rules, &newest) {
            prepared = Arc::new(Prepared::new(newest, Some(&prepared), &self.defaults));
            self.prepared.store(Arc::clone(&prepared));
        }
        match prepared.doors.get(name) {
            Some(Ok(door)) => Ok(Arc::clone(door)),
            Some(Err(why)) => Err(Error::internal(format!("source `{name}`: {why}"))),
            None => {
                let shown: String = name.chars().take(80).collect();
                Err(Error::new(ErrorCode::UnknownSource, format!("there is no source `{shown}`")))
            }
        }
    }
}

impl Prepared {
    /// Sources that did not change keep what `before` had set up for them: a secret's id never
    /// gets other bytes.
    fn new(rules: Arc<Rules>, before: Option<&Self>, defaults: &Defaults) -> Self {
        let reused = |source: &Arc<Source>| match before?.doors.get(&source.spec.name)? {
            Ok(door) if Arc::ptr_eq(&door.source, source) => Some(Ok(Arc::clone(door))),
            _ => None,
        };
        let door = |source: &Arc<Source>| {
            reused(source).unwrap_or_else(|| Door::new(source, &rules, defaults).map(Arc::new))
        };
        let doors = rules.sources.iter().map(|(name, source)| (name.clone(), door(source)));
        let doors = doors.collect();
        Self { rules, doors }
    }
}

impl Door {
    fn new(source: &Arc<Source>, rules: &Rules, defaults: &Defaults) -> Result<Self, String> {
        let spec = &source.spec;
        let default = match spec.verify {
            Scheme::Github => defaults.body_bytes_max_github,
            _ => defaults.body_bytes_max,
        };
        let own = spec.body_bytes_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        let secrets = rules.secrets_of(&source.secrets);
        let delivery_id = Template(spec.verify.facts().delivery_id.to_owned());
        Ok(Self {
            source: Arc::clone(source),
            verifier: Verifier::new(spec, secrets, defaults.tolerance_s)?,
            event_type: match spec.event_types.is_empty() {
                true => Filler::of_uri(&spec.event_type)?,
                false => Filler::of_text(&spec.event_type)?,
            },
            policy: Policy::new(&spec.limits),
            idempotency_key: spec.idempotency_key.as_ref().map(Filler::of_text).transpose()?,
            delivery_id: Filler::of_text(&delivery_id)?,
            body_bytes_max: own.unwrap_or(default).min(defaults.bodies_bytes_max),
        })
    }
}
