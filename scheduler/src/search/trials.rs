//! Hyper-parameter search: trains several trials and publishes the best.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use tusk_core::manifest::{ChildRun, ChildStatus, Manifest};
use tusk_core::options::{Objective, SearchStrategy};

use super::CompositeRun;
use crate::error::{Error, Result};
use crate::run::children::progress_of;

/// Fractions of the epochs after which the trials of successive halving are compared.
const HALVINGS: [f64; 3] = [1.0 / 8.0, 1.0 / 4.0, 1.0 / 2.0];

impl CompositeRun {
    /// Trains the trials and publishes the best.
    pub(super) async fn search(&self) -> Result<Manifest> {
        let spec = &self.request.spec;
        let count = self.children().await.len();
        for (share, survivors) in rungs(spec.search.strategy, count) {
            self.train_trials(share).await?;
            if share < 1.0 {
                self.halve(survivors).await?;
            }
        }
        let children = self.children().await;
        let is_finished = |child: &&ChildRun| child.status == ChildStatus::Finished;
        let Some(best) = ranked(&children, is_finished, spec.search.objective).first().copied() else {
            return Err(no_trial(&children));
        };
        if children[best].objective.is_none() {
            let message = format!(
                "no trial has a value of {} on the validation rows; check that they contain every class",
                spec.search.objective.name()
            );
            return Err(tusk_core::Error::Data { message }.into());
        }
        let run = self.child(best, spec.of_trial(best as u32)?).await?;
        run.publish(&self.request.name).await
    }

    /// Trains all remaining trials up to a fraction of their epochs.
    async fn train_trials(&self, share: f64) -> Result<()> {
        let children = self.children().await;
        let in_race = children
            .iter()
            .enumerate()
            .filter(|(_, child)| matches!(child.status, ChildStatus::Waiting | ChildStatus::Running));
        let waiting: Vec<usize> = in_race.map(|(index, _)| index).collect();
        let side_by_side = self.request.spec.search.parallel_trials.max(1) as usize;
        let has_ended = AtomicBool::new(false);
        let trials = futures::stream::iter(waiting)
            .map(|index| {
                let (study, has_ended) = (self.clone(), &has_ended);
                async move {
                    if has_ended.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    let trained = Box::pin(study.train_trial(index, share)).await;
                    has_ended.fetch_or(trained.is_err(), Ordering::Relaxed);
                    trained
                }
            })
            .buffer_unordered(side_by_side);
        // Wait for all active trials, even if an error ends the search, because each of them stops its own job.
        trials.collect::<Vec<_>>().await.into_iter().collect()
    }

    /// Trains one trial. An error of the trial ends the trial and not the search. The search ends after a cancellation,
    /// a job that is given up, a trial that cannot be resumed, or an error of the store.
    async fn train_trial(&self, index: usize, share: f64) -> Result<()> {
        let spec = self.request.spec.of_trial(index as u32)?;
        let until = (f64::from(spec.training.epochs) * share).ceil() as u32;
        let objective = self.request.spec.search.objective;
        if share < 1.0 && self.children().await[index].epochs >= until {
            return Ok(());
        }
        self.note(index, |child| child.status = ChildStatus::Running).await?;
        let trained = async {
            let mut run = self.child(index, spec).await?;
            run.learn(until).await?;
            if share >= 1.0 {
                run.finish().await?;
            }
            Ok::<_, Error>(run)
        };
        match Box::pin(trained).await {
            Ok(run) => {
                self.note(index, |child| {
                    progress_of(child, run.record(), objective);
                    if share >= 1.0 {
                        child.status = ChildStatus::Finished;
                    }
                })
                .await
            }
            Err(
                error @ (Error::Cancelled { .. }
                | Error::GivenUp { .. }
                | Error::CannotResume { .. }
                | Error::Core(tusk_core::Error::Store { .. })),
            ) => Err(error),
            Err(error) => {
                tracing::warn!(model = %self.request.name, trial = index + 1, %error, "a trial failed");
                self.note(index, |child| {
                    child.status = ChildStatus::Failed;
                    child.error = Some(error.to_string());
                })
                .await
            }
        }
    }

    /// Stops all remaining trials except the best.
    async fn halve(&self, survivors: usize) -> Result<()> {
        let children = self.children().await;
        let is_running = |child: &&ChildRun| child.status == ChildStatus::Running;
        for index in ranked(&children, is_running, self.request.spec.search.objective).into_iter().skip(survivors) {
            self.note(index, |child| child.status = ChildStatus::Stopped).await?;
        }
        Ok(())
    }
}

/// Returns the fractions of the epochs at which trials are compared, each with the number of trials that continue.
fn rungs(strategy: SearchStrategy, trials: usize) -> Vec<(f64, usize)> {
    let halvings = if strategy == SearchStrategy::Halving { &HALVINGS[..] } else { &[] };
    let survivors = halvings.iter().zip(1..).map(|(share, rung)| (*share, (trials >> rung).max(1)));
    survivors.chain([(1.0, 1)]).collect()
}

/// Returns the indices of the wanted children, the best first. Those without a value of the objective are last.
fn ranked(children: &[ChildRun], wanted: impl Fn(&&ChildRun) -> bool, objective: Objective) -> Vec<usize> {
    let mut places: Vec<usize> = (0..children.len()).filter(|index| wanted(&&children[*index])).collect();
    let merit = |index: &usize| {
        let value = children[*index].objective.unwrap_or(f64::NAN);
        let merit = if objective == Objective::Loss { -value } else { value };
        if merit.is_nan() { f64::NEG_INFINITY } else { merit }
    };
    // The sort is stable, so equal children keep their order.
    places.sort_by(|a, b| merit(b).total_cmp(&merit(a)));
    places
}

fn no_trial(children: &[ChildRun]) -> Error {
    let error = children.iter().find_map(|child| child.error.clone()).unwrap_or_else(|| "none was trained".to_owned());
    let message = format!("none of {} trials could be trained; the first error: {error}", children.len());
    tusk_core::Error::Data { message }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(objective: Option<f64>, status: ChildStatus) -> ChildRun {
        ChildRun {
            name: "trial-1".into(),
            options: Vec::new(),
            status,
            epochs: 1,
            objective,
            seconds: 1.0,
            error: None,
        }
    }

    #[test]
    fn half_of_the_trials_continue_after_each_comparison() {
        assert_eq!(rungs(SearchStrategy::Halving, 16), [(0.125, 8), (0.25, 4), (0.5, 2), (1.0, 1)]);
        assert_eq!(rungs(SearchStrategy::Halving, 3), [(0.125, 1), (0.25, 1), (0.5, 1), (1.0, 1)]);
        assert_eq!(rungs(SearchStrategy::Random, 16), [(1.0, 1)]);
    }

    #[test]
    fn the_best_trial_comes_first_for_every_objective() {
        let children = [
            child(Some(0.7), ChildStatus::Running),
            child(Some(0.9), ChildStatus::Running),
            child(None, ChildStatus::Running),
            child(Some(0.95), ChildStatus::Stopped),
            child(Some(0.9), ChildStatus::Running),
        ];
        let is_running = |child: &&ChildRun| child.status == ChildStatus::Running;
        assert_eq!(ranked(&children, is_running, Objective::RocAuc), [1, 4, 0, 2]);
        assert_eq!(ranked(&children, is_running, Objective::Loss), [0, 1, 4, 2]);
    }
}
