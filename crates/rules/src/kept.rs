//! What was worked out once and is kept for those who ask again, up to a bound.

use parking_lot::RwLock;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Values by their keys, in two generations: when the younger is full it becomes the older, and
/// what nobody asked for since is dropped. So the bound holds, and what is used stays.
#[derive(Debug)]
pub(crate) struct Kept<K, V> {
    /// How many values a generation holds.
    generation: usize,
    /// A lock, because any thread may ask; mostly read, so that they do not wait for each other.
    generations: RwLock<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Clone> Kept<K, V> {
    /// Keeps at most twice as many values as a generation holds.
    pub(crate) fn new(generation: usize) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { generation, generations: RwLock::new(generations) }
    }

    /// The value of a key, made if it is not there. What cannot be made is not kept.
    pub(crate) fn get<Q, E>(&self, key: &Q, make: impl FnOnce() -> Result<V, E>) -> Result<V, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.generations.read().young.get(key) {
            return Ok(value.clone());
        }
        let aged = self.generations.read().old.get(key).cloned();
        let value = match aged {
            Some(value) => value,
            None => make()?,
        };
        let mut generations = self.generations.write();
        if generations.young.len() >= self.generation {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(key.to_owned(), value.clone());
        Ok(value)
    }

    /// How many values are kept, those that have become old twice if they are used again.
    pub(crate) fn len(&self) -> usize {
        let generations = self.generations.read();
        generations.young.len() + generations.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let kept: Kept<u32, Arc<u32>> = Kept::new(100);
        let get = |key| kept.get(&key, || Ok::<_, Infallible>(Arc::new(key))).unwrap();
        let first = get(0);
        for number in 1..300 {
            get(number);
            assert!(Arc::ptr_eq(&get(0), &first), "{number}");
        }
        let generations = kept.generations.read();
        assert!(generations.young.len() <= 100 && generations.old.len() <= 100);
    }
}
