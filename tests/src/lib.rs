//! End-to-end stories, in one process and over gRPC, and the harness that runs them
