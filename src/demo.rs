//! The demo's services: ordinary HTTP programs that know nothing of certificates.

mod catalogue;
mod order;
mod outbound;
mod product;
mod server;

use crate::cli::{Demo, DemoService};
use crate::exit::{Exit, Failure};

/// Runs one service until it is told to stop.
pub(crate) fn run(args: Demo) -> Result<Exit, Failure> {
    match args.service {
        DemoService::ProductService(flags) => {
            let service = product::ProductService::new(&flags.version);
            server::run(&flags, service)
        }
        DemoService::OrderService {
            server: flags,
            outbound,
        } => {
            let service = order::OrderService::new(&flags.version, outbound);
            server::run(&flags, service)
        }
    }
}
