//! Turns decoded images into net inputs: assembles batches on the device, then normalises and augments them.

pub(crate) mod augment;
#[cfg(test)]
mod augment_amounts_tests;
#[cfg(test)]
mod augment_tests;
pub(crate) mod batch_loader;
#[cfg(test)]
mod batch_loader_tests;
