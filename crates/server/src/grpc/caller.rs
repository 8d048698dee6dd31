//! Who is calling.
//!
//! There is no authentication yet: a caller's word is taken, because a server listens on loopback
//! unless its operator said that anybody may be believed.

use tonic::metadata::{MetadataMap, MetadataValue};
use trunkline_proto::metadata::PRINCIPAL;
use trunkline_types::{AgentId, Principal, Refusal, RefusalCode};

/// The principal that a call's metadata names; `local` if it names none.
pub(crate) fn caller(metadata: &MetadataMap) -> Result<Principal, Refusal> {
    named(metadata.get(PRINCIPAL).map(MetadataValue::as_encoded_bytes))
}

/// The principal of a name, as metadata or a header has it; `local` without one.
pub(crate) fn named(value: Option<&[u8]>) -> Result<Principal, Refusal> {
    let Some(value) = value else {
        return Ok(Principal::default());
    };
    // Principals are named by the same rule as agents.
    let name = String::from_utf8_lossy(value);
    match AgentId::new(&name) {
        Ok(name) => Ok(Principal::named(name.as_str())),
        Err(error) => {
            let message = format!(
                "metadata {PRINCIPAL}: {}",
                error.to_string().replacen("agent id", "the name", 1)
            );
            Err(Refusal::new(RefusalCode::Invalid, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_who_it_says_or_local() {
        let mut metadata = MetadataMap::new();
        assert_eq!(caller(&metadata).unwrap(), Principal::default());
        metadata.insert(PRINCIPAL, "ann".parse().unwrap());
        assert_eq!(caller(&metadata).unwrap(), Principal::named("ann"));
        metadata.insert(PRINCIPAL, "a b".parse().unwrap());
        let refusal = caller(&metadata).unwrap_err();
        assert!(refusal.message.contains("trunkline-principal: the name 'a b'"), "{refusal}");
    }
}
