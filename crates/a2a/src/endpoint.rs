//! Which agent, tenant and operation a path names.
//!
//! Every route exists at the root and under `/agents/{id}`, with and without a tenant before the
//! standard's own part: `[/agents/{id}][/{tenant}]/tasks/{task}:cancel`.

use axum::http::Method;
use trunkline_types::{AgentId, TenantId};

/// Whom a request is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    /// The agent that the path names; `None` at the root.
    pub(crate) agent: Option<AgentId>,
    /// The tenant that the path or the request names.
    pub(crate) tenant: Option<TenantId>,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// The endpoint of JSON-RPC.
    Rpc,
    /// The public card.
    Card,
    /// The keys that cards are signed with.
    Keys,
    /// An operation of the HTTP binding.
    Rest(Rest),
    /// A method of the service over gRPC, as it is named there.
    Grpc(String),
    /// The same of version 0.3.
    Grpc03(String),
}

/// The service over gRPC, as its paths begin.
pub(crate) const SERVICE: &str = "lf.a2a.v1.A2AService";
/// The service of version 0.3 over gRPC, as its paths begin.
pub(crate) const SERVICE_03: &str = "a2a.v1.A2AService";

/// An operation of the HTTP binding with what its path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    Send,
    Stream,
    List,
    Get(String),
    Cancel(String),
    Subscribe(String),
    CreatePush(String),
    ListPush(String),
    GetPush(String, String),
    DeletePush(String, String),
    ExtendedCard,
    /// The extended card where 0.3 had it.
    CardOf03,
}

/// What a path names, if it is one of ours; `Err` has the methods that it takes.
pub(crate) fn route(
    method: &Method,
    path: &str,
) -> Option<Result<(Endpoint, Route), &'static str>> {
    let mut rest: Vec<&str> = path.split('/').skip(1).filter(|part| !part.is_empty()).collect();
    let mut agent = None;
    if let ["agents", id, ..] = rest.as_slice() {
        agent = Some(AgentId::new(decoded(id)?).ok()?);
        rest.drain(..2);
    }
    if let Some(found) = own(method, &rest) {
        return Some(found.map(|route| (Endpoint { agent, tenant: None }, route)));
    }
    let (tenant, rest) = rest.split_first()?;
    let tenant = Some(TenantId::new(decoded(tenant)?).ok()?);
    // The endpoint of JSON-RPC has its tenant in the request.
    let found = own(method, rest).filter(|_| !rest.is_empty())?;
    Some(found.map(|route| (Endpoint { agent, tenant }, route)))
}

/// What the standard's own part of a path names.
fn own(method: &Method, parts: &[&str]) -> Option<Result<Route, &'static str>> {
    let (get, post) = (method == Method::GET || method == Method::HEAD, method == Method::POST);
    let when = |fits: bool, rest: Rest, allowed| {
        Some(if fits { Ok(Route::Rest(rest)) } else { Err(allowed) })
    };
    match parts {
        // A page may be at the root; what is posted there is JSON-RPC.
        [] => post.then_some(Ok(Route::Rpc)),
        [".well-known", "agent-card.json"] => {
            Some(if get { Ok(Route::Card) } else { Err("GET, HEAD") })
        }
        [".well-known", "jwks.json"] => Some(if get { Ok(Route::Keys) } else { Err("GET, HEAD") }),
        // Another HTTP method there is no gRPC, and nothing else is there.
        [SERVICE, named] => post.then(|| Ok(Route::Grpc((*named).to_owned()))),
        [SERVICE_03, named] => post.then(|| Ok(Route::Grpc03((*named).to_owned()))),
        ["message:send"] => when(post, Rest::Send, "POST"),
        ["message:stream"] => when(post, Rest::Stream, "POST"),
        ["extendedAgentCard"] => when(get, Rest::ExtendedCard, "GET, HEAD"),
        ["card"] => when(get, Rest::CardOf03, "GET, HEAD"),
        ["tasks"] => when(get, Rest::List, "GET, HEAD"),
        ["tasks", named] => {
            let named = decoded(named)?;
            match named.rsplit_once(':') {
                Some((id, "cancel")) => when(post, Rest::Cancel(id.to_owned()), "POST"),
                // The proto says GET, the text POST; both are seen in the wild.
                Some((id, "subscribe")) => {
                    when(get || post, Rest::Subscribe(id.to_owned()), "GET, POST")
                }
                _ => when(get, Rest::Get(named), "GET, HEAD"),
            }
        }
        ["tasks", task, "pushNotificationConfigs"] => {
            let task = decoded(task)?;
            if post {
                return when(true, Rest::CreatePush(task), "");
            }
            when(get, Rest::ListPush(task), "GET, HEAD, POST")
        }
        ["tasks", task, "pushNotificationConfigs", id] => {
            let (task, id) = (decoded(task)?, decoded(id)?);
            if method == Method::DELETE {
                return when(true, Rest::DeletePush(task, id), "");
            }
            when(get, Rest::GetPush(task, id), "GET, HEAD, DELETE")
        }
        _ => None,
    }
}

