//! Trains nets: training steps, the optimizers, the moving average of the weights, and the client of the parameter
//! server.

pub(crate) mod ema;
pub(crate) mod mixup;
#[cfg(test)]
mod mixup_tests;
pub(crate) mod optimizer;
pub(crate) mod parameter_client;
#[cfg(test)]
mod parameter_client_tests;
pub(crate) mod trainer;
#[cfg(test)]
pub(crate) mod trainer_tests;
