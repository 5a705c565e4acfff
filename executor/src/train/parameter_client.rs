//! A worker's client of the parameter server, which is in the scheduler or in this process. Its methods block and are
//! called from a training thread.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tusk_core::ids::{RunId, WorkerId};
use tusk_core::manifest::Timing;
use tusk_core::protocol::WIRE_VERSION;
use tusk_core::protocol::parameters::{ParameterServer, Pull, Pulled, Push, PushKind, Pushed, SessionKey};
use tusk_core::state::{ModelState, NamedTensor, OPTIMIZER_PREFIX};

use crate::error::Result;
use crate::train::direct_link::DirectLink;
use crate::train::flight_link::{FlightLink, SchedulerAddress};

/// The parameter server of an executor's tasks.
#[derive(Clone, Debug)]
pub(crate) enum ParameterServerAt {
    /// It is in the scheduler with this address.
    Scheduler(SchedulerAddress),
    /// It is in this process.
    Here(Arc<dyn ParameterServer>),
}

/// A worker's connection to the parameter server. Its calls block, and end when the task is cancelled.
pub(crate) trait Link: Debug + Send {
    /// Pulls the weights. If they follow, they have the names and shapes of the tensors in `like`.
    fn pull(&self, pull: &Pull, like: &ModelState) -> Result<(Pulled, Option<ModelState>)>;

    /// Pushes tensors.
    fn push(&self, push: &Push, tensors: Vec<NamedTensor>) -> Result<Pushed>;
}

/// One worker's client of the parameter server.
#[derive(Debug)]
pub(crate) struct ParameterClient {
    link: Box<dyn Link>,
    session: SessionKey,
    run: RunId,
    worker: WorkerId,
    attempt: Option<u64>,
}

impl ParameterClient {
    /// Creates a client, which connects when it is first used. Must be called within a Tokio runtime.
    pub(crate) fn new(
        server: &ParameterServerAt,
        session: SessionKey,
        run: RunId,
        worker: WorkerId,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Self> {
        let link: Box<dyn Link> = match server {
            ParameterServerAt::Scheduler(address) => Box::new(FlightLink::new(address, cancelled)?),
            ParameterServerAt::Here(server) => Box::new(DirectLink::new(Arc::clone(server), cancelled)),
        };
        Ok(Self { link, session, run, worker, attempt: None })
    }

    /// Pulls the weights if their version is not `have`. The tensors must have the names and shapes of those in `like`.
    pub(crate) fn pull(&mut self, have: Option<u64>, like: &ModelState) -> Result<(Pulled, Option<ModelState>)> {
        let pull = Pull {
            wire_version: WIRE_VERSION,
            run: self.run.clone(),
            session: self.session.clone(),
            worker: self.worker,
            attempt: self.attempt,
            have_version: have,
        };
        let (pulled, weights) = self.link.pull(&pull, like)?;
        self.attempt = Some(pulled.attempt);
        Ok((pulled, weights))
    }

    /// Pushes the initial weights of the run.
    pub(crate) fn push_start(&mut self, start: &ModelState) -> Result<()> {
        let tensors: Vec<NamedTensor> =
            start.iter().filter(|tensor| !tensor.name.starts_with(OPTIMIZER_PREFIX)).cloned().collect();
        let push = Push { kind: PushKind::Start, ..self.update() };
        self.push(push, tensors).map(drop)
    }

    /// Returns a push of this worker without content.
    pub(crate) fn update(&self) -> Push {
        Push {
            wire_version: WIRE_VERSION,
            run: self.run.clone(),
            session: self.session.clone(),
            worker: self.worker,
            attempt: self.attempt.unwrap_or(0),
            kind: PushKind::Update,
            step: 0,
            epoch: 0,
            ends_epoch: false,
            base_version: 0,
            rows: 0,
            loss_sum: 0.0,
            learning_rate: 0.0,
            timing: Timing::default(),
            tensors: 0,
        }
    }

    /// Pushes tensors to the parameter server.
    pub(crate) fn push(&mut self, push: Push, tensors: Vec<NamedTensor>) -> Result<Pushed> {
        let push = Push { tensors: u32::try_from(tensors.len()).unwrap_or(u32::MAX), ..push };
        self.link.push(&push, tensors)
    }
}
