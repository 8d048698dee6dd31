//! Shared workloads and scenarios that measure Trunkline through its public interface.
