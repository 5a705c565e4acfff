//! Opens the object store of `--store`: a folder, or a URL whose settings and keys are environment variables.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use super::retry::http_retries;
use crate::error::{Error, Result};

/// Prefixes of environment variables that configure stores.
const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Settings whose values are secret.
const SECRET_WORDS: [&str; 6] = ["secret", "token", "key", "password", "sas", "credential"];

/// Settings with similar names that are not secret: the name or the path of a key.
const PUBLIC_ENDINGS: [&str; 5] = ["key_id", "_file", "_path", "_uri", "application_credentials"];

/// Minimum length of a secret. Shorter values are not removed from messages.
const SECRET_BYTES_MIN: usize = 6;

/// An open store.
pub(super) struct Opened {
    pub(super) url: String,
    pub(super) store: Arc<dyn ObjectStore>,
    /// The folder, if the store is a folder.
    pub(super) root: Option<PathBuf>,
    pub(super) secrets: Secrets,
}

/// Secrets to remove from messages. Servers may quote tokens in their errors.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<[String]>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    fn of(settings: &[(String, String)]) -> Self {
        let is_secret = |(key, value): &&(String, String)| {
            value.len() >= SECRET_BYTES_MIN
                && SECRET_WORDS.iter().any(|word| key.contains(word))
                && !PUBLIC_ENDINGS.iter().any(|ending| key.ends_with(ending))
        };
        Self(settings.iter().filter(is_secret).map(|(_, value)| value.clone()).collect())
    }

    /// Removes the secrets from a text.
    pub(super) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    /// Removes the secrets from an error.
    pub(super) fn redact_error(&self, error: object_store::Error) -> object_store::Error {
        // Its Debug form is shown too.
        let forms = [error.to_string(), format!("{error:?}")];
        if forms.iter().all(|form| self.redact(form) == *form) {
            return error;
        }
        object_store::Error::Generic { store: "object store", source: self.redact(&forms[0]).into() }
    }
}

/// The variables of this process that configure stores.
pub(super) fn environment() -> Vec<(String, String)> {
    // Settings must be valid UTF-8.
    let text = std::env::vars_os().filter_map(|(key, value)| key.into_string().ok().zip(value.into_string().ok()));
    text.filter(|(key, _)| PREFIXES.iter().any(|prefix| key.starts_with(prefix))).collect()
}

/// Opens the store at a path (created where it is missing) or a URL.
pub(super) fn open(location: &str, environment: &[(String, String)]) -> Result<Opened> {
    match location.strip_prefix("file://") {
        Some(path) => open_folder(location, path),
        None if location.contains("://") => open_url(location, environment),
        None => open_folder(location, location),
    }
}

fn open_folder(location: &str, path: &str) -> Result<Opened> {
    let invalid = |reason: String| Error::InvalidStore { url: location.to_owned(), reason };
    std::fs::create_dir_all(path)
        .map_err(|e| invalid(format!("the folder cannot be made ({e}); give --store a folder you may write to")))?;
    let root = FsPath::new(path).canonicalize().map_err(|e| invalid(e.to_string()))?;
    let store = LocalFileSystem::new_with_prefix(&root).map_err(|e| invalid(e.to_string()))?;
    let store = Arc::new(store.with_automatic_cleanup(true));
    Ok(Opened { url: format!("file://{}", root.display()), store, root: Some(root), secrets: Secrets::default() })
}

fn open_url(location: &str, environment: &[(String, String)]) -> Result<Opened> {
    let (store, prefix, secrets) = configured(location, environment)
        .map_err(|reason| Error::InvalidStore { url: without_keys(location), reason })?;
    let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, prefix));
    Ok(Opened { url: location.to_owned(), store, root: None, secrets })
}

/// Opens the store of a URL without its folder. Errors do not contain keys of the URL.
pub(super) fn open_root(
    url: &str,
    environment: &[(String, String)],
) -> std::result::Result<(Box<dyn ObjectStore>, Secrets), String> {
    configured(url, environment).map(|(store, _, secrets)| (store, secrets))
}

/// The store of a URL, the folder in it, and what must not be shown.
fn configured(
    location: &str,
    environment: &[(String, String)],
) -> std::result::Result<(Box<dyn ObjectStore>, Path, Secrets), String> {
    // The URL is sent to executors and appears in plans and errors, so it must not contain keys.
    if without_keys(location) != location {
        return Err("a URL must not hold keys, and no '?' or '#'. Give them to every process in its environment, as \
                    AWS_*, GOOGLE_* or AZURE_* variables"
            .to_owned());
    }
    let settings: Vec<(String, String)> =
        environment.iter().map(|(key, value)| (key.to_ascii_lowercase(), value.clone())).collect();
    let secrets = Secrets::of(&settings);
    let url = Url::parse(location).map_err(|e| e.to_string())?;
    if let Some((key, _)) = plain_endpoint(&settings) {
        return Err(format!(
            "{} is plain http, which is not secure; set AWS_ALLOW_HTTP=true (or \
             AZURE_ALLOW_HTTP, GOOGLE_ALLOW_HTTP) if that is meant",
            key.to_ascii_uppercase()
        ));
    }
    let (store, prefix) = build(&url, &settings).map_err(|e| secrets.redact(&e.to_string()))?;
    Ok((store, prefix, secrets))
}

