//! The hash map of the engine: seeded, so that a sender cannot aim for collisions, and never
//! iterated where order could show, so that one seed gives one trace.

use foldhash::quality::FixedState;

pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// An empty map whose hashes depend on `seed`.
pub(crate) fn map<K, V>(seed: u64) -> Map<K, V> {
    Map::with_hasher(FixedState::with_seed(seed))
}
