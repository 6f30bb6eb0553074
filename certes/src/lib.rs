//! Configuration, wiring and commands of the certes binary.
