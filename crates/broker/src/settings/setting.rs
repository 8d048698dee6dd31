//! One setting with its name.

use super::slot::Slot;

/// A setting of some `S` by its section and key: its range, its place, what it does and when it
/// takes effect.
pub struct Setting<S: 'static> {
    /// The table of the configuration file that it is in.
    pub section: &'static str,
    /// Its name there.
    pub key: &'static str,
    /// What it is and where it goes.
    pub slot: Slot<S>,
    /// When a changed value takes effect.
    pub takes: Takes,
    /// What it does, in half a sentence.
    pub doc: &'static str,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// When the configuration is read again.
    Reload,
    /// When the broker is started again.
    Restart,
}

impl<S> Setting<S> {
    /// The name with its section, as messages have it.
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

impl<S> std::fmt::Debug for Setting<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Setting").field(&self.name()).finish()
    }
}

/// A setting that is a span of time, by the field that it sets and the milliseconds of its range.
#[macro_export]
#[doc(hidden)]
macro_rules! span_setting {
    ($section:literal, $key:literal, $($field:ident).+, $least:expr, $most:expr, $takes:ident,
     $doc:literal) => {
        $crate::settings::Setting {
            section: $section,
            key: $key,
            slot: $crate::settings::Slot::Span {
                get: |settings| settings.$($field).+,
                set: |settings, span| settings.$($field).+ = span,
                least: $crate::settings::ms($least),
                most: $crate::settings::ms($most),
            },
            takes: $crate::settings::Takes::$takes,
            doc: $doc,
        }
    };
}

/// A setting that is a `Size` or a `Count`, by the field that it sets and its range.
#[macro_export]
#[doc(hidden)]
macro_rules! number_setting {
    ($kind:ident, $section:literal, $key:literal, $($field:ident).+, $least:expr, $most:expr,
     $takes:ident, $doc:literal) => {
        $crate::settings::Setting {
            section: $section,
            key: $key,
            slot: $crate::settings::Slot::$kind {
                get: |settings| u64::try_from(settings.$($field).+).unwrap_or(u64::MAX),
                // The range keeps the number within what the field can hold.
                set: |settings, number| {
                    settings.$($field).+ = number.try_into().unwrap_or(settings.$($field).+);
                },
                least: $least,
                most: $most,
            },
            takes: $crate::settings::Takes::$takes,
            doc: $doc,
        }
    };
}
