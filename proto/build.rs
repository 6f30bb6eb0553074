//! Code generation of the wire messages.
fn main() {}
