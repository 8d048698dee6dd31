//! The deterministic broker: a command and the time go in, records and effects come out.
