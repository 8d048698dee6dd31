//! Cleaning: what is durable is said again at the end of the log, so that its beginning may go.
//!
//! Every durable thing has a **base**: the place of the oldest record that a replay needs to
//! rebuild it. A **sweep** goes over all things in bounded steps and writes each whose base lies
//! before the place from which records are to stay. A slot that is freed and used again behind the
//! sweep does no harm: what is new has a new base.
//!
//! A replay that begins in the middle skips what is said of things it does not know: they were
//! accepted before its beginning, so they are said again further on, or have ended. That it then
//! arrives where the engine was rests on the order of a sweep:
//! 1. Each **thing** is written as it stands. From there on the replay follows it record by record,
//!    for nothing that a record changes about one thing depends on another one that it might not
//!    know: an entry's place in the order of its key, for one, follows from the entry itself.
//! 2. Then come the **marks**. Now everything is known that is there, so what was forgotten
//!    meanwhile because there was too much of it can be told by its age and is forgotten too.
//! 3. Then come the **figures**, each absolute. Every thing that a later record speaks of is known
//!    by then, so counting on from them is exact. A figure is written if it changed since it was
//!    written last, or if that was before the place from which records are to stay.
//! 4. Then come the **operations** of sessions and the tokens they used, for what was said of
//!    unknown things told of them too.
//!
//! A thing that needs several records counts as said when the last of them is there: a crash may
//! have taken the rest, and what older records tell of it must then hold.
//!
//! Only when the last record of a sweep is on disk does [`Effect::Cleaned`] appear. Whoever gives
//! records up earlier loses what they alone told of. A sweep that a stop cuts short leaves things
//! said twice, which is harmless: what is said again replaces what is known.
//!
//! [`Effect::Cleaned`]: crate::Effect::Cleaned

mod entries;
mod origins;
mod replay;
mod say;
mod sweep;

pub(crate) use origins::Origins;
pub(crate) use sweep::Sweep;
