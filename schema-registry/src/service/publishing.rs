//! From texts to versions in force: all schemas of a set in one step, or none of them.

use super::{NEWS_PATIENCE, Registry};
use crate::{
    compile::{Neighbours, invalid},
    load,
    plan::{Candidate, Plan, refused},
};
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    command::{ChangeKind, Changeset, Command},
    rules::Rules,
    schema::{Rulebook, SchemaBundle, SchemaSet, SchemaSource, SchemaVerdict, VersionNumber},
    subscription::SubscriptionStatus,
    uri::EventUri,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeSet, num::NonZero, sync::Arc, thread::available_parallelism};
use tokio::time::timeout;

/// How many schemas one thread compiles before the next set gets a turn.
const COMPILED_IN_A_ROW: usize = 16;
/// Bundles that are written at once: a disk and a bucket take many for the time of one.
const WRITES_MAX: usize = 16;

/// A schema that was offered, and what it is once it was compiled.
pub(super) struct Offer {
    pub uri: EventUri,
    pub candidate: Result<Candidate>,
}

/// What is to become of an offer.
struct Judged<'o> {
    offer: &'o Offer,
    plan: Option<Plan>,
    error: Option<Error>,
}

impl Judged<'_> {
    fn into_verdict(self) -> SchemaVerdict {
        let refusal = self.error.as_ref().map(|error| error.message.clone());
        let published = self.plan.map(|plan| plan.into_published(refusal));
        SchemaVerdict { uri: self.offer.uri.clone(), published, error: self.error }
    }
}

