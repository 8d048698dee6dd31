//! The agent runtime on the session protocol: handlers, worker pools, leases kept alive, executable agents.
