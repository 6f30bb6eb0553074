//! Hop 3c: deliveries by priority, in memory
