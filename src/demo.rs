//! The demo's services: ordinary HTTP programs that know nothing of certificates.

mod catalog;
mod catalogue;
mod inventory;
mod order;
mod outbound;
mod payment;
mod product;
mod server;

use crate::cli::{Demo, DemoService};
use crate::exit::{Exit, Failure};

/// Runs one service until it is told to stop.
pub(crate) fn run(args: Demo) -> Result<Exit, Failure> {
    match args.service {
        DemoService::Product(flags) => {
            let service = product::ProductService::new(&flags.version);
            server::run(&flags, service)
        }
        DemoService::Catalog(flags) => {
            let service = catalog::CatalogService::new(&flags.version);
            server::run(&flags, service)
        }
        DemoService::Payment(flags) => {
            let service = payment::PaymentService::new(&flags.version);
            server::run(&flags, service)
        }
        DemoService::Inventory(flags) => {
            let service = inventory::InventoryService::new(&flags.version);
            server::run(&flags, service)
        }
        DemoService::Order {
            server: flags,
            outbound,
        } => {
            let service = order::OrderService::new(&flags.version, outbound);
            server::run(&flags, service)
        }
    }
}
