//! How inboxes are run: set while they are at work, kept in the log.

use super::frame::Answered;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::Record;
use crate::table::{InboxKey, SessionKey, TenantKey};
use trunkline_types::{
    Destination, Durability, InboxAddress, InboxChange, InboxEffective, InboxInfo, InboxSettings,
    InboxStats, Refusal, RefusalCode,
};

impl Engine {
    /// Changes how an inbox is run. It is made if nobody has heard of it yet.
    pub(crate) fn set_inbox(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        (address, change): (&InboxAddress, &InboxChange),
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let limits = &self.config.limits;
        let most = self.config.inbox_logged.max(u64::from(self.config.inbox_ephemeral));
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        change.check(address, most, limits.longest_span)?;
        let bindings = change.bindings.as_deref().unwrap_or_default();
        for binding in bindings {
            let (size, limit) = (binding.key.len() + binding.value.len(), limits.header_bytes);
            if size > limit {
                let message = format!(
                    "the label that priority '{}' is bound to at '{address}' has {size} bytes, \
                     the limit is {limit}",
                    binding.priority
                );
                return Err(Refusal::new(RefusalCode::TooLarge, message));
            }
        }
        let tenant = self.sessions[session].tenant;
        let destination = match address.clone() {
            InboxAddress::Agent(id) => Destination::Agent(id),
            InboxAddress::Skill(skill) => Destination::Skill(skill),
        };
        self.check_room_for_inbox(tenant, &destination)?;
        if self.config.logged {
            self.check_log()?;
        }
        let inbox = self.inbox(tenant, address);
        let before = self.inboxes[inbox].settings();
        let settings = before.clone().changed(change);
        let changes = settings != *before;
        if self.config.logged {
            let (tenant, inbox) = (self.tenants[tenant].id.clone(), address.clone());
            let (settings, session) = (Box::new(settings.clone()), self.sessions[session].id);
            let at = now.wall;
            // Also if nothing changes: what is sent again after a restart must not be done then.
            self.emit(Record::InboxSet { tenant, inbox, settings, session, operation, at }, out);
        }
        if changes {
            self.apply_inbox_set(inbox, settings);
            // At once, so that what comes next finds nobody outside an inbox that is not to be
            // waited for.
            self.use_room(now, inbox, out);
            self.dispatch_inbox(now, inbox, out);
        }
        Ok(Answered::Done(self.lasting_level()))
    }

    /// The state after an inbox was set; shared by live commands and replay.
    pub(crate) fn apply_inbox_set(&mut self, inbox: InboxKey, settings: InboxSettings) {
        self.inboxes[inbox].settings = (!settings.is_default()).then(|| Box::new(settings));
    }

    /// An inbox as it stands.
    pub(crate) fn inbox_info(
        &self,
        tenant: TenantKey,
        address: &InboxAddress,
    ) -> Result<InboxInfo, Refusal> {
        let row = &self.tenants[tenant];
        let known = match address {
            InboxAddress::Agent(id) => row.agent_inbox(id),
            InboxAddress::Skill(skill) => row.skill_inboxes.get(skill).copied(),
        };
        let Some(key) = known else {
            let message = format!(
                "inbox '{address}' is unknown: nobody serves it and nothing was sent to it or set \
                 about it"
            );
            return Err(Refusal::new(RefusalCode::NotFound, message));
        };
        let inbox = &self.inboxes[key];
        let settings = inbox.settings();
        let is_skill = matches!(address, InboxAddress::Skill(_));
        let serving = inbox.servers.iter().filter(|&&server| self.sessions[server].takes_work());
        Ok(InboxInfo {
            settings: settings.clone(),
            effective: InboxEffective {
                when_full: self.when_full(key),
                wait: settings.wait.unwrap_or(self.config.wait),
                ephemeral: self.ephemeral_limit(inbox),
                logged: self.logged_limit(inbox),
                routing: is_skill.then(|| settings.routing.unwrap_or(self.config.routing)),
            },
            stats: InboxStats {
                address: Some(address.clone()),
                counters: inbox.totals(),
                gauges: inbox.gauges(),
            },
            waiting_outside: u32::try_from(self.outside_count(key)).unwrap_or(u32::MAX),
            servers: u32::try_from(serving.count()).unwrap_or(u32::MAX),
        })
    }

    /// How durable a change of what is kept about agents and inboxes must be before it is
    /// confirmed.
    pub(crate) fn lasting_level(&self) -> Durability {
        if self.config.logged { Durability::Synced } else { Durability::Ephemeral }
    }
}
