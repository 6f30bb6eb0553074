//! What every [`crate::queue::MessageQueue`] must do.
