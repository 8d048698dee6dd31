//! What is wrong with the fields of a publish. Of a field that comes several times the last counts,
//! so a fault goes when a later value is right.

use crate::DecodeError;

/// The faults found so far. There are nearly always none, which costs one word and no allocation.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Faults(Option<Box<Found>>);

#[derive(Clone, PartialEq, Debug, Default)]
struct Found {
    /// The first that nothing can put right.
    lasting: Option<DecodeError>,
    /// Those of fields that may still come again, in the order in which they were found.
    passing: Vec<DecodeError>,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(super) enum Fault {
    /// It breaks a rule of its field; a later value counts instead.
    Rule(DecodeError),
    /// It is no text, which the wire itself demands, so that no later value helps.
    NoText(DecodeError),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Rule(error)
    }
}

impl Faults {
    /// The fault to tell, if there is one.
    pub(super) fn into_result(self) -> Result<(), DecodeError> {
        let first = self.0.and_then(|found| found.lasting.or(found.passing.into_iter().next()));
        first.map_or(Ok(()), Err)
    }

    /// Takes note of a value that is wrong.
    pub(super) fn add(&mut self, fault: Fault) {
        let found = self.0.get_or_insert_default();
        match fault {
            Fault::NoText(error) => found.lasting = found.lasting.take().or(Some(error)),
            Fault::Rule(error) => {
                found.passing.retain(|other| other.field != error.field);
                found.passing.push(error);
            }
        }
    }

    /// Takes note that what comes again is right: in fields whose names begin so, earlier values
    /// are of no account.
    pub(super) fn forgive(&mut self, fields: &str) {
        if let Some(found) = &mut self.0 {
            found.passing.retain(|error| !error.field.starts_with(fields));
        }
    }

    /// Whether a field whose name begins so is wrong as it stands.
    pub(super) fn has(&self, fields: &str) -> bool {
        let passing = |error: &DecodeError| error.field.starts_with(fields);
        self.0.as_deref().is_some_and(|found| found.passing.iter().any(passing))
    }

    /// Takes in the faults of one of several values, all of which count.
    pub(super) fn absorb(&mut self, part: Self) {
        if let Err(error) = part.into_result() {
            self.add(Fault::NoText(error));
        }
    }
}
