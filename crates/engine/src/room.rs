//! Room that is not wanted any more.

use crate::map::Map;
use std::collections::VecDeque;
use std::hash::Hash;

/// The most rows for which an empty table or a short queue keeps its room. After a burst it is given
/// back.
pub(crate) const KEPT: usize = 4096;

/// Gives back most of the room of a queue of which little is left, if there is room for more than so
/// many. Said after rows were taken out, it costs each of them a little, for the queue loses at least
/// as many as are moved before it is done again.
pub(crate) fn give_back<T>(queue: &mut VecDeque<T>, kept: usize) {
    if queue.capacity() > kept && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
}

/// The same for a map. Its rows are hashed anew, so that it is done later.
pub(crate) fn give_back_map<K: Eq + Hash, V>(map: &mut Map<K, V>) {
    if map.capacity() > KEPT && map.len() < map.capacity() / 16 {
        map.shrink_to(map.len() * 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::map;

    #[test]
    fn a_queue_gives_back_the_room_of_a_burst_and_keeps_what_is_in_it() {
        let mut queue: VecDeque<_> = (0..10_000).collect();
        let room = queue.capacity();
        while queue.len() > 100 {
            queue.pop_front();
            give_back(&mut queue, 64);
            assert!(queue.capacity() <= 64 || queue.capacity() <= 5 * queue.len());
        }
        assert!(queue.capacity() < room / 10);
        assert!(queue.iter().copied().eq(9_900..10_000));
    }

    #[test]
    fn a_map_gives_back_the_room_of_a_burst_and_keeps_what_is_in_it() {
        let mut map = map(1);
        map.extend((0..4 * KEPT).map(|row| (row, row)));
        for row in 0..4 * KEPT - 10 {
            map.remove(&row);
            give_back_map(&mut map);
        }
        assert!(map.capacity() <= KEPT, "{}", map.capacity());
        assert!((4 * KEPT - 10..4 * KEPT).all(|row| map[&row] == row));
    }

    #[test]
    fn a_small_queue_keeps_its_room() {
        let mut queue: VecDeque<u8> = VecDeque::with_capacity(100);
        let room = queue.capacity();
        give_back(&mut queue, room);
        assert_eq!(queue.capacity(), room);
    }
}
