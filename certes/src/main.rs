//! The certes binary.
fn main() {}
