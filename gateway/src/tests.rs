//! The gateway as its users meet it: requests in, answers out, and what reached the broker.

mod world;

mod webhooks;
mod typed_events;
mod answers;
mod mounts;
mod sockets;
mod anything;
mod challenges;
mod policies;
