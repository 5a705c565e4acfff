//! Tusk from the outside: statements on an embedded cluster, over pictures that the tests draw themselves.

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
mod slt;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod studies;
#[cfg(test)]
mod transfer;
