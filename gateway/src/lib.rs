//! Hop 1: the public door. Verifies, limits, answers; HTTP and gRPC
