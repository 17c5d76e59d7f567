//! product-service: the catalogue, and which version of the service shows it.

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;

use super::catalogue::{Catalogue, Product, Refused};
use super::server::{Answer, Call, Service, json, problem};

/// The product catalogue API.
#[derive(Debug)]
pub(crate) struct ProductService {
    version: String,
    catalogue: Mutex<Catalogue>,
}

#[derive(Serialize)]
struct ProductList<'a> {
    service: &'static str,
    version: &'a str,
    products: Vec<Product>,
}

#[derive(Serialize)]
struct OneProduct<'a> {
    #[serde(flatten)]
    product: Product,
    version: &'a str,
}

impl ProductService {
    /// The service with the demo's stock.
    pub(crate) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            catalogue: Mutex::new(Catalogue::stocked()),
        }
    }

    /// Descriptions came with v2.
    fn shown(&self, product: &Product) -> Product {
        let mut product = product.clone();
        if self.version == "v1" {
            product.description = None;
        }
        product
    }

    fn one(&self, status: StatusCode, product: &Product) -> Answer {
        json(
            status,
            &OneProduct {
                product: self.shown(product),
                version: &self.version,
            },
        )
    }

    fn list(&self) -> Answer {
        let products = self
            .catalogue
            .lock()
            .all()
            .map(|product| self.shown(product))
            .collect();
        json(
            StatusCode::OK,
            &ProductList {
                service: self.name(),
                version: &self.version,
                products,
            },
        )
    }

    fn find(&self, id: &str) -> Answer {
        match self.catalogue.lock().find(id) {
            Some(product) => self.one(StatusCode::OK, product),
            None => problem(
                StatusCode::NOT_FOUND,
                &format!("there is no product `{id}`"),
            ),
        }
    }

    fn put(&self, id: Option<&str>, body: &[u8]) -> Answer {
        // `POST /api/products/1` without a body is a harmless touch, so that policies can be tried with curl.
        if let (Some(id), true) = (id, body.is_empty()) {
            return self.find(id);
        }
        let product = match serde_json::from_slice(body) {
            Ok(product) => product,
            Err(error) => {
                return problem(
                    StatusCode::BAD_REQUEST,
                    &format!("this is no product: {error}"),
                );
            }
        };
        let status = if id.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        match self.catalogue.lock().put(id, product) {
            Ok(product) => self.one(status, product),
            Err(Refused::Nonsense(why)) => problem(StatusCode::BAD_REQUEST, why),
            Err(Refused::Full) => {
                problem(StatusCode::INSUFFICIENT_STORAGE, "the catalogue is full")
            }
        }
    }

    fn remove(&self, id: &str) -> Answer {
        match self.catalogue.lock().remove(id) {
            Some(product) => self.one(StatusCode::OK, &product),
            None => problem(
                StatusCode::NOT_FOUND,
                &format!("there is no product `{id}`"),
            ),
        }
    }
}

impl Service for ProductService {
    fn name(&self) -> &'static str {
        "product-service"
    }

    fn version(&self) -> &str {
        &self.version
    }

    async fn answer(&self, call: Call) -> Answer {
        let Some(rest) = call.uri().path().strip_prefix("/api/products") else {
            return problem(
                StatusCode::NOT_FOUND,
                "product-service serves /api/products",
            );
        };
        let id = match rest {
            "" | "/" => None,
            _ => match rest.strip_prefix('/') {
                Some(id) => Some(id),
                None => return problem(StatusCode::NOT_FOUND, "there is no such thing"),
            },
        };
        match (call.method(), id) {
            (&Method::GET | &Method::HEAD, None) => self.list(),
            (&Method::GET | &Method::HEAD, Some(id)) => self.find(id),
            (&Method::POST, id) => self.put(id, call.body()),
            (&Method::PUT, Some(id)) => self.put(Some(id), call.body()),
            (&Method::DELETE, Some(id)) => self.remove(id),
            _ => problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "use GET, POST, PUT or DELETE",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Request;
    use http_body_util::BodyExt as _;

    async fn ask(version: &str, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let call = Request::builder().method(method).uri(path);
        let call = call.body(Bytes::from(body.to_owned())).unwrap();
        let answer = ProductService::new(version).answer(call).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn each_version_says_who_it_is() {
        let (status, list) = ask("v2", "GET", "/api/products", "").await;
        assert_eq!((status, &list["version"]), (200, &"v2".into()));
        assert!(list["products"][0]["description"].is_string());
        let (status, one) = ask("v1", "GET", "/api/products/1", "").await;
        assert_eq!(
            (status, &one["version"], &one["name"]),
            (200, &"v1".into(), &"Laptop".into())
        );
        assert!(one["description"].is_null());
    }

    #[tokio::test]
    async fn products_are_made_and_removed() {
        let lamp = r#"{"name": "Lamp", "price": 20}"#;
        assert_eq!(ask("v1", "POST", "/api/products", lamp).await.0, 201);
        assert_eq!(ask("v1", "POST", "/api/products/1", lamp).await.0, 200);
        assert_eq!(ask("v1", "POST", "/api/products/1", "").await.0, 200);
        assert_eq!(ask("v1", "DELETE", "/api/products/1", "").await.0, 200);
        assert_eq!(ask("v1", "POST", "/api/products", "{}").await.0, 400);
        assert_eq!(ask("v1", "PATCH", "/api/products/1", lamp).await.0, 405);
        for missing in ["/", "/api/productsx", "/api/products/99"] {
            assert_eq!(ask("v1", "GET", missing, "").await.0, 404);
        }
    }
}
