//! Placement: chooses an executor for each task.
//!
//! A training task goes to the executor that holds its worker's shard. If that executor is lost or busy with another
//! run, the task goes to any executor with a free device, which builds the shard again.
//!
//! An executor takes one training task per device, and reserves one vcore for each. So a query never waits for an
//! epoch, and an epoch never waits for a query. The tasks of workers that exchange weights last until the end of the
//! run, but release their device in between, so a validation task may run beside them.
//!
//! All other tasks are placed round-robin, as in Ballista's own policy.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::{AvailableVcores, task_status};
use ballista_core::serde::scheduler::TaskKey;
use ballista_scheduler::cluster::{BoundTask, DistributionPolicy};
use ballista_scheduler::state::execution_graph::{TaskDescription, create_task_info};
use ballista_scheduler::state::execution_stage::{ExecutionStage, RunningStage};
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use tusk_core::ids::WorkerId;
use tusk_core::job::Job;
use tusk_core::physical::TrainExec;

use crate::executors::SharedExecutors;

/// Places training tasks by shards and devices, and all other tasks round-robin.
#[derive(Debug)]
pub(crate) struct StickyPlacement {
    executors: SharedExecutors,
}

/// How the tasks of a job use a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceUse {
    /// The task holds the device from beginning to end.
    Whole,
    /// The task holds the device in turns and releases it in between.
    Turns,
    /// The task may also hold the device between the turns of other tasks.
    Guest,
}

impl DeviceUse {
    fn of(job: &Job) -> Self {
        match job {
            Job::Profile(_) | Job::FitWeights(_) | Job::Train(_) | Job::Adapt(_) => Self::Whole,
            Job::Exchange(_) => Self::Turns,
            Job::Validate(_) => Self::Guest,
        }
    }
}

/// An executor in one round of placement.
struct Seat<'a> {
    budget: &'a mut AvailableVcores,
    /// The number of training tasks that it may still take.
    training: u32,
    /// The number of validation tasks that it may take beside workers that exchange weights.
    giving_way: u32,
}

impl Seat<'_> {
    /// Returns whether the executor may take a training task.
    fn takes(&self, device_use: DeviceUse) -> bool {
        self.training > 0 || (device_use == DeviceUse::Guest && self.giving_way > 0 && self.open() > 0)
    }

    /// The vcores that are not reserved for training.
    fn open(&self) -> u32 {
        self.budget.vcores.saturating_sub(self.training)
    }
}

impl StickyPlacement {
    pub(crate) fn new(executors: SharedExecutors) -> Self {
        Self { executors }
    }

    /// Returns the executors of this round, those with the most free vcores first.
    fn seats<'a>(&self, budgets: Vec<&'a mut AvailableVcores>, training: &HashMap<String, Busy>) -> Vec<Seat<'a>> {
        let seat = |budget: &'a mut AvailableVcores| {
            let Busy { tasks, exchanging } = training.get(&budget.executor_id).copied().unwrap_or_default();
            let slots = self.executors.slots(&budget.executor_id);
            let training = slots.saturating_sub(tasks).min(budget.vcores);
            Seat { training, giving_way: exchanging.saturating_sub(tasks.saturating_sub(slots)), budget }
        };
        let mut seats: Vec<Seat<'_>> = budgets.into_iter().map(seat).collect();
        seats.sort_by(|a, b| {
            b.budget.vcores.cmp(&a.budget.vcores).then_with(|| a.budget.executor_id.cmp(&b.budget.executor_id))
        });
        seats
    }
}

#[async_trait]
impl DistributionPolicy for StickyPlacement {
    async fn bind_tasks(
        &self,
        budgets: Vec<&mut AvailableVcores>,
        running_jobs: Arc<HashMap<JobId, JobInfoCache>>,
    ) -> Result<Vec<BoundTask>> {
        let mut jobs: Vec<(&JobId, &JobInfoCache)> =
            running_jobs.iter().filter(|(_, job)| matches!(job.status, Some(Status::Running(_)))).collect();
        // The oldest job first, so that no job waits forever. Ballista's job ids sort by time.
        jobs.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        let mut training = HashMap::new();
        for (_, job) in &jobs {
            job.execution_graph.read().await.stages().values().for_each(|stage| count_training(stage, &mut training));
        }
        let mut seats = self.seats(budgets, &training);
        let holders = self.executors.holders();
        let mut bound = Vec::new();
        for (job_id, job) in jobs {
            let mut graph = job.execution_graph.write().await;
            let session_id = graph.session_id().to_string();
            let mut done = Vec::new();
            while let Some(stage) = graph.fetch_running_stage(&done) {
                done.push(stage.stage_id);
                let place = Place { job_id, session_id: &session_id };
                match train_exec(&stage.plan).map(TrainExec::task).cloned() {
                    Some(task) => {
                        let holders = |worker: u32| holders.get(&task.shard_key(WorkerId(worker)));
                        place.training(stage, DeviceUse::of(&task.job), &mut seats, &holders, &mut bound);
                    }
                    None => place.query(stage, &mut seats, &mut bound),
                }
            }
        }
        Ok(bound)
    }

