//! A session's way to a broker in the same process.

use crate::clock;
use crate::core::Input;
use crate::filters::FilterTable;
use crate::partition::Partition;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trunkline_engine::{Command, ConnectionKey};
use trunkline_types::TenantId;
use trunkline_types::session::{ClientFrame, Connection, Operation};

/// Hands frames to the partition. Dropped without [`Connection::close`], its session counts as
/// lost and may come back.
#[derive(Debug)]
pub(crate) struct BrokerConnection {
    partition: Arc<Partition>,
    key: ConnectionKey,
    tenant: TenantId,
    filters: Arc<FilterTable>,
    closed: AtomicBool,
}

impl BrokerConnection {
    pub(crate) fn new(partition: Arc<Partition>, key: ConnectionKey, tenant: TenantId) -> Self {
        let filters = partition.filters.clone();
        Self { partition, key, tenant, filters, closed: AtomicBool::new(false) }
    }
}

impl Connection for BrokerConnection {
    fn send(&self, mut frame: ClientFrame) {
        let goodbye = matches!(frame, ClientFrame::Goodbye);
        if self.closed.fetch_or(goodbye, Ordering::Relaxed) {
            return;
        }
        own(&self.tenant, &mut frame);
        // Here, so that other sessions need not wait while filters and cron expressions are
        // compiled, and filters evaluated.
        let verdicts = self.filters.judge(&self.tenant, &frame, clock::wall);
        let command = Command::Frame { connection: self.key, frame, verdicts };
        self.partition.bring(Input::Command(command));
    }

    fn close(&self) {
        self.send(ClientFrame::Goodbye);
    }

    fn comes_back(&self) -> bool {
        false
    }
}

/// What a session sends is of its tenant; a sender need not say so again.
fn own(tenant: &TenantId, frame: &mut ClientFrame) {
    let unsaid = TenantId::default();
    let ClientFrame::Operations { operations, .. } = frame else { return };
    if *tenant == unsaid {
        return;
    }
    for operation in operations {
        let publish = match operation {
            Operation::Publish(publish) => publish,
            Operation::SetSchedule(schedule) => &mut schedule.publish,
            _ => continue,
        };
        if publish.envelope.tenant == unsaid {
            Arc::make_mut(publish).envelope.tenant = tenant.clone();
        }
    }
}

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            let command = Command::Disconnect { connection: self.key };
            self.partition.bring(Input::Command(command));
        }
    }
}
