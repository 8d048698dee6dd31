//! Several tenants on one broker. Each has a model of its own, which is told nothing of the
//! others: whatever gets from one tenant to another breaks a law there.

use super::World;
use crate::check::Check;
use crate::laws::identity;
use crate::model::Model;
use crate::totals::Count;
use trunkline_engine::{Command, ConnectionKey, EntryId, Record};
use trunkline_types::session::Hello;
use trunkline_types::{Principal, TenantId};

/// The tenants there may be, by number.
const TENANTS: [&str; 2] = ["default", "other"];

/// Who says to be somebody else.
pub(crate) const IMPOSTOR: &str = "impostor";

/// The name of a tenant.
pub(crate) fn tenant(number: usize) -> TenantId {
    TENANTS[number].parse().expect("letters are a name")
}

/// On whose behalf the actors of a tenant speak.
pub(crate) fn principal(number: usize) -> Principal {
    Principal { tenant: tenant(number), ..Principal::default() }
}

impl World {
    /// Somebody says hello under an id that another principal has.
    pub(crate) fn refuse_impostor(
        &mut self,
        link: u64,
        principal: Principal,
        hello: Box<Hello>,
    ) -> Check {
        let tenant = self.tenant_on(link);
        if !identity::is_taken(&self.models[tenant], &hello) {
            // Of whom it would become is nothing known.
            self.links.remove(&link);
            return Ok(());
        }
        self.totals.add(Count::Impostors);
        let before = self.models[tenant].connections.clone();
        self.models[tenant].impostor = Some(link);
        let connection = ConnectionKey(link);
        self.command(Command::Connect { connection, principal, hello })?;
        self.models[tenant].impostor = None;
        identity::undisturbed(&self.models[tenant], &before)
    }

    /// The model of the tenant that an actor belongs to.
    pub(crate) fn model_of(&self, actor: usize) -> &Model {
        &self.models[self.actors[actor].tenant]
    }

    /// Something happens that every tenant notices.
    pub(crate) fn notice(&mut self, change: impl FnMut(&mut Model)) {
        self.models.iter_mut().for_each(change);
    }

    /// Time has passed.
    pub(crate) fn at_moment(&mut self) {
        let now = self.clock.moment();
        self.notice(|model| model.at(now));
    }

    /// Checks a law for every tenant.
    pub(crate) fn check_each(&mut self, law: impl FnMut(&mut Model) -> Check) -> Check {
        self.models.iter_mut().try_for_each(law)
    }

    /// The tenant whose session is, or was, behind a connection.
    pub(crate) fn tenant_on(&self, link: u64) -> usize {
        let known = self.models.iter().position(|model| model.connections.contains_key(&link));
        let actor = self.links.get(&link).map(|row| self.actors[row.actor].tenant);
        known.or(actor).unwrap_or_default()
    }

    /// Some actor of a tenant.
    pub(crate) fn someone_of(&self, tenant: usize) -> usize {
        self.actors.iter().position(|actor| actor.tenant == tenant).unwrap_or_default()
    }

    /// Whose business a record is: none for all.
    pub(crate) fn tenant_of(&self, record: &Record) -> Option<usize> {
        let named = |id: &TenantId| TENANTS.iter().position(|name| id.as_str() == *name);
        match record {
            // What is said again tells nobody anything.
            Record::Boot { .. } | Record::Carried(_) => None,
            Record::Agent(record) => named(&record.tenant),
            Record::Scheduled(record) => named(&record.tenant),
            Record::Accepted(accepted)
            | Record::Fired { accepted, .. }
            | Record::Redriven { accepted, .. } => named(&accepted.publish.envelope.tenant),
            Record::Subscribed { tenant, .. }
            | Record::Unsubscribed { tenant, .. }
            | Record::Lost { tenant, .. }
            | Record::AgentSet { tenant, .. }
            | Record::AgentGone { tenant, .. }
            | Record::InboxSet { tenant, .. }
            | Record::Unscheduled { tenant, .. }
            | Record::Purged { tenant, .. } => named(tenant),
            Record::Returned(record) => Some(self.tenant_of_entry(record.entry)),
            Record::Leased { entry, .. }
            | Record::Begun { entry }
            | Record::Ran { entry, .. }
            | Record::Paused { entry, .. }
            | Record::Continued { entry, .. }
            | Record::Settled { entry, .. }
            | Record::Artifact { entry, .. }
            | Record::Routed { entry, .. } => Some(self.tenant_of_entry(*entry)),
        }
    }

    /// The number of a tenant.
    pub(super) fn number_of(id: &TenantId) -> usize {
        TENANTS.iter().position(|name| id.as_str() == *name).unwrap_or_default()
    }

    /// Whose an entry is; of one that nobody knows the first tenant's laws will tell.
    pub(super) fn tenant_of_entry(&self, EntryId(entry): EntryId) -> usize {
        let mut models = self.models.iter();
        models.position(|model| model.book.entries.contains_key(&entry)).unwrap_or_default()
    }
}
