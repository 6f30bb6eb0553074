//! Hop 2: validate, match, store, enqueue; and the feeder that fills the lanes from the log
