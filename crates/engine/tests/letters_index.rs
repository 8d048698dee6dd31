//! Dead letters leave memory for an index, and stay what they are: listed, sent again once, deleted.

use crate::stage::{Peer, Stage, config, deliveries, millis, settle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trunkline_engine::{
    Carried, Command, DeadPlace, DiedLetter, Effect, Engine, EngineConfig, InMemory, LetterHead,
    LetterIndex, LetterList, Past, QueryKey, Record, merge_letters,
};
use trunkline_types::session::{LetterAddress, Operation, Redrive};
use trunkline_types::{
    Answer, DeadLetter, DeadLetterFilter, DeadLetterPage, Durability, InboxAddress, Kind,
    MessageId, Outcome, Principal, Publish, Query, RefusalCode, Sequence, TenantId,
};

/// An index in memory, in which letters lie as bytes.
#[derive(Clone, Debug, Default)]
struct Index(Arc<Mutex<BTreeMap<Sequence, DiedLetter>>>);

impl Index {
    /// Takes in what was handed over up to a place, as it is read again.
    fn take(&self, past: impl IntoIterator<Item = Past>, through: Sequence) {
        let mut letters = self.0.lock().unwrap();
        for past in past.into_iter().filter(|past| past.place() <= through) {
            match past {
                Past::Died(letter) => {
                    let (mut head, mut rest) = (Vec::new(), Vec::new());
                    letter.encode_head(&mut head);
                    letter.encode_rest(&mut rest);
                    let read = LetterHead::decode(letter.place, &head).unwrap();
                    let read = read.decode_rest(&rest).unwrap();
                    assert_eq!(read, *letter);
                    letters.insert(letter.place, read);
                }
                Past::Cleared(cleared) => {
                    let is_meant = |died: &DiedLetter| {
                        let id = died.letter.publish.envelope.id;
                        cleared.is(id, &died.letter.inbox, died.place)
                    };
                    let place = letters.values().find(|died| is_meant(died)).map(|died| died.place);
                    place.map(|place| letters.remove(&place));
                }
                Past::Ended(_) => {}
            }
        }
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Those that a filter wants and that had left memory, as a driver lists them.
    fn page(&self, filter: &DeadLetterFilter, known: &InMemory) -> LetterList {
        let letters = self.0.lock().unwrap();
        let wanted = letters.values().rev().filter(|died| {
            died.place < known.letters_from
                && filter.before.is_none_or(|before| died.number() < before)
                && filter.id.is_none_or(|id| id == died.letter.publish.envelope.id)
        });
        let mut letters: Vec<_> = wanted.cloned().collect();
        let most = if filter.limit == 0 { 100 } else { filter.limit as usize };
        let next = (letters.len() > most).then(|| letters[most - 1].number());
        letters.truncate(most);
        LetterList { letters, next }
    }
}

impl LetterIndex for Index {
    fn find(
        &self,
        _: &TenantId,
        id: MessageId,
        inbox: Option<&InboxAddress>,
    ) -> Result<Vec<DeadPlace>, String> {
        let letters = self.0.lock().unwrap();
        let wanted = letters.values().filter(|died| {
            died.letter.publish.envelope.id == id
                && inbox.is_none_or(|inbox| *inbox == died.letter.inbox)
        });
        let places = wanted.map(|died| {
            let (inbox, at) = (died.letter.inbox.clone(), died.letter.at);
            DeadPlace { place: died.place, inbox, at }
        });
        Ok(places.collect())
    }

    fn read(&self, place: Sequence) -> Result<Option<Box<DiedLetter>>, String> {
        Ok(self.0.lock().unwrap().get(&place).cloned().map(Box::new))
    }

    fn count(&self, _: &TenantId, before: Sequence, without: &[Sequence]) -> Result<u64, String> {
        let letters = self.0.lock().unwrap();
        let counted = letters.range(..before).filter(|(place, _)| !without.contains(place));
        Ok(counted.count() as u64)
    }
}

/// A stage whose engine has an index, with an agent and a client.
struct Scene {
    stage: Stage,
    index: Index,
    agent: Peer,
    client: Peer,
    /// What the index has not taken in.
    waiting: Vec<Past>,
}

impl Scene {
    fn new(settings: EngineConfig) -> Self {
        let index = Index::default();
        let letter_index: Option<Arc<dyn LetterIndex>> = Some(Arc::new(index.clone()));
        // Otherwise the agent gets nothing more after some failures.
        let settings = EngineConfig { letter_index, breaker_failures: 0, ..settings };
        let mut stage = Stage::new(settings);
        let (agent, client) = (stage.agent(1, "a"), stage.client(2));
        Self { stage, index, agent, client, waiting: Vec::new() }
    }

    fn note(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        for effect in &effects {
            if let Effect::Past(past) = effect {
                self.waiting.push(past.clone());
            }
        }
        effects
    }

    /// The index takes in everything up to now, and the engine is told.
    fn indexed(&mut self) {
        let through = self.stage.engine.sequence();
        self.index.take(self.waiting.drain(..), through);
        let effects = self.stage.handle(Command::Indexed { through });
        self.note(effects);
    }

    /// Publishes what the agent then gives up.
    fn die(&mut self, publish: &Publish) -> MessageId {
        let effects = self.stage.publish(&mut self.client, publish).unwrap();
        for delivery in deliveries(&effects) {
            let outcome = Outcome::DeadLetter { reason: "poison".into() };
            let effects = self.stage.ask(&mut self.agent, settle(delivery.token, outcome)).unwrap();
            self.note(effects);
        }
        publish.envelope.id
    }

    fn dead(&mut self) -> MessageId {
        let mut publish = self.stage.message(Kind::Request, "skill:s");
        publish.options.task = true;
        self.die(&publish)
    }

    fn ephemeral(&mut self) -> MessageId {
        let mut publish = self.stage.message(Kind::Request, "skill:s");
        publish.options.durability = Some(Durability::Ephemeral);
        self.die(&publish)
    }

    fn redrive(&mut self, letter: MessageId) -> Result<MessageId, RefusalCode> {
        let id = self.stage.id();
        let letter = LetterAddress::from(letter);
        let redrive = Redrive { letter, id, payload: None, destination: None, priority: None };
        let asked = self.stage.ask(&mut self.client, Operation::Redrive(Box::new(redrive)));
        let effects = asked.map_err(|refusal| refusal.code)?;
        self.note(effects);
        Ok(id)
    }

    fn purge(&mut self, letter: LetterAddress) -> Result<(), RefusalCode> {
        let asked = self.stage.ask(&mut self.client, Operation::Purge(letter));
        let effects = asked.map_err(|refusal| refusal.code)?;
        self.note(effects);
        Ok(())
    }

    fn page(&mut self, filter: &DeadLetterFilter) -> DeadLetterPage {
        let question = Query::DeadLetters(filter.clone());
        let principal = Principal::default();
        let asked = Command::Ask { query: QueryKey(7), principal, question: Box::new(question) };
        let answer = self.stage.handle(asked).into_iter().find_map(|effect| match effect {
            Effect::Answer { result: Ok(Answer::DeadLetters(page)), known, .. } => {
                Some((page, known))
            }
            _ => None,
        });
        let (page, known) = answer.unwrap();
        merge_letters(filter, page, &known, self.index.page(filter, &known))
    }

    /// All letters, page by page.
    fn list(&mut self, limit: u32) -> Vec<MessageId> {
        let (mut filter, mut all) = (DeadLetterFilter { limit, ..Default::default() }, Vec::new());
        loop {
            let page = self.page(&filter);
            let id = |letter: &DeadLetter| letter.publish.envelope.id;
            all.extend(page.letters.iter().map(id));
            filter.before = page.next;
            if page.next.is_none() {
                return all;
            }
        }
    }

    /// The broker stops without a word. The index has what it had.
    fn restarted(self, indexed: Sequence) -> Self {
        let Self { stage, index, .. } = self;
        let mut engine = Engine::new(stage.config.clone());
        engine.indexed(indexed);
        let mut waiting = Vec::new();
        for (place, record) in stage.records.clone() {
            engine.replay(place, record).unwrap();
            waiting.extend(engine.take_past());
        }
        let mut stage = Stage::on(stage.config, stage.records, stage.now, indexed);
        let (agent, client) = (stage.agent(11, "a"), stage.client(12));
        Self { stage, index, agent, client, waiting }
    }

    fn figures(&mut self) -> (u64, u64, u64, u64, u64) {
        let stats = self.stage.stats();
        let (redriven, purged) = (stats.redriven, stats.purged);
        let forgotten = stats.dead_letters_forgotten;
        (stats.dead_letters, stats.dead_letters_indexed, forgotten, redriven, purged)
    }
}

#[test]
fn a_letter_leaves_memory_for_the_index_and_is_listed_and_counted_all_the_same() {
    let mut scene = Scene::new(config());
    let first = scene.dead();
    scene.indexed();
    assert_eq!(
        scene.stage.engine.durable_state().keys().filter(|it| it.contains("dead ")).count(),
        0
    );
    let second = scene.dead();
    assert_eq!(scene.list(0), [second, first]);
    assert_eq!(scene.figures(), (2, 1, 0, 0, 0));
    scene.indexed();
    assert_eq!(scene.list(1), [second, first]);
    assert_eq!(scene.figures(), (2, 2, 0, 0, 0));
    let through = scene.stage.engine.sequence();
    let mut scene = scene.restarted(through);
    assert_eq!(scene.waiting, [], "the index has it all");
    assert_eq!(scene.list(0), [second, first]);
    assert_eq!(scene.figures(), (2, 2, 0, 0, 0));
}

#[test]
fn logged_and_ephemeral_letters_are_listed_in_the_order_in_which_they_died() {
    let mut scene = Scene::new(config());
    let mut all = Vec::new();
    for number in 0..12 {
        all.push(if number % 3 == 0 { scene.dead() } else { scene.ephemeral() });
        if number == 7 {
            scene.indexed();
        }
    }
    all.reverse();
    for limit in [0, 1, 2, 5] {
        assert_eq!(scene.list(limit), all);
    }
    // A cursor goes on where it was, whatever went to the index meanwhile.
    let filter = DeadLetterFilter { limit: 4, ..Default::default() };
    let next = scene.page(&filter).next;
    scene.indexed();
    let filter = DeadLetterFilter { before: next, ..Default::default() };
    let rest = scene.page(&filter).letters.into_iter().map(|letter| letter.publish.envelope.id);
    assert_eq!(rest.collect::<Vec<_>>(), all[4..]);
}

#[test]
fn a_letter_that_is_only_in_the_index_is_sent_again_once() {
    let mut scene = Scene::new(config());
    let (one, other) = (scene.dead(), scene.dead());
    scene.indexed();
    let before_it = scene.stage.engine.sequence();
    let id = scene.redrive(one).unwrap();
    assert!(matches!(scene.stage.query(Query::task(id)), Ok(Answer::Task(_))));
    assert_eq!(scene.index.len(), 2, "the index does not know yet");
    for _ in 0..2 {
        assert_eq!(scene.redrive(one), Err(RefusalCode::NotFound));
        assert_eq!(scene.list(0), [other]);
        assert_eq!(scene.figures(), (1, 1, 0, 1, 0));
        scene.indexed();
        assert_eq!(scene.index.len(), 1);
    }
    // A crash may come before the index knows.
    let mut scene = scene.restarted(before_it);
    assert_eq!(scene.redrive(one), Err(RefusalCode::NotFound));
    assert_eq!(scene.figures(), (1, 1, 0, 1, 0));
}

#[test]
fn a_letter_that_was_cleared_before_a_crash_is_gone_though_the_index_has_it_still() {
    let mut scene = Scene::new(config());
    let (one, two, three) = (scene.dead(), scene.dead(), scene.dead());
    scene.indexed();
    let through = scene.stage.engine.sequence();
    scene.redrive(one).unwrap();
    scene.purge(LetterAddress::from(two)).unwrap();
    let mut scene = scene.restarted(through);
    assert_eq!(scene.index.len(), 3);
    assert_eq!(scene.list(0), [three]);
    assert_eq!(scene.figures(), (1, 1, 0, 1, 1));
    assert_eq!(scene.redrive(one), Err(RefusalCode::NotFound));
    assert_eq!(scene.purge(LetterAddress::from(two)), Err(RefusalCode::NotFound));
    let cleared = scene.waiting.iter().filter(|past| matches!(past, Past::Cleared(_))).count();
    assert_eq!(cleared, 2, "the index is told again");
    scene.indexed();
    assert_eq!(scene.index.len(), 1);
    assert_eq!(scene.list(0), [three]);
    // With nothing left of the index, the log says the same.
    scene.index.0.lock().unwrap().clear();
    let mut scene = scene.restarted(Sequence(0));
    assert_eq!(scene.list(0), [three]);
    scene.indexed();
    assert_eq!((scene.index.len(), scene.list(0)), (1, vec![three]));
    assert_eq!(scene.figures(), (1, 1, 0, 1, 1));
}

#[test]
fn of_copies_in_memory_and_in_the_index_one_must_be_named() {
    let mut scene = Scene::new(config());
    let mut other = scene.stage.agent(3, "b");
    let publish = {
        let mut publish = scene.stage.message(Kind::Event, "agents:a,b");
        publish.options.durability = Some(Durability::Synced);
        publish
    };
    let id = publish.envelope.id;
    let found = deliveries(&scene.stage.publish(&mut scene.client, &publish).unwrap());
    let dead = || Outcome::DeadLetter { reason: "poison".into() };
    let effects = scene.stage.ask(&mut scene.agent, settle(found[0].token, dead())).unwrap();
    scene.note(effects);
    scene.indexed();
    let effects = scene.stage.ask(&mut other, settle(found[1].token, dead())).unwrap();
    scene.note(effects);
    assert_eq!(scene.purge(LetterAddress::from(id)), Err(RefusalCode::Invalid));
    let named = |inbox: &str| LetterAddress { id, inbox: Some(inbox.parse().unwrap()) };
    scene.purge(named("agent:a")).unwrap();
    assert_eq!(scene.purge(named("agent:a")), Err(RefusalCode::NotFound));
    scene.purge(LetterAddress::from(id)).unwrap();
    scene.indexed();
    assert_eq!(scene.index.len(), 0);
    assert_eq!(scene.figures(), (0, 0, 0, 0, 2));
}

#[test]
fn a_letter_past_its_time_is_gone_though_the_index_has_it_still() {
    let keep = Duration::from_secs(10);
    let mut scene = Scene::new(EngineConfig { dead_letter_keep: keep, ..config() });
    let letter = scene.dead();
    scene.indexed();
    scene.stage.pass(millis(9_999));
    assert_eq!(scene.list(0), [letter]);
    scene.stage.pass(millis(1));
    assert_eq!(scene.redrive(letter), Err(RefusalCode::NotFound));
}

#[test]
fn a_lost_index_takes_no_letter_along_that_the_log_still_has() {
    const HOUR: Duration = Duration::from_hours(1);
    let mut scene = Scene::new(EngineConfig { dead_letter_keep: HOUR, ..config() });
    // The first dies while the clock is ahead, and leaves memory for the index; the second dies after
    // it, and is past its time before it.
    let noon = scene.stage.now.wall;
    scene.stage.now.wall = noon.after(HOUR);
    let first = scene.dead();
    scene.indexed();
    scene.stage.now.wall = noon;
    scene.dead();
    scene.stage.pass(HOUR + millis(1));
    assert_eq!(scene.list(0), [first]);
    let before = scene.stage.engine.sequence().next();
    let mut effects = scene.stage.handle(Command::Clean { before });
    while !effects.contains(&Effect::Cleaned { before }) {
        effects = scene.stage.handle(Command::Clean { before });
    }
    scene.index.0.lock().unwrap().clear();
    let mut scene = scene.restarted(Sequence(0));
    assert!(scene.list(0).contains(&first));
    scene.redrive(first).unwrap();
}

#[test]
fn letters_are_not_forgotten_before_the_index_has_them_unless_it_takes_nothing_any_more() {
    let mut scene = Scene::new(EngineConfig { dead_letters: 2, ..config() });
    let mut all: Vec<_> = (0..5).map(|_| scene.dead()).collect();
    all.reverse();
    assert_eq!(scene.list(0), all);
    scene.indexed();
    assert_eq!(scene.list(0), all);
    let more: Vec<_> = (0..4).map(|_| scene.dead()).collect();
    scene.stage.handle(Command::IndexStopped);
    let kept = [&[more[3], more[2]], &all[..]].concat();
    assert_eq!(scene.list(0), kept);
    assert_eq!(scene.figures(), (7, 5, 2, 0, 0));
    let latest = scene.dead();
    assert_eq!(scene.list(0), [&[latest, more[3]], &all[..]].concat());
}

#[test]
fn an_ephemeral_letter_is_deleted_without_a_record() {
    let mut scene = Scene::new(config());
    let letter = scene.ephemeral();
    let before = scene.stage.engine.sequence();
    scene.purge(LetterAddress::from(letter)).unwrap();
    assert_eq!(scene.stage.engine.sequence(), before);
    assert_eq!(scene.figures(), (0, 0, 0, 0, 1));
}

#[test]
fn an_ephemeral_letter_is_in_memory_only_whatever_becomes_of_the_index() {
    let mut scene = Scene::new(config());
    let letter = scene.ephemeral();
    scene.indexed();
    assert_eq!(scene.waiting, [], "nothing is handed to the index");
    assert_eq!(scene.list(0), [letter]);
    assert_eq!(scene.figures(), (1, 0, 0, 0, 0));
}

#[test]
fn cleaning_says_no_letter_again_that_the_index_has() {
    let mut scene = Scene::new(config());
    let (one, two) = (scene.dead(), scene.dead());
    scene.indexed();
    let before = scene.stage.engine.sequence().next();
    scene.stage.handle(Command::Clean { before });
    let is_letter = |record: &Record| matches!(record, Record::Carried(it) if matches!(**it, Carried::Letter(_)));
    assert!(scene.stage.records.iter().all(|(_, record)| !is_letter(record)));
    let through = scene.stage.engine.sequence();
    scene.stage.records.retain(|(at, _)| *at >= before);
    scene.indexed();
    let mut scene = scene.restarted(through);
    assert_eq!(scene.list(0), [two, one]);
    scene.redrive(one).unwrap();
    assert_eq!(scene.list(0), [two]);
    assert_eq!(scene.figures(), (1, 1, 0, 1, 0));
}
