//! The harness of the end-to-end stories: a deployment in either wiring, a subscriber that can
//! misbehave, and the third parties and operators that talk to them.

mod deployment;
mod http;
mod subscriber;
mod third_party;
mod wait;

pub use deployment::{Deployment, Wiring};
pub use http::{Answer, call, get, post};
pub use subscriber::{Received, Subscriber};
pub use third_party::{github, standard_webhook};
pub use wait::eventually;

/// The signing secret that the stories give their subscriptions.
pub const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The secret that the stories share with GitHub.
pub const GITHUB_SECRET: &str = "It's a Secret to Everybody";

/// Runs each story in one process and split over gRPC.
#[macro_export]
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod one_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story($crate::Wiring::OneProcess).await; })*
        }
        mod split {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story($crate::Wiring::Split).await; })*
        }
    };
}
