//! Who is calling.
//!
//! There is no authentication yet: a caller's word is taken, because a server listens on loopback
//! unless its operator said that anybody may be believed.

use tonic::metadata::{MetadataMap, MetadataValue};
use trunkline_proto::metadata::{PRINCIPAL, TENANT};
use trunkline_types::{AgentId, Principal, Refusal, RefusalCode, TenantId};

/// The principal that a call's metadata names; `local` if it names none, of the tenant `default`
/// unless it names another.
pub(crate) fn caller(metadata: &MetadataMap) -> Result<Principal, Refusal> {
    let value = |name| metadata.get(name).map(MetadataValue::as_encoded_bytes);
    named(value(PRINCIPAL), value(TENANT))
}

/// The principal of a name and a tenant, as metadata or headers have them.
pub(crate) fn named(name: Option<&[u8]>, tenant: Option<&[u8]>) -> Result<Principal, Refusal> {
    let invalid = |of: &str, why: String| {
        Err(Refusal::new(RefusalCode::Invalid, format!("metadata {of}: {why}")))
    };
    let mut principal = Principal::default();
    if let Some(name) = name {
        // Principals are named by the same rule as agents.
        match AgentId::new(String::from_utf8_lossy(name)) {
            Ok(name) => principal = Principal::named(name.as_str()),
            Err(error) => {
                return invalid(PRINCIPAL, error.to_string().replacen("agent id", "the name", 1));
            }
        }
    }
    if let Some(tenant) = tenant {
        match TenantId::new(String::from_utf8_lossy(tenant)) {
            Ok(tenant) => principal.tenant = tenant,
            Err(error) => return invalid(TENANT, error.to_string()),
        }
    }
    Ok(principal)
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
        metadata.insert(TENANT, "acme".parse().unwrap());
        let of_acme = Principal { tenant: "acme".parse().unwrap(), ..Principal::named("ann") };
        assert_eq!(caller(&metadata).unwrap(), of_acme);
        metadata.insert(TENANT, "a/b".parse().unwrap());
        let refusal = caller(&metadata).unwrap_err();
        assert!(refusal.message.contains("trunkline-tenant: tenant 'a/b'"), "{refusal}");
        metadata.insert(PRINCIPAL, "a b".parse().unwrap());
        let refusal = caller(&metadata).unwrap_err();
        assert!(refusal.message.contains("trunkline-principal: the name 'a b'"), "{refusal}");
    }
}