/// Returns the endpoint if it has no TLS and this is not allowed.
fn plain_endpoint(settings: &[(String, String)]) -> Option<&(String, String)> {
    let is_true = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y");
    let allowed = |prefix: &str| settings.iter().any(|(k, v)| *k == format!("{prefix}allow_http") && is_true(v));
    settings.iter().find(|(key, value)| {
        let prefix = PREFIXES.iter().map(|p| p.to_ascii_lowercase()).find(|prefix| key.starts_with(prefix.as_str()));
        let is_endpoint = key.contains("endpoint") && !key.contains("metadata") && !key.contains("sts");
        is_endpoint && value.starts_with("http://") && !prefix.is_some_and(|prefix| allowed(&prefix))
    })
}

/// Removes keys from a location, for messages.
pub(super) fn without_keys(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else { return location.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    // Azure writes container@account; a key may hold slashes, so the last @ counts.
    match rest.rsplit_once('@') {
        Some((user, host)) if !scheme.starts_with("abfs") || user.contains([':', '/']) => {
            format!("{scheme}://***@{host}")
        }
        _ => format!("{scheme}://{rest}"),
    }
}

/// The store of a URL, and the folder in it.
fn build(url: &Url, settings: &[(String, String)]) -> object_store::Result<(Box<dyn ObjectStore>, Path)> {
    /// Unknown settings are ignored. They may belong to another program.
    macro_rules! configured {
        ($builder:ty) => {{
            let builder = settings.iter().fold(<$builder>::new().with_url(url.as_str()), |builder, (key, value)| {
                match key.parse() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                }
            });
            Box::new(builder.with_retry(http_retries()).build()?)
        }};
    }
    let unknown = || object_store::Error::NotSupported {
        source: "use a folder that every node sees, s3://, gs://, az:// or abfss://".into(),
    };
    let (scheme, prefix) = ObjectStoreScheme::parse(url).map_err(|_| unknown())?;
    let store: Box<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => configured!(AmazonS3Builder),
        ObjectStoreScheme::GoogleCloudStorage => configured!(GoogleCloudStorageBuilder),
        ObjectStoreScheme::MicrosoftAzure => configured!(MicrosoftAzureBuilder),
        _ => return Err(unknown()),
    };
    Ok((store, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY";

    fn refusal(location: &str, environment: &[(&str, &str)]) -> String {
        match open(location, &variables(environment)) {
            Ok(opened) => panic!("{location} was opened as {}", opened.url),
            Err(error) => format!("{error} {error:?}"),
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_url_with_keys_in_it_is_refused_and_the_keys_are_not_repeated() {
        for location in [
            &format!("s3://AKIA:{SECRET}@bucket/models"),
            &format!("s3://bucket/models?secret={SECRET}"),
            &format!("az://container/models#{SECRET}"),
            &format!("abfss://container:{SECRET}@account.dfs.core.windows.net/models"),
        ] {
            let message = refusal(location, &[]);
            assert!(message.contains("a URL must not hold keys"), "{message}");
            for part in SECRET.split('/') {
                assert!(!message.contains(part), "{message}");
            }
        }
        assert_eq!(
            without_keys("abfss://box@account.dfs.core.windows.net/m"),
            "abfss://box@account.dfs.core.windows.net/m"
        );
    }

    #[test]
    fn settings_come_from_the_environment_and_secrets_are_not_shown() {
        let environment = variables(&[
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", "session-token-1"),
            ("AWS_ENDPOINT_URL", "https://store.example:9000"),
            ("AWS_SOMETHING_ELSE", "x"),
        ]);
        let opened = open("s3://bucket/models", &environment).unwrap();
        let debug = format!("{:?}", opened.store);
        assert!(debug.contains("store.example:9000") && debug.contains("AKIAEXAMPLE"), "{debug}");
        assert_eq!(
            opened.secrets.redact(&format!("<Token>session-token-1</Token> {SECRET}")),
            "<Token>***</Token> ***"
        );
        let error = object_store::Error::Generic { store: "S3", source: format!("quotes {SECRET}").into() };
        let error = opened.secrets.redact_error(error);
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }

    #[test]
    fn plain_http_must_be_allowed_explicitly() {
        let plain = ("AWS_ENDPOINT_URL", "http://127.0.0.1:5000");
        let keys = [plain, ("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing")];
        let message = refusal("s3://bucket/models", &keys);
        assert!(
            message.contains("AWS_ENDPOINT_URL is plain http") && message.contains("AWS_ALLOW_HTTP=true"),
            "{message}"
        );
        let allowed: Vec<_> = keys.into_iter().chain([("AWS_ALLOW_HTTP", "true")]).collect();
        open("s3://bucket/models", &variables(&allowed)).unwrap();
    }

    #[test]
    fn an_unsupported_store_is_refused_with_the_supported_ones() {
        for location in ["memory:///models", "http://host/models", "ftp://host/x", "s3://", "://"] {
            assert!(refusal(location, &[]).contains("is not a model store: "), "{location}");
        }
        assert!(refusal("memory:///models", &[]).contains("a folder that every node sees"));
    }
}