fn is_refused(all: &[Judged<'_>]) -> bool {
    all.iter().any(|judged| judged.error.is_some())
}

fn verdicts(all: Vec<Judged<'_>>) -> Vec<SchemaVerdict> {
    all.into_iter().map(Judged::into_verdict).collect()
}

impl Registry {
    pub(super) async fn try_publish(
        &self,
        actor: Actor,
        set: SchemaSet,
    ) -> Result<Vec<SchemaVerdict>> {
        // What the publisher could have looked at: whatever comes after it is news to them.
        let base = self.rules();
        let offers = self.offers(set, &base).await?;
        let _turn = self.publishing.lock().await;
        self.heal(&offers).await?;
        let judged = self.judge(&offers, Some(&actor), &base).await?;
        if is_refused(&judged) {
            return Ok(verdicts(judged));
        }
        let done = self.carry_out(actor, &offers, judged).await?;
        if !is_refused(&done) {
            self.install(&done).await?;
        }
        Ok(verdicts(done))
    }

    pub(super) async fn try_check(&self, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        let base = self.rules();
        let offers = self.offers(set, &base).await?;
        Ok(verdicts(self.judge(&offers, None, &base).await?))
    }

    /// The schemas of the set, compiled. What happens to unknown fields is what `base` has where the
    /// set says nothing.
    pub(super) async fn offers(&self, set: SchemaSet, base: &Arc<Rules>) -> Result<Vec<Offer>> {
        // What is unpacked and compiled takes memory: few at a time.
        let _turn = self.compiling.acquire().await.map_err(Error::internal)?;
        let (config, base) = (self.config.clone(), Arc::clone(base));
        let unpack = move || {
            let mut sources = match set {
                SchemaSet::Sources(sources) => sources,
                SchemaSet::Archive(bytes, settings) => {
                    settings.apply(load::load_archive(&bytes, &config)?)?
                }
            };
            load::check_set(&sources, &config)?;
            for source in &mut sources {
                let kept = base.schemas.get(&source.uri).map(|version| version.unknown_fields);
                source.unknown_fields = source.unknown_fields.or(kept);
            }
            Ok(Arc::new(Neighbours::new(sources)))
        };
        // Milliseconds for each: too long for a thread that serves others.
        let neighbours: Arc<Neighbours> = blocking(unpack).await?;
        let count = neighbours.sources().len();
        let parts = (0..count).step_by(COMPILED_IN_A_ROW).map(|start| {
            let (config, now) = (self.config.clone(), self.clock.now());
            let neighbours = Arc::clone(&neighbours);
            blocking(move || {
                let part = neighbours.sources().iter().skip(start).take(COMPILED_IN_A_ROW);
                let compile = |source: &SchemaSource| Offer {
                    uri: source.uri.clone(),
                    candidate: Candidate::new(source, &neighbours, &config, now),
                };
                Ok(part.map(compile).collect::<Vec<_>>())
            })
        });
        let threads = available_parallelism().map_or(1, NonZero::get);
        let parts: Vec<_> = stream::iter(parts).buffered(threads).try_collect().await?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// A store that lost its bundles, as memory does, or that damaged one, gets back what is
    /// published again.
    async fn heal(&self, offers: &[Offer]) -> Result<()> {
        for candidate in offers.iter().filter_map(|offer| offer.candidate.as_ref().ok()) {
            let in_force = self.in_force(&candidate.uri).map(|version| version.digest);
            if in_force != Some(candidate.digest) {
                continue;
            }
            match self.store.get(candidate.digest).await {
                Ok(Some(_)) => {}
                Err(error) if error.code != ErrorCode::Internal => return Err(error),
                Ok(None) | Err(_) => {
                    self.store.put(candidate.digest, candidate.bytes.clone()).await?;
                }
            }
        }
        Ok(())
    }

    /// What publishing would do with each. No actor: whoever may not do everything.
    async fn judge<'o>(
        &self,
        offers: &'o [Offer],
        actor: Option<&Actor>,
        base: &Rules,
    ) -> Result<Vec<Judged<'o>>> {
        let mut taken: BTreeSet<EventUri> = BTreeSet::new();
        let mut named = BTreeSet::new();
        let all: BTreeSet<_> = offers.iter().map(|offer| &offer.uri).collect();
        let mut judged = Vec::with_capacity(offers.len());
        for offer in offers {
            let candidate = match &offer.candidate {
                _ if !named.insert(&offer.uri) => Err(twice(&offer.uri)),
                candidate => candidate.as_ref().map_err(Error::clone),
            };
            let candidate = match candidate {
                Ok(candidate) => candidate,
                Err(error) => {
                    judged.push(Judged { offer, plan: None, error: Some(error) });
                    continue;
                }
            };
            let beside = |uri: &EventUri| taken.contains(uri) || all.contains(uri);
            let plan = self.plan(candidate, &beside).await?;
            taken.insert(plan.version.uri.clone());
            let error = self.objection(candidate, &plan, actor, base);
            judged.push(Judged { offer, plan: Some(plan), error });
        }
        Ok(judged)
    }

    /// Why a plan cannot be carried out.
    fn objection(
        &self,
        candidate: &Candidate,
        plan: &Plan,
        actor: Option<&Actor>,
        base: &Rules,
    ) -> Option<Error> {
        let uri = &candidate.uri;
        let current = self.in_force(uri).map(|version| version.number());
        if candidate.expected.is_some() && candidate.expected != current {
            return Some(unexpected(candidate, current));
        }
        if plan.same {
            return None;
        }
        if uri.is_own() && !matches!(actor, Some(Actor::Component(_))) {
            return Some(super::not_yours(uri));
        }
        let before = base.schemas.get(uri).map(|version| version.number());
        if current != before {
            return Some(overtaken(uri, current));
        }
        plan.is_refused().then(|| refused(plan))
    }

    /// What publishing would do with one. `beside`: which other types the set names or makes.
    async fn plan(
        &self,
        candidate: &Candidate,
        beside: &(dyn Fn(&EventUri) -> bool + Sync),
    ) -> Result<Plan> {
        let uri = &candidate.uri;
        let Some(latest) = self.latest(uri).await? else {
            let number = self.next_minor(uri).await?;
            let (now, rulebook) = (self.clock.now(), Rulebook::default());
            return Ok(candidate.next(uri.clone(), number, now, rulebook));
        };
        let plan = candidate.compared_with(&latest)?;
        if !plan.is_breaking() {
            return match plan.same {
                true => Ok(plan),
                false => {
                    let number = self.next_minor(uri).await?;
                    let (now, rulebook) = (self.clock.now(), plan.version.rulebook);
                    let next = candidate.next(uri.clone(), number, now, rulebook);
                    Ok(Plan { differences: plan.differences, ..next })
                }
            };
        }
        let plan = Plan { subscriptions: receivers(&self.rules(), uri), ..plan };
        match candidate.next_major {
            true => self.next_major(candidate, plan, beside).await,
            false => Ok(plan),
        }
    }

    /// The major after the highest one in force, unless that one has the content already.
    async fn next_major(
        &self,
        candidate: &Candidate,
        breaking: Plan,
        beside: &(dyn Fn(&EventUri) -> bool + Sync),
    ) -> Result<Plan> {
        let uri = &candidate.uri;
        let rules = self.rules();
        let of_type = rules.schemas.keys().filter(|known| is_major_of(uri, known));
        let highest = of_type.map(EventUri::major).max().unwrap_or_else(|| uri.major());
        if highest > uri.major()
            && let Some(bundle) = self.latest(&uri.with_major(highest)?).await?
            && candidate.is_same(&bundle)
        {
            return Ok(Plan { version: bundle.version.clone(), same: true, ..breaking });
        }
        let mut target = uri.clone();
        let mut major = highest;
        while target == *uri || beside(&target) {
            major = major.checked_add(1).ok_or_else(|| Error::internal("too many majors"))?;
            target = uri.with_major(major)?;
        }
        let number = self.next_minor(&target).await?;
        let Plan { version, differences, subscriptions, .. } = breaking;
        let next = candidate.next(target, number, self.clock.now(), version.rulebook);
        Ok(Plan { differences, subscriptions, ..next })
    }

    /// The minor version that comes next. Numbers of a deleted schema are not given again.
    async fn next_minor(&self, uri: &EventUri) -> Result<u32> {
        let newest = self.master_api.schema_versions(uri).await?.pop();
        let next = newest.map_or(Some(0), |newest| newest.minor.checked_add(1));
        next.ok_or_else(|| Error::internal("too many minor versions"))
    }

    /// Bundles first, then the facts, all at once: what is in force is always in the store.
    async fn carry_out<'o>(
        &self,
        actor: Actor,
        offers: &'o [Offer],
        mut judged: Vec<Judged<'o>>,
    ) -> Result<Vec<Judged<'o>>> {
        let news = |judged: &Judged<'o>| {
            let plan = judged.plan.as_ref().filter(|plan| !plan.same)?;
            Some((plan.version.clone(), judged.offer.candidate.as_ref().ok()?))
        };
        let (versions, candidates): (Vec<_>, Vec<_>) = judged.iter().filter_map(news).unzip();
        if versions.is_empty() {
            return Ok(judged);
        }
        let put = |candidate: &Candidate| self.store.put(candidate.digest, candidate.bytes.clone());
        let puts: Vec<_> = candidates.into_iter().map(put).collect();
        stream::iter(puts).buffer_unordered(WRITES_MAX).try_collect::<()>().await?;
        let before = self.rules();
        let commands = versions.into_iter().map(Command::PublishSchema).collect();
        let changes = Changeset { commands, ..Changeset::default() };
        match self.master_api.execute(actor, changes).await {
            // Another registry was faster.
            Err(error) if error.code == ErrorCode::Conflict => {
                self.after(&before, offers, error).await
            }
            Err(error) => Err(error),
            Ok(changes) => {
                for plan in judged.iter_mut().filter_map(|judged| judged.plan.as_mut()) {
                    let name = plan.version.uri.as_str();
                    let unchanged = |change: &contract::command::Change| {
                        change.kind == ChangeKind::Unchanged && change.name == name
                    };
                    plan.same |= changes.iter().any(unchanged);
                }
                Ok(judged)
            }
        }
    }

    /// The verdicts after a lost race: it may be that the winner has published the same.
    async fn after<'o>(
        &self,
        before: &Rules,
        offers: &'o [Offer],
        lost: Error,
    ) -> Result<Vec<Judged<'o>>> {
        let is_news =
            |rules: &Rules, uri: &EventUri| rules.schemas.get(uri) != before.schemas.get(uri);
        let mut rules = self.master_api.rules();
        let any = |rules: &Arc<Rules>| {
            // Any major: the next one may have been taken, too.
            offers.iter().any(|offer| is_news(rules, &offer.uri))
                || rules.schemas.len() != before.schemas.len()
        };
        if !matches!(timeout(NEWS_PATIENCE, rules.wait_for(any)).await, Ok(Ok(_))) {
            return Err(lost);
        }
        let now = self.rules();
        let mut judged = self.judge(offers, Some(&Actor::Component(String::new())), &now).await?;
        if judged.iter().all(|judged| judged.plan.as_ref().is_some_and(|plan| plan.same)) {
            return Ok(judged);
        }
        for judged in &mut judged {
            let Judged { offer, plan, error } = judged;
            let (uri, current) = (&offer.uri, now.schemas.get(&offer.uri));
            if !plan.as_ref().is_some_and(|plan| plan.same) && is_news(&now, uri) {
                *error = Some(overtaken(uri, current.map(|version| version.number())));
            }
        }
        if is_refused(&judged) { Ok(judged) } else { Err(lost) }
    }

    /// Lets the validator of this process use the latest versions.
    async fn install(&self, done: &[Judged<'_>]) -> Result<()> {
        let Some(validator) = self.validator.as_ref().map(Arc::clone) else { return Ok(()) };
        let mut bundles: Vec<Arc<SchemaBundle>> = Vec::with_capacity(done.len());
        for plan in done.iter().filter_map(|judged| judged.plan.as_ref()) {
            bundles.extend(self.latest(&plan.version.uri).await?);
        }
        blocking(move || validator.install_all(&bundles)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// Names of the subscriptions that receive events of this type, by name.
fn receivers(rules: &Rules, uri: &EventUri) -> Vec<String> {
    let live = rules.subscriptions.values().filter(|found| {
        found.status != SubscriptionStatus::Disabled
            && found.spec.events.iter().any(|pattern| pattern.matches(uri))
    });
    let mut names: Vec<_> = live.map(|found| found.spec.name.clone()).collect();
    names.sort_unstable();
    names
}

/// Is it the same type, in this or another major?
fn is_major_of(uri: &EventUri, other: &EventUri) -> bool {
    (uri.domain(), uri.namespace(), uri.name()) == (other.domain(), other.namespace(), other.name())
}

fn twice(uri: &EventUri) -> Error {
    invalid(format!("{uri} is given twice"))
}

fn unexpected(candidate: &Candidate, current: Option<VersionNumber>) -> Error {
    let (uri, expected) = (&candidate.uri, candidate.expected);
    let expected = expected.map(|expected| expected.to_string()).unwrap_or_default();
    let found = match current {
        Some(current) => format!("the current version of {uri} is {current}"),
        None => format!("no version of {uri} is in force"),
    };
    let message = format!("{found}, and {expected} was expected; look at it and publish again");
    Error::new(ErrorCode::Conflict, message)
}

fn overtaken(uri: &EventUri, current: Option<VersionNumber>) -> Error {
    let news = match current {
        Some(current) => format!("the current version is {current} now"),
        None => "it was deleted".to_owned(),
    };
    let message = format!("{uri} was changed meanwhile: {news}; look at it and publish again");
    Error::new(ErrorCode::Conflict, message)
}
