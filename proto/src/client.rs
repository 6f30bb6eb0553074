//! Clients: each implements its port over a channel to peers.

mod peers;
mod call;
mod bearer;

mod broker;
mod registry;
mod queue;

// Master API, one file a noun.
mod master_api;
mod events;
mod deliveries;
mod lanes;
mod configuration;
mod log;
mod past;
mod retention;
mod replays;

pub use bearer::Bearer;
pub use broker::RemoteBroker;
pub use master_api::RemoteMasterApi;
pub use peers::Peers;
pub use queue::RemoteQueue;
pub use registry::RemoteRegistry;
