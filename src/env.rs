//! `portcullis env`: where the gateway is, for `eval`.

use crate::cli::Env;
use crate::directory::MeshDir;
use crate::exit::{Exit, Failure};
use crate::record::Record;
use crate::terminal;

/// Prints `GATEWAY_URL=host:port`, without a scheme, as `http://$GATEWAY_URL/…` wants it.
pub(crate) fn run(args: &Env) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let record = Record::of_running(&dir)?;
    let listener = record
        .part("gateway")
        .and_then(|gateway| gateway.ports.get("listener:80"));
    let Some(address) = listener else {
        return Err(
            Failure::unreachable("the gateway is not ready").hint(format!(
                "look at it: {} status{}",
                terminal::me(),
                dir.flag()
            )),
        );
    };
    terminal::line(format_args!("GATEWAY_URL={address}"));
    Ok(Exit::Fine)
}
