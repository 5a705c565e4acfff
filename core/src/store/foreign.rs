//! Files of others, wherever they lie: weights to start from.

use std::path::Path as FsPath;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::http::HttpBuilder;
use url::{Position, Url};

use super::location;
use super::retry::http_retries;
use crate::error::{Error, Result};

/// The largest file of weights, in bytes: ten times VGG-16.
const WEIGHTS_BYTES_MAX: u64 = 6 << 30;

/// The bytes of a file of weights: a path, or a URL `https://`, `s3://`, `gs://`, `az://`, `abfss://`.
///
/// # Errors
/// [`Error::Data`] when it cannot be read or is too large.
pub async fn read_weights(location: &str) -> Result<Bytes> {
    let shown = location::without_keys(location);
    let failed = |reason: String| Error::Data { message: format!("weights = '{shown}' cannot be read: {reason}") };
    let too_large = |bytes: u64| failed(format!("it has {bytes} bytes, and {WEIGHTS_BYTES_MAX} are the most"));
    let path = location.strip_prefix("file://").unwrap_or(location);
    if !path.contains("://") {
        let no_file = |e: std::io::Error| failed(format!("{e}; the scheduler's machine must have the file"));
        let size = tokio::fs::metadata(FsPath::new(path)).await.map_err(no_file)?.len();
        return match size {
            size if size > WEIGHTS_BYTES_MAX => Err(too_large(size)),
            _ => Ok(tokio::fs::read(path).await.map_err(no_file)?.into()),
        };
    }
    let environment = location::environment();
    let opened = if location.starts_with("http://") || location.starts_with("https://") {
        over_http(location)
    } else {
        location::open_root(location, &environment)
    };
    let (store, secrets) = opened.map_err(failed)?;
    let told = |error: object_store::Error| failed(secrets.redact_error(error).to_string());
    let url = Url::parse(location).map_err(|e| failed(e.to_string()))?;
    let (_, path) = object_store::ObjectStoreScheme::parse(&url).map_err(|e| failed(e.to_string()))?;
    let found = store.get(&path).await.map_err(told)?;
    match found.meta.size {
        size if size > WEIGHTS_BYTES_MAX => Err(too_large(size)),
        _ => found.bytes().await.map_err(told),
    }
}

/// The server of a URL. A link may hold a key; it is not shown.
fn over_http(location: &str) -> std::result::Result<(Box<dyn object_store::ObjectStore>, location::Secrets), String> {
    if location::without_keys(location) != location {
        return Err("a URL must not hold keys, and no '?' or '#'".to_owned());
    }
    let url = Url::parse(location).map_err(|e| e.to_string())?;
    let server = &url[Position::BeforeScheme..Position::BeforePath];
    let store = HttpBuilder::new().with_url(server).with_retry(http_retries()).build().map_err(|e| e.to_string())?;
    Ok((Box::new(store), location::Secrets::default()))
}
