//! The running mesh: starts its parts in order, follows what happens to them, and stops them in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::announce;
use super::complete;
use super::documents::{self, Demo};
use super::logs;
use super::part::Part;
use super::plan::Plan;
use super::supervisor::{Event, News, Order, Supervisor};
use crate::ca_admin::CaAdmin;
use crate::chaos;
use crate::cli::Up;
use crate::directory::{MeshDir, write_whole};
use crate::exit::{Context as _, Exit, Failure};
use crate::parent;
use crate::record::{self, Kind, PartRecord, Record};
use crate::run::leftovers;

/// A part that dies this often before it was ever ready will not become ready.
const HOPELESS: u32 = 4;
/// How often a mesh that starts is asked whether everybody knows everybody.
const LOOK: Duration = Duration::from_millis(50);
/// How often leftovers are swept and logs bounded.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// When somebody who waits is told what for.
const LONG_WAIT: Duration = Duration::from_secs(10);
/// A join token is used within seconds; a part that is restarted before it enrolled may need it later.
const TOKEN_TTL: Duration = Duration::from_mins(10);

/// A part and its supervisor.
#[derive(Debug)]
struct Running {
    part: Arc<Part>,
    record: PartRecord,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
    ever_ready: bool,
    attempts: u32,
    deaths: u32,
}

/// The mesh while `up` runs.
#[derive(Debug)]
struct Mesh<'a> {
    dir: &'a MeshDir,
    plan: Plan,
    executable: PathBuf,
    /// Where the chaos API listens.
    chaos: SocketAddr,
    parts: Vec<Running>,
    events: mpsc::UnboundedSender<Event>,
    started: Instant,
    started_at: u64,
    complete: bool,
    told_to_wait: bool,
}

/// Runs a mesh in `dir`, which this process holds, until a signal stops it.
pub(crate) async fn run(dir: &MeshDir, args: &Up) -> Result<Exit, Failure> {
    let started = Instant::now();
    let mut signals = Signals::listen()?;
    let demo = if args.no_demo {
        Demo::Without
    } else {
        Demo::With
    };
    documents::lay_out(dir, demo)?;
    leftovers::sweep(dir);
    let plan = Plan::make(dir, args, demo).context(|| "cannot find free ports".to_owned())?;
    let executable = std::env::current_exe().context(|| "cannot find myself".to_owned())?;
    let chaos = open_chaos(dir, args.chaos)?;
    let (events, mut happened) = mpsc::unbounded_channel();
    let mut mesh = Mesh {
        dir,
        plan,
        executable,
        chaos,
        parts: Vec::new(),
        events,
        started,
        started_at: record::now(),
        complete: false,
        told_to_wait: false,
    };
    announce::beginning(dir);
    announce::chaos(args.chaos, chaos);
    let outcome = mesh.keep(&mut happened, &mut signals).await;
    mesh.stop(&mut signals).await;
    outcome.map(|()| Exit::Fine)
}

