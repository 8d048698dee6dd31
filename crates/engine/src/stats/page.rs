//! How much one answer may hold: so many entries and so many bytes, whichever comes first.
//!
//! An answer travels in one message, whose size is bounded. The bound here is far below that one,
//! because an entry is weighed by its payload and its texts only, and because the first entry is
//! taken however large it is: otherwise what lies behind it could never be seen.

use trunkline_types::{
    AgentCard, AgentInfo, AttemptNote, DeadLetter, Destination, Envelope, Payload, Refusal,
    RefusalCode, Schedule, ScheduleInfo, SkillSchemas, TaskSnapshot,
};

/// How many entries a page has when nobody says.
const DEFAULT: u32 = 100;
/// How many entries a page may have.
pub(crate) const MOST: u32 = 1000;
/// How many bytes a page may have, unless its first entry alone has more.
const BYTES: usize = 4 << 20;
/// What the fixed fields and the names of an entry take at most, roughly.
const FIXED: usize = 1 << 10;

/// No more messages than this fit, however small they are.
pub(crate) const MOST_MESSAGES: usize = BYTES / FIXED;

/// How many entries a page of at most `asked` may have; 0 stands for the default.
pub(crate) fn entries(asked: u32) -> usize {
    if asked == 0 { DEFAULT as usize } else { asked as usize }
}

/// The room that is left on a page.
#[derive(Debug)]
pub(crate) struct Room {
    entries: usize,
    bytes: usize,
    is_empty: bool,
}

impl Room {
    /// The room of a page of at most `asked` entries; 0 stands for the default.
    ///
    /// # Errors
    /// A [`Refusal`] if that is more than a page may have.
    pub(crate) fn new(asked: u32) -> Result<Self, Refusal> {
        let entries = match asked {
            0 => DEFAULT,
            1..=MOST => asked,
            _ => {
                let message = format!("the limit is {asked}, the range is 1 to {MOST}");
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
        };
        Ok(Self { entries: entries as usize, bytes: BYTES, is_empty: true })
    }

    /// The room for the latest messages of a task or conversation: as many as were asked for, all
    /// that fit if nothing was said.
    pub(crate) fn of_messages(asked: Option<u32>) -> Self {
        let entries = asked.map_or(usize::MAX, |asked| asked as usize);
        Self { entries, bytes: BYTES, is_empty: true }
    }

    /// Takes the room for an entry of that many bytes. Whether there was enough.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let bytes = bytes + FIXED;
        if self.entries == 0 || (bytes > self.bytes && !self.is_empty) {
            return false;
        }
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_empty = false;
        true
    }
}

/// What a task weighs.
pub(crate) fn task(task: &TaskSnapshot) -> usize {
    let result = task.result.as_ref().map_or(0, payload);
    let reason = task.reason.as_ref().map_or(0, String::len);
    let progress = task.progress.as_ref().map_or(0, |progress| progress.text.len());
    result + reason + progress + notes(&task.notes) + destination(&task.destination)
}

/// What a dead letter weighs.
pub(crate) fn dead_letter(letter: &DeadLetter) -> usize {
    envelope(&letter.publish.envelope) + letter.reason.len() + notes(&letter.attempts)
}

/// What a schedule weighs.
pub(crate) fn schedule(info: &ScheduleInfo) -> usize {
    let refused = info.refused.as_ref().map_or(0, |refusal| refusal.message.len());
    let Schedule { cron, zone, publish, .. } = &info.schedule;
    envelope(&publish.envelope) + cron.len() + zone.len() + refused
}

/// What an agent weighs.
pub(crate) fn agent(agent: &AgentInfo) -> usize {
    let AgentCard { name, description, types, skills, schemas, capabilities, labels, .. } =
        &agent.card;
    let texts = types.iter().chain(capabilities).map(|text| text.len() + 4);
    let skills = skills.iter().map(|skill| skill.as_str().len() + 4);
    let labels = labels.iter().map(|(key, value)| key.len() + value.len() + 8);
    let breakers = agent.breakers.len() * 160;
    let texts: usize = texts.chain(skills).chain(labels).sum();
    let schemas: usize = schemas.iter().map(skill_schemas).sum();
    name.len() + description.len() + breakers + texts + schemas
}

fn skill_schemas(of: &SkillSchemas) -> usize {
    let SkillSchemas { skill, input, output } = of;
    let schemas = [input, output].into_iter().flatten();
    skill.as_str().len() + 16 + schemas.map(|schema| schema.as_str().len()).sum::<usize>()
}

fn envelope(envelope: &Envelope) -> usize {
    let Envelope { payload: sent, headers, destination: to, .. } = envelope;
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    payload(sent) + headers + destination(to)
}

/// What a payload weighs.
pub(crate) fn payload(payload: &Payload) -> usize {
    payload.data.len() + payload.content_type.len()
}

fn notes(notes: &[AttemptNote]) -> usize {
    notes.iter().map(|note| note.reason.len() + 160).sum()
}

fn destination(to: &Destination) -> usize {
    match to {
        Destination::Agents(ids) => ids.iter().map(|id| id.as_str().len() + 4).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_entries_or_its_bytes_but_has_one_entry() {
        let mut few = Room::new(2).unwrap();
        assert_eq!([few.take(1), few.take(1), few.take(1)], [true, true, false]);
        let mut large = Room::new(0).unwrap();
        assert_eq!([large.take(BYTES / 2), large.take(BYTES / 2)], [true, false]);
        let mut huge = Room::new(0).unwrap();
        assert_eq!([huge.take(2 * BYTES), huge.take(0)], [true, false]);
    }

    #[test]
    fn a_limit_out_of_range_is_refused() {
        assert_eq!(Room::new(1001).unwrap_err().code, RefusalCode::Invalid);
        assert!(Room::new(1000).is_ok());
    }
}