    fn name(&self) -> &str {
        "sticky shards"
    }
}

/// The job whose tasks are placed.
struct Place<'a> {
    job_id: &'a JobId,
    session_id: &'a str,
}

impl Place<'_> {
    /// Places one task per worker: first on an executor that holds its shard, then on any executor with a free device.
    fn training<'h>(
        &self,
        stage: &mut RunningStage,
        device_use: DeviceUse,
        seats: &mut [Seat<'_>],
        holders: &dyn Fn(u32) -> Option<&'h Vec<String>>,
        bound: &mut Vec<BoundTask>,
    ) {
        let mut left = Vec::new();
        for partition in stage.pending.next_slice(usize::MAX) {
            let holder = u32::try_from(partition).ok().and_then(holders);
            let seat = seats.iter_mut().find(|seat| {
                seat.takes(device_use) && holder.is_some_and(|ids| ids.contains(&seat.budget.executor_id))
            });
            match seat {
                Some(seat) => bound.push(self.bind(stage, seat, vec![partition], 1, true)),
                None => left.push(partition),
            }
        }
        let mut waiting = Vec::new();
        for partition in left {
            // The executor with the most free devices comes first, so that the tasks are spread.
            match seats.iter_mut().filter(|seat| seat.takes(device_use)).max_by_key(|seat| seat.training) {
                Some(seat) => bound.push(self.bind(stage, seat, vec![partition], 1, true)),
                None => waiting.push(partition),
            }
        }
        stage.pending.reschedule(waiting);
    }

    /// Places the tasks of a query: one per executor and turn, with as many partitions as the executor has open vcores.
    fn query(&self, stage: &mut RunningStage, seats: &mut [Seat<'_>], bound: &mut Vec<BoundTask>) {
        let collapses = has_input_collapse(&stage.plan);
        let most = stage.session_config.ballista_config().max_partitions_per_task();
        let most = if most == 0 { usize::MAX } else { most };
        while !stage.pending.is_empty() {
            let mut placed = false;
            for seat in seats.iter_mut() {
                let open = seat.open();
                if open == 0 || stage.pending.is_empty() {
                    continue;
                }
                // A stage that collapses needs all of its input in one task, which keeps one vcore busy.
                let size = if collapses { usize::MAX } else { (open as usize).min(most) };
                let partitions = stage.pending.next_slice(size);
                let vcores = if collapses { 1 } else { u32::try_from(partitions.len()).unwrap_or(open) };
                bound.push(self.bind(stage, seat, partitions, vcores, false));
                placed = true;
            }
            if !placed {
                return;
            }
        }
    }

    fn bind(
        &self,
        stage: &mut RunningStage,
        seat: &mut Seat<'_>,
        partitions: Vec<usize>,
        vcores: u32,
        trains: bool,
    ) -> BoundTask {
        seat.budget.vcores = seat.budget.vcores.saturating_sub(vcores);
        if trains && seat.training > 0 {
            seat.training -= 1;
        } else if trains {
            seat.giving_way = seat.giving_way.saturating_sub(1);
        }
        let executor_id = seat.budget.executor_id.clone();
        let task_id = stage.task_infos.len();
        let failures = partitions.iter().filter_map(|p| stage.task_failure_numbers.get(*p)).max();
        let task_attempt = failures.copied().unwrap_or(0);
        let mut info = create_task_info(executor_id.clone(), task_id);
        info.global_input_partition_ids.clone_from(&partitions);
        info.vcores_consumed = vcores;
        stage.task_infos.push(info);
        let task = TaskDescription {
            session_id: self.session_id.to_owned(),
            key: TaskKey { job_id: self.job_id.clone(), stage_id: stage.stage_id, task_id },
            stage_attempt_num: stage.stage_attempt_num,
            task_attempt,
            global_input_partition_ids: partitions,
            vcores_consumed: vcores,
            plan: Arc::clone(&stage.plan),
            session_config: Arc::clone(&stage.session_config),
        };
        (executor_id, task)
    }
}

