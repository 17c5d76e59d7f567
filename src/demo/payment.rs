//! payment-service: what has been paid for which order.

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::server::{Answer, Call, Service, json, problem};

/// The payments API; nothing is charged.
#[derive(Debug)]
pub(crate) struct PaymentService {
    version: String,
}

/// What `POST /api/payments` takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPayment {
    order_id: String,
    amount: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    order_id: String,
    status: &'static str,
}

#[derive(Serialize)]
struct Page<'a> {
    service: &'static str,
    version: &'a str,
    payments: Vec<Payment>,
}

impl PaymentService {
    /// The service.
    pub(crate) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
        }
    }

    fn page(&self, status: StatusCode, orders: impl IntoIterator<Item = String>) -> Answer {
        let payments = orders.into_iter().map(|order_id| Payment {
            order_id,
            status: "paid",
        });
        json(
            status,
            &Page {
                service: self.name(),
                version: &self.version,
                payments: payments.collect(),
            },
        )
    }

    fn pay(&self, body: &[u8]) -> Answer {
        match serde_json::from_slice::<NewPayment>(body) {
            Ok(payment) if payment.amount.is_finite() && payment.amount >= 0.0 => {
                self.page(StatusCode::CREATED, [payment.order_id])
            }
            Ok(_) => problem(StatusCode::BAD_REQUEST, "an amount is not below 0"),
            Err(error) => problem(
                StatusCode::BAD_REQUEST,
                &format!("this is no payment: {error}"),
            ),
        }
    }
}

impl Service for PaymentService {
    fn name(&self) -> &'static str {
        "payment-service"
    }

    fn version(&self) -> &str {
        &self.version
    }

    async fn answer(&self, call: Call) -> Answer {
        let path = call.uri().path();
        let reads = call.method() == Method::GET || call.method() == Method::HEAD;
        match path.strip_prefix("/api/payments") {
            Some("" | "/") if reads => {
                self.page(StatusCode::OK, super::order::known().map(str::to_owned))
            }
            Some(id) if reads && id.starts_with('/') => {
                let id = id.trim_start_matches('/').to_owned();
                self.page(StatusCode::OK, [id])
            }
            Some("" | "/") if call.method() == Method::POST => self.pay(call.body()),
            Some(_) => problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "payments are read, and made by POST /api/payments",
            ),
            None => problem(
                StatusCode::NOT_FOUND,
                "payment-service serves /api/payments",
            ),
        }
    }
}
