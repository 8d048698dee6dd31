//! The settings of the edges. They are read once, when the port is bound.

use super::Own;
use std::path::Path;
use trunkline_broker::settings::{DAY, GIB, HOUR, KIB, MIB, Slot, Takes};
use trunkline_broker::{number_setting as number, span_setting as span};
use trunkline_server::SigningKey;
use trunkline_types::NameError;

/// The word for what is not set.
const NONE: &str = "none";

fn none() -> String {
    NONE.to_owned()
}

/// The section `server`.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Own] = &[
    Own {
        section: "server",
        key: "listen",
        slot: Slot::Text {
            get: |settings| settings.server.listen.to_string(),
            set: |settings, text| {
                settings.server.listen = text.parse().map_err(|_not_an_address| {
                    format!("'{text}' is no address; write it like 127.0.0.1:7420")
                })?;
                Ok(())
            },
            range: "an address with a port; port 0 takes a free one",
        },
        takes: Takes::Restart,
        doc: "where to listen",
    },
    Own {
        section: "server",
        key: "insecure",
        slot: Slot::Flag {
            get: |settings| settings.server.insecure,
            set: |settings, flag| settings.server.insecure = flag,
        },
        takes: Takes::Restart,
        doc: "listen beyond loopback although callers are not authenticated",
    },
    number!(Size, "server", "max_frame_bytes", server.max_frame_bytes, 64 * KIB, 16 * MIB, Restart,
        "largest gRPC message from a client"),
    number!(Count, "server", "max_connections", server.max_connections, 1, 1_000_000, Restart,
        "most connections at a time; one more is closed at once"),
    number!(Count, "server", "max_streams", server.max_streams, 1, 1_000_000, Restart,
        "most streams and calls at a time over one connection"),
    number!(Count, "server", "welcomes", server.welcomes, 1, 1_000_000, Restart,
        "most sessions that are welcomed at the same time; others wait in order"),
    number!(Count, "server", "welcomes_waiting", server.welcomes_waiting, 0, 1_000_000, Restart,
        "most sessions that wait to be welcomed; one more is told when to come back"),
    number!(Size, "server", "max_waiting_bytes", server.max_waiting_bytes, 64 * KIB, 64 * GIB, Restart,
        "most bytes that wait for a client that does not read, until its stream is ended"),
    span!("server", "hello_deadline", server.hello_deadline, 100, HOUR, Restart,
        "how long a client may take to introduce itself"),
    Own {
        section: "server",
        key: "a2a",
        slot: Slot::Flag {
            get: |settings| settings.server.a2a,
            set: |settings, flag| settings.server.a2a = flag,
        },
        takes: Takes::Restart,
        doc: "serve clients of Agent2Agent",
    },
    Own {
        section: "server",
        key: "a2a_agent",
        slot: Slot::Text {
            get: |settings| {
                settings.server.a2a_agent.as_ref().map_or_else(none, ToString::to_string)
            },
            set: |settings, text| {
                settings.server.a2a_agent = match text {
                    NONE => None,
                    id => Some(id.parse().map_err(|error: NameError| error.to_string())?),
                };
                Ok(())
            },
            range: "the id of an agent, or none",
        },
        takes: Takes::Restart,
        doc: "the agent that A2A clients find at the root; without one the broker, which routes by skill",
    },
    Own {
        section: "server",
        key: "a2a_url",
        slot: Slot::Text {
            get: |settings| settings.server.a2a_url.clone().unwrap_or_else(none),
            set: |settings, text| {
                if text != NONE && !text.starts_with("http://") && !text.starts_with("https://") {
                    return Err(format!(
                        "'{text}' is no URL; write it like https://agents.example.com"
                    ));
                }
                settings.server.a2a_url = (text != NONE).then(|| text.to_owned());
                Ok(())
            },
            range: "an http or https URL, or none",
        },
        takes: Takes::Restart,
        doc: "where A2A clients reach the broker, as agent cards say it; without it the host they named",
    },
    Own {
        section: "server",
        key: "a2a_03",
        slot: Slot::Flag {
            get: |settings| settings.server.a2a_03,
            set: |settings, flag| settings.server.a2a_03 = flag,
        },
        takes: Takes::Restart,
        doc: "serve clients of A2A 0.3 too, which is what those speak that say no version",
    },
    Own {
        section: "server",
        key: "a2a_signing_key",
        slot: Slot::Text {
            get: |settings| {
                let key = settings.server.a2a_signing_key.as_ref();
                key.map_or_else(none, |key| key.path().display().to_string())
            },
            set: |settings, text| {
                settings.server.a2a_signing_key = match text {
                    NONE => None,
                    path => Some(SigningKey::read(Path::new(path))?),
                };
                Ok(())
            },
            range: "a file with a P-256 or Ed25519 key (PKCS#8 in PEM), or none",
        },
        takes: Takes::Restart,
        doc: "the key that agent cards are signed with; /.well-known/jwks.json has the public one",
    },
    Own {
        section: "server",
        key: "a2a_push_allow",
        slot: Slot::Text {
            get: |settings| {
                let known: Vec<_> =
                    settings.server.a2a_push_allow.iter().map(ToString::to_string).collect();
                if known.is_empty() { none() } else { known.join(",") }
            },
            set: |settings, text| {
                settings.server.a2a_push_allow = match text {
                    NONE => Vec::new(),
                    list => list
                        .split(',')
                        .map(|text| text.trim().parse())
                        .collect::<Result<_, String>>()?,
                };
                Ok(())
            },
            range: "hosts and networks parted by commas, or none",
        },
        takes: Takes::Restart,
        doc: "what webhooks of A2A may lead to besides public addresses, such as hooks.internal,10.0.0.0/8",
    },
    span!("server", "a2a_push_timeout", server.a2a_push_timeout, 10, HOUR, Restart,
        "how long a webhook of A2A may take to answer"),
    number!(Count, "server", "a2a_push_attempts", server.a2a_push_attempts, 1, 1_000, Restart,
        "how often a webhook of A2A is called for one event until that is a dead letter"),
    Own {
        section: "server",
        key: "a2a_proxy_allow",
        slot: Slot::Text {
            get: |settings| {
                let known: Vec<_> =
                    settings.server.a2a_proxy_allow.iter().map(ToString::to_string).collect();
                if known.is_empty() { none() } else { known.join(",") }
            },
            set: |settings, text| {
                settings.server.a2a_proxy_allow = match text {
                    NONE => Vec::new(),
                    list => list
                        .split(',')
                        .map(|text| text.trim().parse())
                        .collect::<Result<_, String>>()?,
                };
                Ok(())
            },
            range: "hosts and networks parted by commas, or none",
        },
        takes: Takes::Restart,
        doc: "what agents elsewhere may lead to besides public addresses, such as agents.internal,10.0.0.0/8",
    },
    Own {
        section: "server",
        key: "a2a_proxy_private",
        slot: Slot::Text {
            get: |settings| settings.server.a2a_proxy_private.to_string(),
            set: |settings, text| {
                settings.server.a2a_proxy_private = text.parse()?;
                Ok(())
            },
            range: "loopback, always or never",
        },
        takes: Takes::Restart,
        doc: "when who adds an agent elsewhere may let it be at a private address: loopback is while the server listens there",
    },
    span!("server", "a2a_proxy_timeout", server.a2a_proxy_timeout, 10, HOUR, Restart,
        "how long an agent elsewhere may take to answer anything but a message, and its stream be silent"),
    span!("server", "drain_grace", server.drain_grace, 0, DAY, Restart,
        "how long to wait at shutdown for held work to end"),
];
