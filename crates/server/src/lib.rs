//! The edges of a broker: gRPC, HTTP, health, metrics.
