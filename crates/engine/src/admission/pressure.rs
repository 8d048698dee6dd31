//! Pressure: those who send to an inbox that fills are told to slow down, before it is full.

use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::table::{InboxKey, SessionKey};
use std::time::Duration;
use trunkline_types::Durability;
use trunkline_types::session::{Pressure, SessionItem};

/// By how many percent points an inbox must have filled further until a sender is told again.
const STEP: u8 = 5;
/// By how many percent points an inbox must be below the threshold for the pressure to be over.
const RELIEF: u8 = 20;

impl Engine {
    /// Tells a session that has sent to an inbox how full that is, if it is near its bound and
    /// the session does not know yet.
    pub(crate) fn note_pressure(
        &mut self,
        inbox: InboxKey,
        session: SessionKey,
        level: Durability,
        out: &mut Output,
    ) {
        if !self.is_crowded(inbox, level) || self.planted(Defect::UntoldPressure) {
            return;
        }
        let percent = self.percent(inbox);
        let Some(address) = self.address(inbox) else { return };
        let Some(row) = self.sessions.get_mut(session) else { return };
        let Some(connection) = row.connection else { return };
        let pressed = &mut self.inboxes[inbox].crowd.get_or_insert_default().pressed;
        match pressed.get_mut(&session) {
            Some(told) if percent < told.saturating_add(STEP) => return,
            Some(told) => *told = percent,
            None => {
                pressed.insert(session, percent);
                row.pressed.push(inbox);
            }
        }
        let pressure = Pressure { inbox: address, percent, pace: self.pace(percent) };
        out.effects.push(Effect::Item { connection, item: SessionItem::Pressure(pressure) });
    }

    /// Tells everybody who was told to slow down that the pressure is over, if it is.
    pub(crate) fn ease_pressure(&mut self, inbox: InboxKey, out: &mut Output) {
        let pressed = self.inboxes[inbox].crowd.as_ref().is_some_and(|it| !it.pressed.is_empty());
        if !pressed {
            return;
        }
        let percent = self.percent(inbox);
        if percent > self.config.warning.saturating_sub(RELIEF) {
            return;
        }
        let Some(address) = self.address(inbox) else { return };
        let Some(crowd) = &mut self.inboxes[inbox].crowd else { return };
        for session in std::mem::take(&mut crowd.pressed).into_keys() {
            let row = &mut self.sessions[session];
            row.pressed.retain(|&other| other != inbox);
            let Some(connection) = row.connection else { continue };
            let pressure = Pressure { inbox: address.clone(), percent, pace: Duration::ZERO };
            out.effects.push(Effect::Item { connection, item: SessionItem::Pressure(pressure) });
        }
    }

    /// A session has lost its connection: over the next one it knows of no pressure.
    pub(crate) fn forget_pressure(&mut self, session: SessionKey) {
        for inbox in std::mem::take(&mut self.sessions[session].pressed) {
            if let Some(crowd) = &mut self.inboxes[inbox].crowd {
                crowd.pressed.remove(&session);
            }
            self.disperse(inbox);
        }
    }

    /// Whether an inbox is at its warning threshold, as far as envelopes of this level go. Asked
    /// after every publish, so it divides nothing.
    fn is_crowded(&self, inbox: InboxKey, level: Durability) -> bool {
        let row = &self.inboxes[inbox];
        let at = |is: u64, most: u64| {
            is.saturating_mul(100) >= most.saturating_mul(u64::from(self.config.warning))
        };
        if level.is_logged() {
            return at(row.logged(), self.logged_limit(row));
        }
        at(u64::from(row.ephemeral), u64::from(self.ephemeral_limit(row)))
            || at(row.ephemeral_bytes, self.config.inbox_ephemeral_bytes)
    }

    /// How full an inbox is, by the bound that it is nearest to.
    fn percent(&self, inbox: InboxKey) -> u8 {
        let row = &self.inboxes[inbox];
        let of = |is: u64, most: u64| is.saturating_mul(100) / most.max(1);
        let percent = of(u64::from(row.ephemeral), u64::from(self.ephemeral_limit(row)))
            .max(of(row.ephemeral_bytes, self.config.inbox_ephemeral_bytes))
            .max(of(row.logged(), self.logged_limit(row)));
        u8::try_from(percent).unwrap_or(u8::MAX).min(100)
    }

    /// The pace at a percentage: nothing at the warning threshold, all of it at 100.
    fn pace(&self, percent: u8) -> Duration {
        let warning = self.config.warning.min(100);
        let (over, span) = (percent.saturating_sub(warning), 100 - warning);
        if span == 0 {
            return self.config.pressure_pace;
        }
        self.config.pressure_pace * u32::from(over.min(span)) / u32::from(span)
    }
}
