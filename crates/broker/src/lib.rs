//! Joins engine and log: drives partitions, commits records and performs effects.
