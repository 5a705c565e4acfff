//! Tests of the public API: statements on an embedded cluster, over images that the tests generate.

#[cfg(test)]
mod adapt;
#[cfg(test)]
mod bad_images;
#[cfg(test)]
mod bad_statements;
#[cfg(test)]
mod codec;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod dataframe;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod evaluation;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod folds_and_trials;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod modes;
#[cfg(test)]
mod options;
#[cfg(test)]
mod precision;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod shortcuts;
#[cfg(test)]
mod slt;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod unlearned;
#[cfg(test)]
mod uses;
