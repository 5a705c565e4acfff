//! Profiles the rows of a source.

use tusk_core::job::{Profile, ProfileReport, Selection};

use super::source::Source;
use crate::error::Result;
use crate::run::leak::Census;
use crate::run::training::Run;

impl Run {
    /// Counts the rows of a source, and collects the hashes that find rows on both sides of a split.
    pub(in crate::run) async fn census(
        &self,
        source: &Source,
        selection: Selection,
    ) -> Result<(Vec<ProfileReport>, Census)> {
        let job = Profile { selection };
        self.retrying(|| async {
            let mut census = Census::default();
            let reports =
                self.outputs("reading the images", source, job.clone(), |output| Ok(census.fold(output)?)).await?;
            Ok((reports, census))
        })
        .await
    }
}
