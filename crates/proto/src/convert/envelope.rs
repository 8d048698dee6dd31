//! Envelopes, payloads and publishes.

use crate::convert::words;
use crate::decode::{
    id_bytes, message_id, millis, name, optional_id, optional_name, payload, required, small_text,
    text,
};
use crate::{DecodeError, v1};
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{Envelope, Payload, Publish, PublishOptions, TenantId, WallTime};

/// Leaves out the tenant that an empty field stands for.
fn tenant_text(tenant: &TenantId) -> String {
    if *tenant == TenantId::default() { String::new() } else { tenant.to_string() }
}

fn tenant(text: &str) -> Result<TenantId, DecodeError> {
    if text.is_empty() { Ok(TenantId::default()) } else { name("envelope.tenant", text) }
}

impl From<Payload> for v1::Payload {
    fn from(Payload { content_type, encoding, data }: Payload) -> Self {
        let encoding = words::encoding_number(encoding);
        Self { content_type: content_type.into(), data, encoding }
    }
}

impl TryFrom<v1::Payload> for Payload {
    type Error = DecodeError;
    fn try_from(payload: v1::Payload) -> Result<Self, DecodeError> {
        let v1::Payload { content_type, data, encoding } = payload;
        Ok(Self {
            content_type: small_text("payload.content_type", content_type)?,
            encoding: words::encoding("payload.encoding", encoding)?,
            data,
        })
    }
}

impl From<(SmolStr, SmolStr)> for v1::Header {
    fn from((name, value): (SmolStr, SmolStr)) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl TryFrom<v1::Header> for (SmolStr, SmolStr) {
    type Error = DecodeError;
    fn try_from(v1::Header { name, value }: v1::Header) -> Result<Self, DecodeError> {
        Ok((small_text("header.name", name)?, small_text("header.value", value)?))
    }
}

impl From<&Envelope> for v1::Envelope {
    fn from(envelope: &Envelope) -> Self {
        let Envelope {
            id,
            tenant,
            kind,
            source,
            destination,
            priority,
            ttl,
            ordering_key,
            idempotency_key,
            correlation_id,
            causation_id,
            root_id,
            redriven_from,
            context_id,
            traceparent,
            headers,
            payload,
        } = envelope;
        Self {
            id: id_bytes(*id),
            tenant: tenant_text(tenant),
            kind: v1::Kind::from(*kind).into(),
            source: source.as_ref().map(ToString::to_string),
            destination: Some(destination.clone().into()),
            priority: v1::Priority::from(*priority).into(),
            ttl_ms: ttl.map(millis),
            ordering_key: ordering_key.as_ref().map(ToString::to_string),
            idempotency_key: idempotency_key.as_ref().map(ToString::to_string),
            correlation_id: correlation_id.map(id_bytes),
            causation_id: causation_id.map(id_bytes),
            root_id: root_id.map(id_bytes),
            context_id: context_id.as_ref().map(ToString::to_string),
            traceparent: traceparent.as_ref().map(ToString::to_string),
            headers: headers.iter().cloned().map(Into::into).collect(),
            payload: Some(payload.clone().into()),
            redriven_from: redriven_from.as_deref().copied().map(id_bytes),
        }
    }
}

impl TryFrom<v1::Envelope> for Envelope {
    type Error = DecodeError;
    fn try_from(envelope: v1::Envelope) -> Result<Self, DecodeError> {
        let traceparent = envelope.traceparent;
        Ok(Self {
            id: message_id("envelope.id", &envelope.id)?,
            tenant: tenant(&envelope.tenant)?,
            kind: words::kind("envelope.kind", envelope.kind)?,
            source: optional_name("envelope.source", envelope.source.as_deref())?,
            destination: required("envelope.destination", envelope.destination)?.try_into()?,
            priority: words::priority("envelope.priority", envelope.priority)?,
            ttl: envelope.ttl_ms.map(Duration::from_millis),
            ordering_key: optional_name("envelope.ordering_key", envelope.ordering_key.as_deref())?,
            idempotency_key: optional_name(
                "envelope.idempotency_key",
                envelope.idempotency_key.as_deref(),
            )?,
            correlation_id: optional_id(
                "envelope.correlation_id",
                envelope.correlation_id.as_ref(),
            )?,
            causation_id: optional_id("envelope.causation_id", envelope.causation_id.as_ref())?,
            root_id: optional_id("envelope.root_id", envelope.root_id.as_ref())?,
            redriven_from: optional_id("envelope.redriven_from", envelope.redriven_from.as_ref())?
                .map(Box::new),
            context_id: optional_name("envelope.context_id", envelope.context_id.as_deref())?,
            traceparent: traceparent
                .map(|given| text("envelope.traceparent", given).map(Into::into))
                .transpose()?,
            headers: crate::decode::all(envelope.headers)?,
            payload: payload(envelope.payload)?,
        })
    }
}

impl From<&PublishOptions> for v1::PublishOptions {
    fn from(options: &PublishOptions) -> Self {
        let PublishOptions {
            task,
            reply,
            durability,
            attempts,
            delay,
            not_before,
            max_run,
            gather,
            absent,
        } = options;
        Self {
            task: *task,
            reply: *reply,
            durability: v1::Durability::from(*durability).into(),
            attempts: *attempts,
            delay_ms: delay.map(millis),
            absent: v1::Absent::from(*absent).into(),
            not_before_at_ms: not_before.map(|at| at.0),
            max_run_ms: max_run.map(millis),
            gather: gather.map(Into::into),
        }
    }
}

impl TryFrom<v1::PublishOptions> for PublishOptions {
    type Error = DecodeError;
    fn try_from(options: v1::PublishOptions) -> Result<Self, DecodeError> {
        let v1::PublishOptions {
            task,
            reply,
            durability,
            attempts,
            delay_ms,
            absent,
            not_before_at_ms,
            max_run_ms,
            gather,
        } = options;
        Ok(Self {
            task,
            reply,
            durability: words::durability("publish_options.durability", durability)?,
            attempts,
            delay: delay_ms.map(Duration::from_millis),
            not_before: not_before_at_ms.map(WallTime),
            max_run: max_run_ms.map(Duration::from_millis),
            gather: gather.map(Into::into),
            absent: words::absent("publish_options.absent", absent)?,
        })
    }
}

impl From<&Publish> for v1::Publish {
    fn from(Publish { envelope, options }: &Publish) -> Self {
        let options = (*options != PublishOptions::default()).then(|| options.into());
        Self { envelope: Some(envelope.into()), options }
    }
}

impl TryFrom<v1::Publish> for Publish {
    type Error = DecodeError;
    fn try_from(v1::Publish { envelope, options }: v1::Publish) -> Result<Self, DecodeError> {
        Ok(Self {
            envelope: required("publish.envelope", envelope)?.try_into()?,
            options: options.map(TryInto::try_into).transpose()?.unwrap_or_default(),
        })
    }
}

impl TryFrom<v1::Publish> for Arc<Publish> {
    type Error = DecodeError;
    fn try_from(publish: v1::Publish) -> Result<Self, DecodeError> {
        Publish::try_from(publish).map(Arc::new)
    }
}
