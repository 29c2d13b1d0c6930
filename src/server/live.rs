//! What is served at this moment. A reload puts another whole in its place; every request keeps the one that was there when
//! its head had arrived, to its end.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;

use super::router::Front;
use super::{Shared, router};
use crate::listen::Service;

/// The service behind every listener. Clones are the same.
#[derive(Clone, Debug)]
pub struct Live(Arc<ArcSwap<Front>>);

impl Live {
    pub fn new(parts: Shared) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(router(parts))))
    }

    /// From the next request on these.
    pub fn swap(&self, parts: Shared) {
        self.0.store(Arc::new(router(parts)));
    }

    pub fn parts(&self) -> Shared {
        Arc::clone(&self.0.load().parts)
    }
}

impl Service for Live {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let front = self.0.load_full();
        front.answer(request).await
    }
}
