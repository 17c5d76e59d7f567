//! `portcullis run`: a program of the user's own in the running mesh, for as long as it runs.

mod declaration;
pub(crate) mod leftovers;
pub(crate) mod program;
mod sidecar;

use std::net::SocketAddr;
use std::time::Duration;

use self::declaration::Declaration;
use self::program::{End, Program};
use self::sidecar::Sidecar;
use crate::ca_admin::CaAdmin;
use crate::cli::Run;
use crate::directory::{MeshDir, private_dir};
use crate::exit::{Context as _, Exit, Failure};
use crate::lock::{self, Lock, Taken};
use crate::names::spiffe_id;
use crate::process_files::Centre;
use crate::record::Record;
use crate::terminal;

/// How long the CA may take to see the new registration entry.
const DECLARED_WITHIN: Duration = Duration::from_secs(10);
/// The sidecar enrols at once.
const TOKEN_TTL: Duration = Duration::from_mins(1);

/// Runs the program inside the mesh and passes its exit code on.
pub(crate) fn run(args: &Run) -> Result<Exit, Failure> {
    let declaration = Declaration::of(args)?;
    let dir = MeshDir::resolve(&args.dir)?;
    let record = Record::of_running(&dir)?;
    // One thread, for the same reason as in `up`: sidecar and program end when it ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let place = Place::take(&dir, &declaration.name)?;
    let outcome = runtime.block_on(inside(&dir, &record, &declaration, args));
    place.give_back();
    outcome
}

async fn inside(
    dir: &MeshDir,
    record: &Record,
    declaration: &Declaration,
    args: &Run,
) -> Result<Exit, Failure> {
    let centre = Centre {
        ca: grpc_of(record, "ca")?,
        registry: grpc_of(record, "registry")?,
    };
    let id = spiffe_id(&declaration.namespace, &declaration.service_account);
    let mut admin = CaAdmin::connect(dir).await?;
    declaration.register(dir, &id)?;
    wait_until_listed(&mut admin, declaration, &id).await?;
    let token = admin.join_token(&declaration.name, TOKEN_TTL).await?;
    let mut sidecar = Sidecar::start(dir, declaration, centre, &token)?;
    let mut program = None;
    let end = async {
        let ports = sidecar.ready().await?;
        if !args.quiet {
            let outbound = ports.outbound;
            terminal::note(format_args!(
                "portcullis: {} is {id}, out by {outbound}",
                declaration.name
            ));
        }
        let program = program.insert(Program::start(dir, declaration, &ports, &args.program)?);
        let listening = declaration.until_listening(args.quiet);
        program.until_end(dir, &mut sidecar, listening).await
    }
    .await;
    if let Some(mut program) = program {
        program.end().await;
    }
    // It takes itself out of the registry first.
    sidecar.stop().await;
    match end? {
        End::Program(code) => Ok(Exit::Program(code)),
        End::MeshStopped => Err(Failure::unreachable(
            "the mesh has stopped, and the program with it",
        )),
        End::SidecarDied(how) => Err(Failure::new(format!("the sidecar {how}"))),
    }
}

/// Where a part of the mesh takes calls.
fn grpc_of(record: &Record, part: &str) -> Result<SocketAddr, Failure> {
    let at = record
        .part(part)
        .and_then(|part| part.ports.get("grpc").copied());
    at.ok_or_else(|| {
        Failure::unreachable(format!("the mesh's `{part}` is not ready"))
            .hint("try again in a second")
    })
}

/// Waits until the CA has read the entry, or says what it dislikes about it.
async fn wait_until_listed(
    admin: &mut CaAdmin,
    declaration: &Declaration,
    id: &str,
) -> Result<(), Failure> {
    let selector = format!("join_token:{}", declaration.name);
    let begun = tokio::time::Instant::now();
    loop {
        let listed = admin.entries().await?;
        let ours = listed
            .entries
            .iter()
            .any(|entry| entry.spiffe_id == id && entry.selectors.contains(&selector));
        if ours {
            return Ok(());
        }
        if begun.elapsed() > DECLARED_WITHIN {
            let problems = listed.problems.join("\n  ");
            return Err(Failure::new(format!(
                "the CA does not take the entry for {id}\n  {problems}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The directory of this run, held by this process.
#[derive(Debug)]
struct Place<'a> {
    dir: &'a MeshDir,
    name: String,
    lock: Lock,
}

impl<'a> Place<'a> {
    fn take(dir: &'a MeshDir, name: &str) -> Result<Self, Failure> {
        let home = dir.run(name);
        let doing = || format!("cannot use `{}`", home.display());
        private_dir(&home).context(doing)?;
        match Lock::take(&lock::path_in(&home, "run")).context(doing)? {
            Taken::Ours(lock) => Ok(Self {
                dir,
                name: name.to_owned(),
                lock,
            }),
            Taken::Theirs(pid) => {
                let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                Err(
                    Failure::new(format!("`{name}` runs in this mesh already (pid {pid})")).hint(
                        format!(
                            "for one more of the same service choose another name: \
                         --name {name}-2 --service-account {name} --label app={name}"
                        ),
                    ),
                )
            }
        }
    }

    /// Takes everything out of the mesh's directory.
    fn give_back(self) {
        let home = self.dir.run(&self.name);
        if let Err(error) = leftovers::remove(self.dir, &self.name, &home) {
            terminal::note(format_args!(
                "portcullis: cannot tidy up: {error}; `up` will"
            ));
        }
        drop(self.lock);
    }
}
