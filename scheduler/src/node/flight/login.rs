//! The login of clients with user names and passwords.

use std::sync::Arc;

use axum::http::HeaderMap;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::TuskFlight;
use crate::metrics;

/// Base64 with or without padding: Arrow's Go library, and so ADBC's driver, omits it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the user name and password of a Basic header.
fn basic(metadata: &MetadataMap) -> Option<(String, String)> {
    let headers: &HeaderMap = metadata.as_ref();
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = BASE64.decode(encoded.trim()).ok()?;
    let (name, password) =
        String::from_utf8(decoded).ok()?.split_once(':').map(|(n, p)| (n.to_owned(), p.to_owned()))?;
    scheme.eq_ignore_ascii_case("basic").then_some((name, password))
}

impl TuskFlight {
    /// Checks a user name and password, and returns a token.
    pub(super) async fn log_in(&self, metadata: &MetadataMap) -> Result<String, Status> {
        // Without users, the token only distinguishes sessions.
        let Some(users) = &self.users else { return Ok(uuid::Uuid::new_v4().simple().to_string()) };
        let refused = || {
            metrics::REFUSED.inc();
            Status::unauthenticated("the user name or the password is wrong")
        };
        let (name, password) = basic(metadata).ok_or_else(refused)?;
        let users = Arc::clone(users);
        let checked = tokio::task::spawn_blocking(move || users.log_in(&name, &password)).await;
        checked.ok().flatten().ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basic_header_is_read_with_or_without_padding() {
        for encoded in ["YWxpY2U6cHc=", "YWxpY2U6cHc"] {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", format!("Basic {encoded}").parse().unwrap());
            assert_eq!(basic(&metadata), Some(("alice".to_owned(), "pw".to_owned())), "{encoded}");
        }
    }
}
