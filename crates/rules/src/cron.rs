//! When a cron expression is due.
//!
//! An expression is read in the local time of its zone. Where clocks are put forward, a time of
//! day that is left out is due once, right after the gap; where they are put back, one that comes
//! twice is due once, the first time. An expression that names no time of day but a rhythm, such
//! as every hour or every five minutes, keeps to it through both. The zones come with the program,
//! so that the answer does not depend on the machine.

use crate::kept::Kept;
use crate::nearest::nearest;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Weekday};
use jiff::civil::{self, Date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use trunkline_types::WallTime;

/// The longest expression in bytes.
const MOST_BYTES: usize = 256;

/// The fields of an expression.
const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of month", "month", "day of week"];

/// Short names that some crons know, with what they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// How many expressions a generation holds. One takes some kilobytes.
const GENERATION: usize = 2048;

/// For how long it is taken as known that nothing is due any more, in milliseconds.
const NEVER_SPAN: u64 = 24 * 60 * 60 * 1000;

/// One year of each kind there is: leap years and others, by the day of the week they begin with.
const YEARS: [i16; 14] =
    [2000, 2004, 2008, 2012, 2016, 2020, 2024, 2001, 2002, 2003, 2005, 2006, 2009, 2010];

/// Expressions that were read, with what was found out about each, kept up to a bound: the same
/// is asked before an expression is let in, then by the engine, and again whenever it is due.
#[derive(Debug)]
pub(crate) struct Timetables(Kept<Asked, Result<Arc<Timetable>, Arc<str>>>);

/// An expression and its zone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Asked {
    cron: String,
    zone: String,
}

/// An expression that was read.
#[derive(Debug)]
struct Timetable {
    cron: Cron,
    zone: TimeZone,
    /// Whether there is a day on which it can be due. Where there is none the calendar must not
    /// be looked through for it, which would take long.
    has_day: bool,
    /// The latest answer, for all who ask about a time for which it holds. Short: a copy.
    latest: Mutex<Option<Due>>,
}

/// When an expression is due next for every time from `from` to before `until`.
#[derive(Clone, Copy, Debug)]
struct Due {
    from: WallTime,
    until: WallTime,
    next: Option<WallTime>,
}

impl Default for Timetables {
    fn default() -> Self {
        Self(Kept::new(GENERATION))
    }
}

impl Timetables {
    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first time after `after` at which an expression is due; `None` if it never is again.
    ///
    /// # Errors
    /// What is wrong with the expression or the zone, and what would be right.
    pub(crate) fn next_due(
        &self,
        cron: &str,
        zone: &str,
        after: WallTime,
    ) -> Result<Option<WallTime>, String> {
        if cron.len() > MOST_BYTES || zone.len() > MOST_BYTES {
            // Not kept, for it may be of any length.
            return Timetable::read(cron, zone).map(|table| table.next_due(after));
        }
        let asked = Asked { cron: cron.to_owned(), zone: zone.to_owned() };
        // What is wrong is kept as well, because finding it out takes longer than to read.
        let read =
            || Ok::<_, Infallible>(Timetable::read(cron, zone).map(Arc::new).map_err(Arc::from));
        let Ok(table) = self.0.get(&asked, read);
        match table {
            Ok(table) => Ok(table.next_due(after)),
            Err(problem) => Err(problem.as_ref().to_owned()),
        }
    }
}

impl Timetable {
    fn read(cron: &str, zone: &str) -> Result<Self, String> {
        let cron = parse(cron)?;
        let zone = find_zone(zone)?;
        let has_day = first_day(&cron).0;
        Ok(Self { cron, zone, has_day, latest: Mutex::new(None) })
    }

    fn next_due(&self, after: WallTime) -> Option<WallTime> {
        if !self.has_day {
            return None;
        }
        let latest = *self.latest.lock();
        if let Some(due) = latest.filter(|due| (due.from..due.until).contains(&after)) {
            return due.next;
        }
        let next = self.search(after);
        let until = next.unwrap_or(WallTime(after.0.saturating_add(NEVER_SPAN)));
        *self.latest.lock() = Some(Due { from: after, until, next });
        next
    }

