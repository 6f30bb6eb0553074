//! The port [`Replays`].

use crate::{
    decide,
    log::LogError,
    project::read_replay,
    replay,
    service::MasterApi,
    shared::Shared,
    state::HeldReplay,
    writer::{Command, ReplayStep, Upkeep},
};
use async_trait::async_trait;
use contract::{
    Error, Result,
    access::Actor,
    id::ReplayId,
    replay::{Replay, ReplayProgress, ReplaySpec, ReplayState, Replays},
};

#[async_trait]
impl Replays for MasterApi {
    async fn preview_replay(&self, spec: ReplaySpec) -> Result<ReplayProgress> {
        let (id, now) = (self.new_replay(), self.shared.around.clock.now());
        let (state, head) = (self.shared.state.load_full(), *self.shared.head());
        let order = decide::replay::order(&state, (id, spec), now, head.sequence)?;
        self.blocking(move |shared| replay::preview(shared, &order)).await
    }

    async fn start_replay(&self, actor: Actor, spec: ReplaySpec) -> Result<Replay> {
        let id = self.new_replay();
        self.step(actor, ReplayStep::Start(id, spec)).await?;
        self.known(id).await
    }

    async fn cancel_replay(&self, actor: Actor, id: ReplayId) -> Result<Replay> {
        self.step(actor, ReplayStep::Cancel(id)).await?;
        self.known(id).await
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>> {
        let read = move |shared: &Shared| {
            let held = shared.state.load().replays.get(&id).cloned();
            held.map(|held| shown(shared, &held)).transpose()
        };
        self.quick(read).await
    }

    async fn replays(&self) -> Result<Vec<Replay>> {
        self.blocking(|shared| {
            let state = shared.state.load_full();
            state.replays.values().rev().map(|held| shown(shared, held)).collect()
        })
        .await
    }
}

impl MasterApi {
    fn new_replay(&self) -> ReplayId {
        ReplayId::from_bytes(self.shared.around.ids.uuid())
    }

    async fn step(&self, actor: Actor, step: ReplayStep) -> Result<()> {
        let step = Upkeep::Replay(Box::new(step));
        self.writer.ask(|reply| Command::Upkeep(actor, step, reply)).await?;
        self.threads.replays.wake();
        Ok(())
    }

    async fn known(&self, id: ReplayId) -> Result<Replay> {
        let found = self.replay(id).await?;
        found.ok_or_else(|| Error::internal(format!("the replay {id} is gone")))
    }
}

fn shown(shared: &Shared, held: &HeldReplay) -> Result<Replay, LogError> {
    let HeldReplay { order, cancelled, ended } = held;
    let progress = match ended {
        Some((_, progress)) => *progress,
        None => read_replay(shared.rows(), order.id)?.unwrap_or_default().progress,
    };
    let state = match (ended.is_some(), cancelled) {
        (false, false) => ReplayState::Running,
        (false, true) => ReplayState::Cancelling,
        (true, false) => ReplayState::Finished,
        (true, true) => ReplayState::Cancelled,
    };
    Ok(Replay {
        id: order.id,
        spec: order.spec.clone(),
        state,
        started_at: order.started_at,
        ended_at: ended.map(|(at, _)| at),
        progress,
    })
}
