//! The products that product-service knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The demo keeps what is posted to it, but not without end.
const MOST_PRODUCTS: usize = 1_000;
const LONGEST_TEXT: usize = 200;

/// One product as its version of the service shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Product {
    /// Given by the catalogue; a posted one is not looked at.
    #[serde(default)]
    pub(crate) id: String,
    /// What it is called.
    pub(crate) name: String,
    /// In euros.
    pub(crate) price: f64,
    /// Shown from v2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// All products by id.
#[derive(Debug)]
pub(crate) struct Catalogue {
    products: BTreeMap<String, Product>,
}

/// Why a product is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A field makes no sense.
    Nonsense(&'static str),
    /// There are too many.
    Full,
}

impl Catalogue {
    /// The demo's stock.
    pub(crate) fn stocked() -> Self {
        let stock = [
            (
                "1",
                "Laptop",
                999.99,
                "14 inch, 32 GiB, a keyboard one can type on",
            ),
            ("2", "Smartphone", 599.5, "Fits in a pocket"),
            ("3", "Headphones", 149.0, "Over the ear, quiet inside"),
            ("4", "Portcullis", 4_200.0, "Oak and iron, closes quickly"),
        ];
        let products = stock.map(|(id, name, price, description)| {
            let (name, description) = (name.to_owned(), Some(description.to_owned()));
            (
                id.to_owned(),
                Product {
                    id: id.to_owned(),
                    name,
                    price,
                    description,
                },
            )
        });
        Self {
            products: products.into(),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Product> {
        self.products.values()
    }

    /// The one with that id.
    pub(crate) fn find(&self, id: &str) -> Option<&Product> {
        self.products.get(id)
    }

    /// Puts a product at `id`, or at the next free number.
    pub(crate) fn put(
        &mut self,
        id: Option<&str>,
        mut product: Product,
    ) -> Result<&Product, Refused> {
        let text = product
            .description
            .as_ref()
            .map_or(0, String::len)
            .max(product.name.len());
        if product.name.is_empty()
            || text > LONGEST_TEXT
            || id.is_some_and(|id| id.len() > LONGEST_TEXT)
        {
            return Err(Refused::Nonsense(
                "a name has 1 to 200 bytes, a description up to 200",
            ));
        }
        if !(product.price.is_finite() && product.price >= 0.0) {
            return Err(Refused::Nonsense("a price is a number that is not below 0"));
        }
        let id = id.map_or_else(|| self.next_id(), str::to_owned);
        if self.products.len() >= MOST_PRODUCTS && !self.products.contains_key(&id) {
            return Err(Refused::Full);
        }
        product.id.clone_from(&id);
        Ok(self.products.entry(id).insert_entry(product).into_mut())
    }

    /// Takes the one with that id away.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Product> {
        self.products.remove(id)
    }

    fn next_id(&self) -> String {
        let highest = self
            .products
            .keys()
            .filter_map(|id| id.parse::<u64>().ok())
            .max();
        highest.unwrap_or(0).saturating_add(1).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(name: &str, price: f64) -> Product {
        Product {
            id: String::new(),
            name: name.to_owned(),
            price,
            description: None,
        }
    }

    #[test]
    fn products_are_put_found_and_removed() {
        let mut catalogue = Catalogue::stocked();
        assert_eq!(catalogue.put(None, product("Lamp", 20.0)).unwrap().id, "5");
        assert_eq!(
            catalogue
                .put(Some("1"), product("Notebook", 1.0))
                .unwrap()
                .id,
            "1"
        );
        assert_eq!(catalogue.find("1").unwrap().name, "Notebook");
        assert!(catalogue.remove("1").is_some());
        assert!(catalogue.find("1").is_none());
    }

    #[test]
    fn nonsense_and_endless_growth_are_refused() {
        let mut catalogue = Catalogue::stocked();
        for bad in [product("", 1.0), product("x", -1.0), product("x", f64::NAN)] {
            assert!(matches!(
                catalogue.put(None, bad),
                Err(Refused::Nonsense(_))
            ));
        }
        while catalogue.all().count() < MOST_PRODUCTS {
            catalogue.put(None, product("x", 1.0)).unwrap();
        }
        assert_eq!(catalogue.put(None, product("x", 1.0)), Err(Refused::Full));
        assert!(catalogue.put(Some("1"), product("x", 1.0)).is_ok());
    }
}
