//! A setting by itself: its kind, its range, and how a text becomes it.

use super::units::{exact_size, exact_span, parse_size, parse_span, shown};
use std::time::Duration;

/// A setting of some `S` by its kind, with its place there.
#[allow(missing_docs, reason = "`get` and `set` reach the place, `least` and `most` are the range")]
pub enum Slot<S> {
    /// A span of time.
    Span { get: fn(&S) -> Duration, set: fn(&mut S, Duration), least: Duration, most: Duration },
    /// A number of bytes.
    Size { get: fn(&S) -> u64, set: fn(&mut S, u64), least: u64, most: u64 },
    /// A number of anything else.
    Count { get: fn(&S) -> u64, set: fn(&mut S, u64), least: u64, most: u64 },
    /// Yes or no.
    Flag { get: fn(&S) -> bool, set: fn(&mut S, bool) },
    /// A text with rules of its own.
    Text {
        get: fn(&S) -> String,
        set: fn(&mut S, &str) -> Result<(), String>,
        /// What it can be, for people.
        range: &'static str,
    },
}

impl<S> Slot<S> {
    /// The value in a form that can be given back.
    pub fn show(&self, settings: &S) -> String {
        match self {
            Self::Span { get, .. } => exact_span(get(settings)),
            Self::Size { get, .. } => exact_size(get(settings)),
            Self::Count { get, .. } => get(settings).to_string(),
            Self::Flag { get, .. } => get(settings).to_string(),
            Self::Text { get, .. } => get(settings),
        }
    }

    /// What the value can be, for people.
    pub fn range(&self) -> String {
        match self {
            Self::Span { least, most, .. } => {
                format!("{} to {}", exact_span(*least), exact_span(*most))
            }
            Self::Size { least, most, .. } => {
                format!("{} to {}", exact_size(*least), exact_size(*most))
            }
            Self::Count { least, most, .. } => format!("{least} to {most}"),
            Self::Flag { .. } => "true or false".into(),
            Self::Text { range, .. } => (*range).to_owned(),
        }
    }

    /// Sets the value from a text: a flag's or an environment variable's.
    ///
    /// # Errors
    /// What is wrong, as the rest of a sentence that begins with the name of the setting.
    pub fn set_text(&self, settings: &mut S, text: &str) -> Result<(), String> {
        match self {
            Self::Span { set, least, most, .. } => {
                let span = parse_span(text).map_err(|error| self.wrong(&error))?;
                if !(*least..=*most).contains(&span) {
                    return Err(range(&exact_span(span), &exact_span(*least), &exact_span(*most)));
                }
                set(settings, span);
            }
            Self::Size { set, least, most, .. } => {
                let size = parse_size(text).map_err(|error| self.wrong(&error))?;
                if !(*least..=*most).contains(&size) {
                    return Err(range(&exact_size(size), &exact_size(*least), &exact_size(*most)));
                }
                set(settings, size);
            }
            Self::Count { set, least, most, .. } => {
                let count: i128 =
                    text.trim().replace('_', "").parse().map_err(|_not_a_number| {
                        format!(
                            "is '{}', which is no number; the range is {least} to {most}",
                            shown(text)
                        )
                    })?;
                match u64::try_from(count) {
                    Ok(count) if (*least..=*most).contains(&count) => set(settings, count),
                    _ => return Err(range(&shown(text), &least.to_string(), &most.to_string())),
                }
            }
            Self::Flag { set, .. } => match text.trim() {
                "true" => set(settings, true),
                "false" => set(settings, false),
                _ => return Err(format!("is '{}', it must be true or false", shown(text))),
            },
            Self::Text { set, .. } => {
                set(settings, text).map_err(|error| format!("is wrong: {error}"))?;
            }
        }
        Ok(())
    }

    /// What is wrong with a text that cannot be read, with the range.
    fn wrong(&self, error: &str) -> String {
        format!("is wrong: {error}; the range is {}", self.range())
    }

    /// What a value has to be, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Span { .. } => "a time span such as \"30s\"",
            Self::Size { .. } => "a size such as \"64MiB\" or a number of bytes",
            Self::Count { .. } => "a number",
            Self::Flag { .. } => "true or false",
            Self::Text { .. } => "a text",
        }
    }
}

impl<S> std::fmt::Debug for Slot<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} within {}", self.kind(), self.range())
    }
}

fn range(value: &str, least: &str, most: &str) -> String {
    format!("is {value}, the range is {least} to {most}")
}