/// A part of a path or query with its percent signs undone; `None` if it is no text.
pub(crate) fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.contains('+'))?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> (Option<String>, Option<String>, Route) {
        let (Endpoint { agent, tenant }, route) = route(method, path).unwrap().unwrap();
        (agent.map(|id| id.to_string()), tenant.map(|id| id.to_string()), route)
    }

    #[test]
    fn a_route_exists_at_the_root_under_an_agent_and_with_a_tenant() {
        let (agent, tenant) = (Some("a.1".to_owned()), Some("acme".to_owned()));
        let cancel = Route::Rest(Rest::Cancel("t".into()));
        for (path, agent, tenant) in [
            ("/tasks/t:cancel", None, None),
            ("/acme/tasks/t:cancel", None, tenant.clone()),
            ("/agents/a.1/tasks/t%3Acancel", agent.clone(), None),
            ("/agents/a.1/acme/tasks/t:cancel", agent.clone(), tenant),
        ] {
            assert_eq!(found(&Method::POST, path), (agent, tenant, cancel.clone()), "{path}");
        }
        assert_eq!(found(&Method::POST, "/agents/a.1/"), (agent, None, Route::Rpc));
        assert_eq!(found(&Method::POST, "/"), (None, None, Route::Rpc));
        let (agent, _, route) = found(&Method::POST, "/agents/a.1/lf.a2a.v1.A2AService/GetTask");
        assert_eq!((agent.as_deref(), route), (Some("a.1"), Route::Grpc("GetTask".into())));
    }

    #[test]
    fn every_operation_has_its_route_and_both_methods_subscribe() {
        let rest = |method, path| match found(method, path).2 {
            Route::Rest(rest) => rest,
            other => panic!("{other:?}"),
        };
        let task = || "t".to_owned();
        assert_eq!(rest(&Method::POST, "/message:send"), Rest::Send);
        assert_eq!(rest(&Method::POST, "/message:stream"), Rest::Stream);
        assert_eq!(rest(&Method::GET, "/tasks"), Rest::List);
        assert_eq!(rest(&Method::GET, "/tasks/t"), Rest::Get(task()));
        assert_eq!(rest(&Method::GET, "/tasks/t:subscribe"), Rest::Subscribe(task()));
        assert_eq!(rest(&Method::POST, "/tasks/t:subscribe"), Rest::Subscribe(task()));
        assert_eq!(rest(&Method::GET, "/extendedAgentCard"), Rest::ExtendedCard);
        let configs = "/tasks/t/pushNotificationConfigs";
        assert_eq!(rest(&Method::POST, configs), Rest::CreatePush(task()));
        assert_eq!(rest(&Method::GET, configs), Rest::ListPush(task()));
        let config = "/tasks/t/pushNotificationConfigs/c";
        assert_eq!(rest(&Method::GET, config), Rest::GetPush(task(), "c".into()));
        assert_eq!(rest(&Method::DELETE, config), Rest::DeletePush(task(), "c".into()));
    }

    #[test]
    fn another_method_is_told_which_ones_there_are_and_other_paths_are_not_ours() {
        assert_eq!(route(&Method::GET, "/message:send"), Some(Err("POST")));
        assert_eq!(route(&Method::POST, "/tasks/t"), Some(Err("GET, HEAD")));
        for path in ["/", "/metrics", "/agents/a", "/agents/a b/tasks", "/a/b/tasks", "/%zz/tasks"]
        {
            assert_eq!(route(&Method::GET, path), None, "{path}");
        }
        assert_eq!(route(&Method::POST, "/acme"), None);
        assert_eq!(decoded("a%20b%C3%A4").as_deref(), Some("a bä"));
        assert_eq!(decoded("%+1"), None);
    }
}
