//! The parameters of a query as the request that they stand for.

use crate::endpoint::decoded;
use serde_json::{Map, Value};

/// The names and values of a query; what is no text is left out.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let undone = |text: &str| decoded(&text.replace('+', " "));
    pairs
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((undone(name)?, undone(value)?))
        })
        .collect()
}

/// The request that a query stands for. Numbers may be written as texts in `ProtoJSON`; only truth
/// values may not. Of a name that comes twice the last value counts.
pub(super) fn request(query: &str) -> Value {
    let value = |name: &str, text: String| match (name, text.as_str()) {
        ("includeArtifacts" | "include_artifacts", "true") => Value::Bool(true),
        ("includeArtifacts" | "include_artifacts", "false") => Value::Bool(false),
        _ => Value::String(text),
    };
    let fields = pairs(query).into_iter().map(|(name, text)| {
        let value = value(&name, text);
        (name, value)
    });
    // A field left empty says nothing, as it does in a body.
    Value::Object(fields.filter(|(_, value)| *value != "").collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_query_is_a_request() {
        let query = "contextId=a%20b+c&pageSize=10&includeArtifacts=true&pageToken=&x";
        let expected = json!({"contextId": "a b c", "pageSize": "10", "includeArtifacts": true});
        assert_eq!(request(query), expected);
    }
}
