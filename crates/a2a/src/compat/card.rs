//! What a card says besides for clients of 0.3, which read no `supportedInterfaces`.

use crate::card::EARLIER;
use crate::wire::AgentCard;
use serde_json::{Value, json};

/// The version as such cards name it.
const PROTOCOL: &str = "0.3.0";

/// Adds to the JSON of a card what 0.3 had at its place. Clients of 1.0 ignore it.
pub(crate) fn add_to(json: &mut Value, card: &AgentCard) {
    let Value::Object(fields) = json else { return };
    let spoken = |binding: &str| {
        let mut all = card.supported_interfaces.iter();
        all.find(|known| known.protocol_binding == binding).map(|known| known.url.as_str())
    };
    // Over gRPC the versions are two services, of which an endpoint may have only one.
    let over_grpc = card
        .supported_interfaces
        .iter()
        .any(|known| known.protocol_binding == "GRPC" && known.protocol_version == EARLIER);
    let transports = ["JSONRPC", "HTTP+JSON"].into_iter().chain(over_grpc.then_some("GRPC"));
    let interfaces = transports
        .filter_map(|transport| Some(json!({"transport": transport, "url": spoken(transport)?})));
    let interfaces: Value = interfaces.collect();
    let extended = card.capabilities.as_ref().and_then(|known| known.extended_agent_card);
    for (name, value) in [
        ("protocolVersion", PROTOCOL.into()),
        ("url", json!(spoken("JSONRPC"))),
        ("preferredTransport", "JSONRPC".into()),
        ("additionalInterfaces", interfaces),
        ("supportsAuthenticatedExtendedCard", extended.unwrap_or(false).into()),
    ] {
        fields.insert(name.to_owned(), value);
    }
}
