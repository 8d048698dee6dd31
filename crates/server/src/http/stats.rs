//! The broker's figures as JSON.

use super::metrics::ask;
use crate::hub::Hub;
use crate::stats_json;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The broker's figures.
pub(crate) async fn stats(State(hub): State<Arc<Hub>>) -> Response {
    match ask(&hub).await {
        Ok(stats) => Json(stats_json(&stats)).into_response(),
        Err(response) => response,
    }
}