    /// Looks through the calendar. A day on which the expression can be due comes again after 40
    /// years at the latest (29 February, on a day of the week), so that it does not take long.
    fn search(&self, after: WallTime) -> Option<WallTime> {
        let after = i64::try_from(after.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        // The end of the calendar is as good as never, and so is the year 5000, where the search
        // ends.
        let after = after?.to_zoned(self.zone.clone());
        let due = self.cron.find_next_occurrence(&after, false).ok()?;
        u64::try_from(due.timestamp().as_millisecond()).ok().map(WallTime)
    }
}

/// Whether there is a day on which an expression can be due, in any year, and how many days were
/// looked at to know, which is all of fourteen years at most.
fn first_day(cron: &Cron) -> (bool, usize) {
    let mut looked = 0;
    for year in YEARS {
        for month in 1..=12_i8 {
            if !cron.pattern.month_match(month.unsigned_abs().into()).unwrap_or(false) {
                continue;
            }
            let Ok(first) = Date::new(year, month, 1) else { continue };
            for date in first.series(1.day()).take_while(|date| date.month() == month) {
                looked += 1;
                let (month, day) = (month.unsigned_abs().into(), date.day().unsigned_abs().into());
                let weekday = weekday(date);
                if cron.pattern.day_match(year.into(), month, day, weekday).unwrap_or(false) {
                    return (true, looked);
                }
            }
        }
    }
    (false, looked)
}

fn weekday(date: Date) -> Weekday {
    match date.weekday() {
        civil::Weekday::Monday => Weekday::Monday,
        civil::Weekday::Tuesday => Weekday::Tuesday,
        civil::Weekday::Wednesday => Weekday::Wednesday,
        civil::Weekday::Thursday => Weekday::Thursday,
        civil::Weekday::Friday => Weekday::Friday,
        civil::Weekday::Saturday => Weekday::Saturday,
        civil::Weekday::Sunday => Weekday::Sunday,
    }
}

fn parse(text: &str) -> Result<Cron, String> {
    if text.len() > MOST_BYTES {
        let bytes = text.len();
        return Err(format!("the cron expression has {bytes} bytes, the limit is {MOST_BYTES}"));
    }
    let trimmed = text.trim();
    if trimmed.starts_with('@') {
        let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(trimmed));
        let remedy = known.map_or_else(
            || "write out its fields".to_owned(),
            |(_, fields)| format!("write '{fields}'"),
        );
        return Err(format!("the cron expression '{trimmed}' is a short name; {remedy}"));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 && fields.len() != 6 {
        return Err(format!(
            "the cron expression '{trimmed}' has {} fields; it needs 5 (minute, hour, day of \
             month, month, day of week) or 6 with the second in front",
            fields.len()
        ));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| {
        let names = &FIELDS[FIELDS.len() - fields.len()..];
        // Which field it is, is found by reading each alone.
        let alone = |place: usize| {
            let mut parts = vec!["*"; fields.len()];
            parts[place] = fields[place];
            parser.parse(&parts.join(" ")).err()
        };
        let wrong = (0..fields.len()).find_map(|place| Some((place, alone(place)?)));
        match wrong {
            Some((place, error)) => {
                let (name, field, reason) = (names[place], fields[place], reason(&error));
                format!(
                    "the {name} '{field}' of the cron expression '{trimmed}' is wrong: {reason}"
                )
            }
            None => format!("the cron expression '{trimmed}' is wrong: {}", reason(&error)),
        }
    })
}

/// What the parser says, without its titles.
fn reason(error: &CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text.clone(),
        other => other.to_string(),
    };
    let mut chars = text.trim_end_matches('.').chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).take(200).collect()
}

fn find_zone(zone: &str) -> Result<TimeZone, String> {
    if zone.is_empty() {
        return Ok(TimeZone::UTC);
    }
    let database = TimeZoneDatabase::bundled();
    if let Ok(found) = database.get(zone) {
        return Ok(found);
    }
    let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let shown: String = zone.chars().take(64).collect();
    Err(match nearest(&shown, names.iter().map(String::as_str)) {
        Some(near) => format!("unknown time zone '{shown}'; did you mean '{near}'?"),
        None => format!("unknown time zone '{shown}'; it is an IANA name such as Europe/Berlin"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_day_ever_comes_takes_fourteen_years_of_days_at_most() {
        for (cron, comes) in [
            ("* * 31 4,6,9,11 *", false),
            ("0 0 30 2 *", false),
            ("0 0 1 * +MON#5", false),
            ("* * * * *", true),
            ("0 0 29 2 *", true),
            ("0 0 29 2 +SUN", true),
            ("0 0 LW 2 *", true),
            ("0 0 * 2 THU#5", true),
            ("0 0 31W 4 *", false),
        ] {
            let (found, looked) = first_day(&parse(cron).unwrap());
            assert_eq!(found, comes, "{cron}");
            assert!(looked <= 14 * 366, "{cron}: {looked}");
        }
        assert_eq!(first_day(&parse("* * 31 4,6,9,11 *").unwrap()).1, 14 * 4 * 30);
        assert_eq!(first_day(&parse("30 9 * * *").unwrap()).1, 1);
    }

    #[test]
    fn every_kind_of_year_is_looked_at() {
        let mut kinds: Vec<_> = YEARS
            .map(|year| {
                let first = Date::new(year, 1, 1).unwrap();
                (first.in_leap_year(), first.weekday().to_monday_zero_offset())
            })
            .into();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 14);
    }

    #[test]
    fn what_never_comes_is_not_looked_for_in_the_calendar() {
        let table = Timetable::read("* * 31 4,6,9,11 *", "Europe/Berlin").unwrap();
        assert_eq!(table.next_due(WallTime(0)), None);
        assert!(table.latest.lock().is_none(), "no search has left an answer");
    }

    #[test]
    fn an_expression_is_read_once_and_its_answer_holds_until_it_is_due() {
        let tables = Timetables::default();
        let (cron, zone) = ("0 12 * * *", "Europe/Berlin");
        let noon = WallTime(11 * 60 * 60 * 1000);
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(tables.next_due(cron, zone, WallTime(1000)), Ok(Some(noon)));
        let asked = Asked { cron: cron.to_owned(), zone: zone.to_owned() };
        let kept = || tables.0.get(&asked, || Err(())).unwrap().unwrap();
        let latest = || {
            let due = kept().latest.lock().unwrap();
            (due.from.0, due.until.0)
        };
        assert_eq!(latest(), (1000, noon.0));
        assert_eq!(tables.next_due(cron, zone, WallTime(5000)), Ok(Some(noon)));
        assert_eq!(latest(), (1000, noon.0), "it was not looked for again");
        assert_eq!(tables.next_due(cron, zone, noon), Ok(Some(WallTime(noon.0 + day))));
        assert_eq!(latest(), (noon.0, noon.0 + day));
        assert_eq!(
            tables.next_due(cron, zone, WallTime(0)),
            Ok(Some(noon)),
            "before what is known"
        );
    }
}