/// The training tasks of an executor.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    /// The number of training tasks.
    tasks: u32,
    /// The number of training tasks whose workers exchange weights.
    exchanging: u32,
}

/// Adds the running training tasks of a stage to the counts of their executors.
fn count_training(stage: &ExecutionStage, counts: &mut HashMap<String, Busy>) {
    let ExecutionStage::Running(stage) = stage else { return };
    let Some(train) = train_exec(&stage.plan) else { return };
    let takes_turns = DeviceUse::of(&train.task().job) == DeviceUse::Turns;
    for info in &stage.task_infos {
        if let task_status::Status::Running(running) = &info.task_status {
            let busy = counts.entry(running.executor_id.clone()).or_default();
            busy.tasks += 1;
            busy.exchanging += u32::from(takes_turns);
        }
    }
}

/// Returns the training operator of a stage, which is below its shuffle writer.
fn train_exec(plan: &Arc<dyn ExecutionPlan>) -> Option<&TrainExec> {
    let mut node = plan;
    loop {
        if let Some(train) = node.downcast_ref::<TrainExec>() {
            return Some(train);
        }
        node = *node.children().first()?;
    }
}

/// Returns whether an operator of a stage merges all partitions into one. The input of such a stage cannot be split
/// into several tasks. The search stops where the stage ends or forks, as in Ballista's own policies.
fn has_input_collapse(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut children = plan.children();
    while let [node] = children[..] {
        if node.downcast_ref::<ShuffleReaderExec>().is_some() || node.downcast_ref::<RangeShuffleReaderExec>().is_some()
        {
            return false;
        }
        if node.output_partitioning().partition_count() == 1 {
            return true;
        }
        children = node.children();
    }
    false
}

#[cfg(test)]
mod tests {
    use tusk_core::event::NoProgress;
    use tusk_core::protocol::{DeviceReport, ExecutorReport, WIRE_VERSION};

    use super::*;
    use crate::executors::Executors;

    /// Returns what an executor with two devices and this many free vcores takes: whether a training task, whether a
    /// validation task, and how many vcores of queries.
    fn seat_of(busy: Busy, vcores: u32) -> (bool, bool, u32) {
        let executors = Arc::new(Executors::default());
        let devices = vec![DeviceReport::default(); 2];
        let report = ExecutorReport {
            wire_version: WIRE_VERSION,
            executor_id: "a".into(),
            devices,
            ..ExecutorReport::default()
        };
        executors.report(report, &NoProgress).unwrap();
        let mut budget = AvailableVcores { executor_id: "a".to_owned(), vcores };
        let placement = StickyPlacement::new(executors);
        let seats = placement.seats(vec![&mut budget], &HashMap::from([("a".to_owned(), busy)]));
        let [seat] = &seats[..] else { panic!("one executor") };
        (seat.takes(DeviceUse::Whole), seat.takes(DeviceUse::Guest), seat.open())
    }

    #[test]
    fn queries_get_no_reserved_vcore_and_training_gets_one_task_per_device() {
        let idle = Busy::default();
        assert_eq!(seat_of(idle, 5), (true, true, 3));
        assert_eq!(seat_of(Busy { tasks: 1, ..idle }, 4), (true, true, 3));
        assert_eq!(seat_of(Busy { tasks: 2, ..idle }, 3), (false, false, 3));
        // Queries occupy all vcores that are not reserved.
        assert_eq!(seat_of(idle, 2), (true, true, 0));
    }

    #[test]
    fn one_validation_task_may_run_beside_each_worker_that_exchanges_weights() {
        let exchanging = Busy { tasks: 2, exchanging: 2 };
        assert_eq!(seat_of(exchanging, 3), (false, true, 3));
        // Both validation tasks are running.
        assert_eq!(seat_of(Busy { tasks: 4, exchanging: 2 }, 1), (false, false, 1));
        // No vcore is free.
        assert_eq!(seat_of(exchanging, 0), (false, false, 0));
        // Beside two workers that do not exchange weights, no validation task may run.
        assert_eq!(seat_of(Busy { tasks: 2, exchanging: 0 }, 3), (false, false, 3));
    }
}
