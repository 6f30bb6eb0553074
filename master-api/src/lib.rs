//! Hop 3b: the log of facts, the state folded from it, and every question about it
