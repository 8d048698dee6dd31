//! Reading the configuration again: what takes effect at once, what needs a restart.

use super::settings::Settings;
use super::table;

/// What another reading of the sources comes to for a broker that runs.
#[derive(Clone, Debug)]
pub(crate) struct Reloaded {
    /// The settings in force from now on.
    pub(crate) settings: Settings,
    /// What is different from before, one text each: name, old value, new value.
    pub(crate) changed: Vec<String>,
    /// What takes effect when the broker is started again.
    pub(crate) restart: Vec<String>,
}

impl Settings {
    /// Takes over from `wanted` what can change while a broker runs. `wanted` are settings that
    /// hold together.
    ///
    /// # Errors
    /// What changes now does not go with what stays as it is until a restart.
    pub(crate) fn reloaded(&self, wanted: &Self) -> Result<Reloaded, String> {
        let mut settings = self.clone();
        let (mut changed, mut restart) = (Vec::new(), Vec::new());
        for setting in table::all() {
            let (old, new) = (setting.show(self), setting.show(wanted));
            if old == new {
                continue;
            }
            let told = format!("{} from {old} to {new}", setting.name());
            if setting.reloads() {
                setting.set_text(&mut settings, &new)?;
                changed.push(told);
            } else {
                restart.push(told);
            }
        }
        settings.check()?;
        Ok(Reloaded { settings, changed, restart })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_can_change_changes_and_the_rest_is_named() {
        let running = Settings::default();
        let mut wanted = Settings::default();
        wanted.broker.engine.lease = Duration::from_secs(10);
        wanted.broker.log.free_segments = 5;
        let reloaded = running.reloaded(&wanted).unwrap();
        assert_eq!(reloaded.changed, ["broker.lease from 30s to 10s"]);
        assert_eq!(reloaded.restart, ["log.free_segments from 2 to 5"]);
        assert_eq!(reloaded.settings.broker.engine.lease, Duration::from_secs(10));
        assert_eq!(reloaded.settings.broker.log.free_segments, 2);
    }

    #[test]
    fn what_would_not_go_with_what_stays_is_refused() {
        let mut running = Settings::default();
        running.server.max_frame_bytes = 2 << 20;
        let mut wanted = Settings::default();
        wanted.broker.engine.limits.payload_bytes = 4 << 20;
        let text = running.reloaded(&wanted).unwrap_err();
        assert!(text.contains("server.max_frame_bytes is 2MiB"), "{text}");
    }
}
