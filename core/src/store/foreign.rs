//! Reads files of initial weights from a path or URL.

use std::path::Path as FsPath;
use std::time::Duration;

use bytes::Bytes;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme};
use url::{Position, Url};

use super::location;
use super::retry::http_retries;
use crate::error::{Error, Result};

/// Maximum size of a file of weights in bytes: ten times VGG-16.
const WEIGHTS_BYTES_MAX: u64 = 6 << 30;

/// Time limit of a download: the largest file at 2 MB/s.
const DOWNLOAD_MAX: Duration = Duration::from_secs(3600);

/// The error for a URL that may contain a key.
const KEYS: &str = "a URL must not hold keys, and no '?' or '#'; keys come from the scheduler's environment";

/// Returns an error if the location of weights contains a key, because options are stored and shown.
///
/// # Errors
/// [`Error::Data`], which does not contain the key.
pub(crate) fn refuse_keys(location: &str) -> Result<()> {
    let url = Url::parse(location).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let holds_keys = match url {
        // An @ in a path is not part of a key.
        Some(url) => {
            let user = (url.username(), url.password());
            user != ("", None) || url.query().is_some() || url.fragment().is_some()
        }
        None => location::without_keys(location) != location,
    };
    match holds_keys {
        true => Err(unreadable(location, KEYS)),
        false => Ok(()),
    }
}

fn unreadable(location: &str, reason: &str) -> Error {
    Error::Data { message: format!("weights = '{}' cannot be read: {reason}", location::without_keys(location)) }
}

/// Reads a file of weights: a path, or a URL `https://`, `s3://`, `gs://`, `az://`, `abfss://`.
///
/// # Errors
/// [`Error::Data`] if it cannot be read or is too large.
pub async fn read_weights(location: &str) -> Result<Bytes> {
    let failed = |reason: String| unreadable(location, &reason);
    let too_large = |bytes: u64| failed(format!("it has {bytes} bytes; the maximum is {WEIGHTS_BYTES_MAX}"));
    let path = location.strip_prefix("file://").unwrap_or(location);
    if !path.contains("://") {
        let no_file = |e: std::io::Error| failed(format!("{e}; the scheduler's machine must have the file"));
        let size = tokio::fs::metadata(FsPath::new(path)).await.map_err(no_file)?.len();
        return match size {
            size if size > WEIGHTS_BYTES_MAX => Err(too_large(size)),
            _ => Ok(tokio::fs::read(path).await.map_err(no_file)?.into()),
        };
    }
    refuse_keys(location)?;
    let url = Url::parse(location).map_err(|e| failed(e.to_string()))?;
    let (store, path, secrets) = match url.scheme() {
        "http" => return Err(failed("http:// is not secure; use https://".to_owned())),
        "https" => {
            let (store, path) = over_https(&url).map_err(|e| failed(e.to_string()))?;
            (store, path, location::Secrets::default())
        }
        _ => {
            let (store, secrets) = location::open_root(location, &location::environment()).map_err(failed)?;
            let (_, path) = ObjectStoreScheme::parse(&url).map_err(|e| failed(e.to_string()))?;
            (store, path, secrets)
        }
    };
    let told = |error: object_store::Error| failed(secrets.redact_error(error).to_string());
    let found = store.get(&path).await.map_err(told)?;
    match found.meta.size {
        size if size > WEIGHTS_BYTES_MAX => Err(too_large(size)),
        _ => found.bytes().await.map_err(told),
    }
}

/// Splits a URL into the server and the path.
fn over_https(url: &Url) -> object_store::Result<(Box<dyn ObjectStore>, Path)> {
    let server = &url[Position::BeforeScheme..Position::BeforePath];
    let options = ClientOptions::new().with_timeout(DOWNLOAD_MAX);
    let store = HttpBuilder::new().with_url(server).with_client_options(options).with_retry(http_retries()).build()?;
    Ok((Box::new(store), Path::from_url_path(url.path())?))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;

    use super::*;

    async fn refusal(location: &str) -> String {
        read_weights(location).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_file_is_read_by_its_path_and_by_its_url() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors").display().to_string();
        std::fs::write(&path, b"weights").unwrap();
        for location in [path.clone(), format!("file://{path}")] {
            let read = read_weights(&location).await.unwrap();
            assert_eq!(&read[..], b"weights");
        }
        let message = refusal(&format!("{path}.none")).await;
        assert!(message.starts_with(&format!("weights = '{path}.none' cannot be read: ")), "{message}");
        assert!(message.ends_with("; the scheduler's machine must have the file"), "{message}");
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // A sparse file, which uses no disk space.
        file.as_file().set_len(WEIGHTS_BYTES_MAX + 1).unwrap();
        let location = file.path().display().to_string();
        let reason = "it has 6442450945 bytes; the maximum is 6442450944";
        assert_eq!(refusal(&location).await, format!("weights = '{location}' cannot be read: {reason}"));
    }

    #[tokio::test]
    async fn a_url_with_keys_in_it_is_refused_and_the_keys_are_not_repeated() {
        for location in [
            "https://user:open-sesame@host.example/net.safetensors",
            "https://host.example/net.safetensors?token=open-sesame",
            "https://host.example/net.safetensors#open-sesame",
            "http://open-sesame@host.example/net.safetensors",
            "s3://AKIA:open-sesame@bucket/net.safetensors",
            "gs://bucket/net.safetensors?key=open-sesame",
            "az://container/net.safetensors?sig=open-sesame",
            "abfss://container:open-sesame@account.dfs.core.windows.net/net.safetensors",
        ] {
            let message = refusal(location).await;
            assert!(message.contains("cannot be read: a URL must not hold keys, and no '?' or '#'"), "{message}");
            assert!(!message.contains("sesame"), "{message}");
        }
    }

    // Over TLS and from S3 it is tested with servers of their own: tests/cluster/test_weights.py and test_store.py.
    #[tokio::test]
    async fn plain_http_is_refused_before_a_connection() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let location = format!("http://{}/net.safetensors", server.local_addr().unwrap());
        let message = refusal(&location).await;
        assert!(message.starts_with(&format!("weights = '{location}' cannot be read: ")), "{message}");
        assert!(message.ends_with("http:// is not secure; use https://"), "{message}");
        assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a connection was made");
    }

    #[test]
    fn the_path_of_a_url_is_requested_unchanged() {
        for (location, wanted) in [
            ("https://account.blob.core.windows.net/weights/a.safetensors", "weights/a.safetensors"),
            ("https://s3.eu-west-1.amazonaws.com/bucket/a.safetensors", "bucket/a.safetensors"),
            ("https://host.example/npm/net@1.0/a%20b.safetensors", "npm/net@1.0/a b.safetensors"),
        ] {
            refuse_keys(location).unwrap();
            assert_eq!(over_https(&Url::parse(location).unwrap()).unwrap().1.as_ref(), wanted);
        }
    }

    #[tokio::test]
    async fn unknown_files_and_servers_are_refused() {
        for location in ["ftp://host.example/net.safetensors", "memory:///net.safetensors", "://net.safetensors"] {
            let message = refusal(location).await;
            assert!(message.starts_with(&format!("weights = '{location}' cannot be read: ")), "{message}");
        }
    }
}
