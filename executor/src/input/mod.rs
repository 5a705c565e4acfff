//! From decoded images to what the net sees: batches on the device, normalised and augmented.

pub(crate) mod augment;
#[cfg(test)]
mod augment_amounts_tests;
#[cfg(test)]
mod augment_tests;
pub(crate) mod batch_loader;
#[cfg(test)]
mod batch_loader_tests;
