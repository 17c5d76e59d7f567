//! inventory-service: how much of each product is in stock.

use http::{Method, StatusCode};
use serde::Serialize;

use super::server::{Answer, Call, Service, json, problem};

/// The stock: product and pieces.
const STOCK: [(&str, u32); 4] = [("1", 12), ("2", 40), ("3", 7), ("4", 1)];

/// The inventory API.
#[derive(Debug)]
pub(crate) struct InventoryService {
    version: String,
}

#[derive(Serialize)]
struct Page<'a> {
    service: &'static str,
    version: &'a str,
    /// Whether there is enough of everything that was asked for.
    available: bool,
    stock: Vec<Stock>,
}

#[derive(Serialize)]
struct Stock {
    product: &'static str,
    pieces: u32,
}

impl InventoryService {
    /// The service.
    pub(crate) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
        }
    }
}

impl Service for InventoryService {
    fn name(&self) -> &'static str {
        "inventory-service"
    }

    fn version(&self) -> &str {
        &self.version
    }

    async fn answer(&self, call: Call) -> Answer {
        if call.uri().path() != "/api/inventory/check" {
            let where_ = "inventory-service serves /api/inventory/check?product=1&quantity=2";
            return problem(StatusCode::NOT_FOUND, where_);
        }
        if call.method() != Method::GET && call.method() != Method::HEAD {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "the stock is read only");
        }
        let query = call.uri().query().unwrap_or_default();
        let given = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let product = given("product");
        let Ok(quantity) = given("quantity").unwrap_or("1").parse::<u32>() else {
            return problem(StatusCode::BAD_REQUEST, "quantity is a number");
        };
        let wanted = STOCK
            .into_iter()
            .filter(|(id, _)| product.is_none_or(|product| product == *id));
        let stock: Vec<Stock> = wanted
            .map(|(product, pieces)| Stock { product, pieces })
            .collect();
        let page = Page {
            service: self.name(),
            version: &self.version,
            available: !stock.is_empty() && stock.iter().all(|stock| stock.pieces >= quantity),
            stock,
        };
        json(StatusCode::OK, &page)
    }
}
