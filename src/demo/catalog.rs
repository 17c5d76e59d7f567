//! catalog-service: the products as customers read them; it never changes anything.

use http::{Method, StatusCode};
use serde::Serialize;

use super::catalogue::{Catalogue, Product};
use super::server::{Answer, Call, Service, json, problem};

/// The read-only catalogue API.
#[derive(Debug)]
pub(crate) struct CatalogService {
    version: String,
    catalogue: Catalogue,
}

#[derive(Serialize)]
struct Page<'a> {
    service: &'static str,
    version: &'a str,
    products: Vec<&'a Product>,
}

impl CatalogService {
    /// The service with the demo's stock.
    pub(crate) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            catalogue: Catalogue::stocked(),
        }
    }
}

impl Service for CatalogService {
    fn name(&self) -> &'static str {
        "catalog-service"
    }

    fn version(&self) -> &str {
        &self.version
    }

    async fn answer(&self, call: Call) -> Answer {
        if call.method() != Method::GET && call.method() != Method::HEAD {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "the catalogue is read only");
        }
        let Some(rest) = call.uri().path().strip_prefix("/api/catalog/products") else {
            return problem(
                StatusCode::NOT_FOUND,
                "catalog-service serves /api/catalog/products",
            );
        };
        let products: Vec<&Product> = match rest.strip_prefix('/').unwrap_or(rest) {
            "" => self.catalogue.all().collect(),
            id if rest.starts_with('/') => self.catalogue.find(id).into_iter().collect(),
            _ => Vec::new(),
        };
        if products.is_empty() {
            return problem(StatusCode::NOT_FOUND, "there is no such product");
        }
        json(
            StatusCode::OK,
            &Page {
                service: self.name(),
                version: &self.version,
                products,
            },
        )
    }
}
