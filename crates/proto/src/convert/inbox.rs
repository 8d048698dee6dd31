//! Inboxes: how they are run, and how they stand.

use crate::convert::words;
use crate::decode::{all, each, millis, required, small_text};
use crate::{DecodeError, v1};
use std::time::Duration;
use trunkline_types::{
    Binding, InboxAddress, InboxChange, InboxEffective, InboxInfo, InboxSettings,
};

impl From<Binding> for v1::Binding {
    fn from(Binding { priority, key, value }: Binding) -> Self {
        let priority = v1::Priority::from(priority).into();
        Self { priority, key: key.into(), value: value.into() }
    }
}

impl TryFrom<v1::Binding> for Binding {
    type Error = DecodeError;
    fn try_from(v1::Binding { priority, key, value }: v1::Binding) -> Result<Self, DecodeError> {
        Ok(Self {
            priority: words::priority("binding.priority", priority)?,
            key: small_text("binding.key", key)?,
            value: small_text("binding.value", value)?,
        })
    }
}

impl From<InboxSettings> for v1::InboxSettings {
    fn from(settings: InboxSettings) -> Self {
        let InboxSettings { when_full, wait, limit, ttl, routing, bindings } = settings;
        Self {
            when_full: v1::WhenFull::from(when_full).into(),
            wait_ms: wait.map(millis),
            limit,
            ttl_ms: ttl.map(millis),
            routing: v1::Routing::from(routing).into(),
            bindings: each(bindings),
        }
    }
}

impl TryFrom<v1::InboxSettings> for InboxSettings {
    type Error = DecodeError;
    fn try_from(settings: v1::InboxSettings) -> Result<Self, DecodeError> {
        let v1::InboxSettings { when_full, wait_ms, limit, routing, bindings, ttl_ms } = settings;
        Ok(Self {
            when_full: words::when_full("inbox_settings.when_full", when_full)?,
            wait: wait_ms.map(Duration::from_millis),
            limit,
            ttl: ttl_ms.map(Duration::from_millis),
            routing: words::routing("inbox_settings.routing", routing)?,
            bindings: all(bindings)?,
        })
    }
}

impl From<InboxChange> for v1::InboxChange {
    fn from(change: InboxChange) -> Self {
        let InboxChange { when_full, wait, limit, ttl, routing, bindings, reset } = change;
        Self {
            when_full: v1::WhenFull::from(when_full).into(),
            wait_ms: wait.map(millis),
            limit,
            ttl_ms: ttl.map(millis),
            routing: v1::Routing::from(routing).into(),
            bindings: bindings.map(|bindings| v1::Bindings { bindings: each(bindings) }),
            reset,
        }
    }
}

impl TryFrom<v1::InboxChange> for InboxChange {
    type Error = DecodeError;
    fn try_from(change: v1::InboxChange) -> Result<Self, DecodeError> {
        let v1::InboxChange { when_full, wait_ms, limit, routing, bindings, reset, ttl_ms } =
            change;
        Ok(Self {
            when_full: words::when_full("inbox_change.when_full", when_full)?,
            wait: wait_ms.map(Duration::from_millis),
            limit,
            ttl: ttl_ms.map(Duration::from_millis),
            routing: words::routing("inbox_change.routing", routing)?,
            bindings: bindings.map(|v1::Bindings { bindings }| all(bindings)).transpose()?,
            reset,
        })
    }
}

impl From<InboxAddress> for v1::GetInboxRequest {
    fn from(address: InboxAddress) -> Self {
        Self { inbox: Some(address.into()) }
    }
}

impl TryFrom<v1::GetInboxRequest> for InboxAddress {
    type Error = DecodeError;
    fn try_from(request: v1::GetInboxRequest) -> Result<Self, DecodeError> {
        required("get_inbox_request.inbox", request.inbox)?.try_into()
    }
}

impl From<InboxEffective> for v1::InboxEffective {
    fn from(effective: InboxEffective) -> Self {
        let InboxEffective { when_full, wait, ephemeral, logged, routing } = effective;
        Self {
            when_full: v1::WhenFull::from(Some(when_full)).into(),
            wait_ms: millis(wait),
            ephemeral,
            logged,
            routing: v1::Routing::from(routing).into(),
        }
    }
}

impl TryFrom<v1::InboxEffective> for InboxEffective {
    type Error = DecodeError;
    fn try_from(effective: v1::InboxEffective) -> Result<Self, DecodeError> {
        let v1::InboxEffective { when_full, wait_ms, ephemeral, logged, routing } = effective;
        let policy = words::when_full("inbox_effective.when_full", when_full)?;
        Ok(Self {
            when_full: required("inbox_effective.when_full", policy)?,
            wait: Duration::from_millis(wait_ms),
            ephemeral,
            logged,
            routing: words::routing("inbox_effective.routing", routing)?,
        })
    }
}

impl From<InboxInfo> for v1::InboxInfo {
    fn from(info: InboxInfo) -> Self {
        let InboxInfo { settings, effective, stats, waiting_outside, servers } = info;
        Self {
            settings: (!settings.is_default()).then(|| settings.into()),
            stats: Some(stats.into()),
            waiting_outside,
            servers,
            effective: Some(effective.into()),
        }
    }
}

impl TryFrom<v1::InboxInfo> for InboxInfo {
    type Error = DecodeError;
    fn try_from(info: v1::InboxInfo) -> Result<Self, DecodeError> {
        let v1::InboxInfo { settings, stats, waiting_outside, servers, effective } = info;
        Ok(Self {
            settings: settings.map(InboxSettings::try_from).transpose()?.unwrap_or_default(),
            stats: required("inbox_info.stats", stats)?.try_into()?,
            waiting_outside,
            servers,
            effective: required("inbox_info.effective", effective)?.try_into()?,
        })
    }
}