impl Mesh<'_> {
    /// Starts everything and keeps it running; ends with a signal or when the mesh cannot start.
    async fn keep(
        &mut self,
        happened: &mut mpsc::UnboundedReceiver<Event>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        self.write_plan()?;
        self.add(self.plan.ca());
        let mut tick = interval(HOUSEKEEPING);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = signals.next() => return Ok(()),
                Some(event) = happened.recv() => self.on(event).await?,
                _ = tick.tick() => self.keep_house().await,
                _ = look.tick(), if !self.complete => self.look_whether_complete().await?,
            }
        }
    }

    fn add(&mut self, part: Part) {
        let (orders, inbox) = mpsc::unbounded_channel();
        let part = Arc::new(part);
        let supervisor = Supervisor {
            index: self.parts.len(),
            part: Arc::clone(&part),
            executable: self.executable.clone(),
            orders: inbox,
            events: self.events.clone(),
        };
        let record = PartRecord {
            name: part.name.clone(),
            kind: part.kind,
            pid: None,
            ready: false,
            restarts: 0,
            started_at: record::now(),
            ports: crate::ports::Ports::new(),
            log: part.log.display().to_string(),
        };
        let task = tokio::spawn(supervisor.run());
        self.parts.push(Running {
            part,
            record,
            orders,
            task,
            ever_ready: false,
            attempts: 0,
            deaths: 0,
        });
    }

    async fn on(&mut self, Event { part: index, news }: Event) -> Result<(), Failure> {
        let Some(running) = self.parts.get_mut(index) else {
            return Ok(());
        };
        match news {
            News::Started(pid) => {
                running.record.restarts = running.attempts;
                running.attempts += 1;
                running.record.pid = Some(pid);
                running.record.ready = false;
                running.record.started_at = record::now();
            }
            News::Ready(ports) => {
                let first = !std::mem::replace(&mut running.ever_ready, true);
                running.record.ready = true;
                running.record.ports = ports;
                let part = Arc::clone(&running.part);
                let record = running.record.clone();
                self.on_ready(&part, &record, first).await?;
            }
            News::Died { how, again_in } => {
                running.record.pid = None;
                running.record.ready = false;
                running.deaths += 1;
                if !running.ever_ready && running.deaths >= HOPELESS {
                    let (name, log) = (&running.part.name, &running.part.log);
                    let tail = logs::tail(log, 6).join("\n    ");
                    return Err(Failure::new(format!(
                        "{name} does not start: it {how}\n    {tail}"
                    ))
                    .hint(format!("its log is {}", log.display())));
                }
                announce::died(&running.part, &how, again_in);
            }
        }
        self.write_record()
    }

    async fn on_ready(
        &mut self,
        part: &Part,
        record: &PartRecord,
        first: bool,
    ) -> Result<(), Failure> {
        let again = self.plan.learn(part, &record.ports);
        self.write_plan()?;
        if first {
            announce::ready(part, record, &self.plan);
        } else {
            announce::back(part, record);
        }
        if part.kind == Kind::Ca && first {
            self.hand_out_tokens().await?;
            for part in self.plan.others() {
                self.add(part);
            }
        }
        for running in self.parts.iter().filter(|r| again.contains(&r.part.name)) {
            if let Some(args) = self.plan.app_args(&running.part.name) {
                *running.part.args.lock() = args;
            }
            // A supervisor ends only when the whole mesh stops.
            running.orders.send(Order::Restart).ok();
        }
        Ok(())
    }

    /// The mesh is complete when every part is ready and every proxy knows every workload.
    async fn look_whether_complete(&mut self) -> Result<(), Failure> {
        let ready = self.parts.iter().all(|running| running.record.ready);
        // The CA alone is no mesh.
        if !ready || self.parts.len() < 2 {
            return Ok(());
        }
        if complete::is_known(&self.record(), &self.plan.workloads()).await {
            self.complete = true;
            announce::complete(self.dir, &self.record(), self.started.elapsed());
            self.write_record()?;
        }
        Ok(())
    }

    /// Gives every process a fresh join token; one that has enrolled before does not need it.
    async fn hand_out_tokens(&self) -> Result<(), Failure> {
        let mut admin = CaAdmin::connect(self.dir).await?;
        for (name, path) in self.plan.enrolments() {
            let token = admin.join_token(name, TOKEN_TTL).await?;
            write_whole(&path, &format!("{token}\n"))
                .context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(())
    }

    async fn keep_house(&mut self) {
        for name in leftovers::sweep(self.dir) {
            announce::swept(&name);
        }
        for running in &self.parts {
            for log in [&running.part.log, &running.part.access_log] {
                if let Err(error) = logs::bound(log) {
                    announce::trouble(&running.part.name, &format!("its log grows: {error}"));
                }
            }
        }
        if !self.complete && !self.told_to_wait && self.started.elapsed() > LONG_WAIT {
            self.told_to_wait = true;
            for running in self.parts.iter().filter(|running| !running.record.ready) {
                announce::waiting(&running.part).await;
            }
            if self.parts.iter().all(|running| running.record.ready) {
                let what = "not every workload is registered and known to every proxy yet";
                announce::trouble("registry", what);
            }
        }
    }

    /// Gateway first, so that no request is lost; the CA last, as everybody may need it.
    async fn stop(&mut self, signals: &mut Signals) {
        announce::stopping();
        for kind in [
            Kind::Gateway,
            Kind::Sidecar,
            Kind::App,
            Kind::Registry,
            Kind::Ca,
        ] {
            for running in self
                .parts
                .iter()
                .filter(|running| running.part.kind == kind)
            {
                running.orders.send(Order::Stop).ok();
            }
            for index in 0..self.parts.len() {
                self.wait_for_end(index, kind, signals).await;
            }
        }
        announce::stopped(self.started.elapsed());
    }

    async fn wait_for_end(&mut self, index: usize, kind: Kind, signals: &mut Signals) {
        let Some(running) = self.parts.get_mut(index) else {
            return;
        };
        if running.part.kind != kind {
            return;
        }
        tokio::select! {
            _ended = &mut running.task => return,
            () = signals.next() => {}
        }
        // Told twice: everything ends at once.
        for running in &self.parts {
            running.orders.send(Order::Kill).ok();
        }
        if let Some(running) = self.parts.get_mut(index) {
            drop((&mut running.task).await);
        }
    }

    fn write_plan(&self) -> Result<(), Failure> {
        self.plan
            .write()
            .context(|| format!("cannot write below `{}`", self.dir.root().display()))
    }

    fn record(&self) -> Record {
        Record {
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            ready: self.complete,
            chaos: Some(self.chaos),
            parts: self
                .parts
                .iter()
                .map(|running| running.record.clone())
                .collect(),
        }
    }

    fn write_record(&self) -> Result<(), Failure> {
        self.record().write(self.dir)
    }
}

/// Serves the chaos API beside the mesh, for as long as this process runs.
fn open_chaos(dir: &MeshDir, port: u16) -> Result<SocketAddr, Failure> {
    let doing = || "cannot open the chaos API's port".to_owned();
    let listener = chaos::server::listen(port).context(doing)?;
    let at = listener.local_addr().context(doing)?;
    let serving = chaos::server::serve(dir.clone(), listener);
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            announce::trouble("chaos", &format!("its API has failed: {error}"));
        }
    });
    Ok(at)
}

/// Ctrl-C, and what `down` sends.
#[derive(Debug)]
struct Signals {
    interrupt: SignalStream,
    terminate: SignalStream,
    hangup: Option<SignalStream>,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).context(|| "cannot listen for signals".to_owned());
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            // The terminal is closed: nobody will press Ctrl-C any more.
            hangup: if parent::outlives_the_terminal() {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            Some(()) = async { self.hangup.as_mut()?.recv().await } => {}
        }
    }
}
