//! The only training job of a run whose workers exchange weights with the parameter server.

use std::sync::Arc;

use tusk_core::job::Exchange;

use crate::error::Result;
use crate::parameter_server::ParameterStore;
use crate::run::training::Run;

impl Run {
    /// Runs the job, and retries it if the cluster lost it. Its workers continue where they were.
    pub(in crate::run) async fn exchange(self, job: Exchange, store: Arc<ParameterStore>) -> Result<()> {
        let pushed = || store.record().workers.iter().map(|worker| worker.step).sum::<u64>();
        let exchange = || self.outputs("training", &self.train_source, job.clone(), |_| Ok(()));
        self.retrying_while_it_advances(pushed, exchange).await.map(drop)
    }
}
