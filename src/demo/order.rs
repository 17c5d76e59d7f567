//! order-service: orders, for which it asks product-service, inventory-service and payment-service by plain HTTP to their
//! names.

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::outbound::Outbound;
use super::server::{Answer, Call, Service, json, problem};

/// The order API.
#[derive(Debug)]
pub(crate) struct OrderService {
    version: String,
    outbound: Outbound,
}

/// The order book: id, product, quantity.
const ORDERS: [(&str, &str, u32); 3] = [("1001", "1", 1), ("1002", "2", 3), ("1003", "4", 1)];

#[derive(Serialize)]
struct OrderList<'a> {
    service: &'static str,
    version: &'a str,
    orders: Vec<Order>,
    /// As payment-service gave them, with the version that answered.
    payments: serde_json::Value,
}

/// The numbers of the orders that there are.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    ORDERS.into_iter().map(|(id, ..)| id)
}

/// What `POST /api/orders` takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewOrder {
    product_id: String,
    quantity: u32,
}

#[derive(Serialize)]
struct Order {
    id: &'static str,
    quantity: u32,
    total: f64,
    /// As product-service gave it, with the version that answered.
    product: serde_json::Value,
}

impl OrderService {
    /// The service, whose calls go through the sidecar at `outbound`.
    pub(crate) fn new(version: &str, outbound: SocketAddr) -> Self {
        Self {
            version: version.to_owned(),
            outbound: Outbound::through(outbound),
        }
    }

    async fn order(
        &self,
        (id, product, quantity): (&'static str, &str, u32),
        inbound: &HeaderMap,
    ) -> Result<Order, Answer> {
        let path = format!("/api/products/{product}");
        let product = self.ask("product-service", &path, inbound).await?;
        let price = product
            .get("price")
            .and_then(serde_json::Value::as_f64)
            .unwrap_or_default();
        let cents = (price * f64::from(quantity) * 100.0).round();
        Ok(Order {
            id,
            quantity,
            total: cents / 100.0,
            product,
        })
    }

    /// What a service answers to a GET, as JSON.
    async fn ask(
        &self,
        service: &str,
        path: &str,
        inbound: &HeaderMap,
    ) -> Result<serde_json::Value, Answer> {
        let (status, body) = self
            .outbound
            .get(service, path, inbound)
            .await
            .map_err(|error| problem(StatusCode::BAD_GATEWAY, &error))?;
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body);
            // A service that is away or slow is so for our caller too.
            let ours = if status.is_server_error() {
                status
            } else {
                StatusCode::BAD_GATEWAY
            };
            let message = format!("{service} answered {status}: {}", text.trim());
            return Err(problem(ours, &message));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("{service} sent no JSON: {error}");
            problem(StatusCode::BAD_GATEWAY, &message)
        })
    }

    /// Prices an order of something that is in stock; the demo's order book is not written to.
    async fn place(&self, body: &[u8], inbound: &HeaderMap) -> Answer {
        let order: NewOrder = match serde_json::from_slice(body) {
            Ok(order) => order,
            Err(error) => {
                let message = format!("this is no order: {error}");
                return problem(StatusCode::BAD_REQUEST, &message);
            }
        };
        // It becomes part of a path.
        if order.product_id.is_empty()
            || !order.product_id.chars().all(|c| c.is_ascii_alphanumeric())
        {
            return problem(StatusCode::BAD_REQUEST, "productId is letters and digits");
        }
        let NewOrder {
            product_id,
            quantity,
        } = &order;
        let stock = format!("/api/inventory/check?product={product_id}&quantity={quantity}");
        let placed = async {
            let stock = self.ask("inventory-service", &stock, inbound).await?;
            if stock.get("available") != Some(&true.into()) {
                let message = "there is not enough of it in stock";
                return Err(problem(StatusCode::CONFLICT, message));
            }
            let order = self.order(("1004", product_id, *quantity), inbound).await?;
            self.ask("payment-service", "/api/payments/1004", inbound)
                .await?;
            Ok(order)
        };
        match placed.await {
            Ok(order) => json(StatusCode::CREATED, &order),
            Err(answer) => answer,
        }
    }

    async fn list(&self, inbound: &HeaderMap) -> Answer {
        let payments = match self.ask("payment-service", "/api/payments", inbound).await {
            Ok(page) => page.get("payments").cloned().unwrap_or_default(),
            Err(answer) => return answer,
        };
        let mut orders = Vec::with_capacity(ORDERS.len());
        for order in ORDERS {
            match self.order(order, inbound).await {
                Ok(order) => orders.push(order),
                Err(answer) => return answer,
            }
        }
        json(
            StatusCode::OK,
            &OrderList {
                service: self.name(),
                version: &self.version,
                orders,
                payments,
            },
        )
    }
}

impl Service for OrderService {
    fn name(&self) -> &'static str {
        "order-service"
    }

    fn version(&self) -> &str {
        &self.version
    }

    async fn answer(&self, call: Call) -> Answer {
        let path = call.uri().path();
        if call.method() == Method::POST && path == "/api/orders" {
            return self.place(call.body(), call.headers()).await;
        }
        if call.method() != Method::GET && call.method() != Method::HEAD {
            return problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "orders are read, and made by POST /api/orders",
            );
        }
        match path.strip_prefix("/api/orders") {
            Some("" | "/") => self.list(call.headers()).await,
            Some(rest) => {
                let wanted = |(id, ..): &(&str, &str, u32)| rest.strip_prefix('/') == Some(*id);
                match ORDERS.into_iter().find(wanted) {
                    Some(order) => match self.order(order, call.headers()).await {
                        Ok(order) => json(StatusCode::OK, &order),
                        Err(answer) => answer,
                    },
                    None => problem(StatusCode::NOT_FOUND, "there is no such order"),
                }
            }
            None => problem(StatusCode::NOT_FOUND, "order-service serves /api/orders"),
        }
    }
}
