//! Object stores of tables. They are opened when a table has such a URL, as in `CREATE EXTERNAL TABLE ... LOCATION
//! 's3://bucket/xrays/'`, with settings from the environment.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use url::{Position, Url};

use super::location::{self, Secrets};

/// Maximum number of open stores.
const STORES_MAX: usize = 64;

/// The registered stores, and the stores opened by URL.
#[derive(Debug)]
pub struct EnvironmentStores {
    registered: DefaultObjectStoreRegistry,
    opened: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    environment: Vec<(String, String)>,
}

impl Default for EnvironmentStores {
    fn default() -> Self {
        Self::with(location::environment())
    }
}

impl EnvironmentStores {
    fn with(environment: Vec<(String, String)>) -> Self {
        Self { registered: DefaultObjectStoreRegistry::new(), opened: Mutex::default(), environment }
    }
}

/// Makes a runtime that can read tables in object stores.
#[must_use]
pub fn table_runtime() -> RuntimeEnvBuilder {
    RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(EnvironmentStores::default()))
}

impl ObjectStoreRegistry for EnvironmentStores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.registered.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.registered.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Ok(store) = self.registered.get_store(url) {
            return Ok(store);
        }
        let root = &url[Position::BeforeScheme..Position::BeforePath];
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(root) {
            return Ok(Arc::clone(store));
        }
        let (store, secrets) = location::open_root(root, &self.environment).map_err(|reason| {
            let shown = location::without_keys(root);
            DataFusionError::Configuration(format!("tables at {shown} cannot be reached: {reason}"))
        })?;
        let store: Arc<dyn ObjectStore> = Arc::new(Discreet { store, secrets });
        if opened.len() >= STORES_MAX {
            opened.clear();
        }
        opened.insert(root.to_owned(), Arc::clone(&store));
        Ok(store)
    }
}

/// A store that removes secrets from its errors, because users see them.
#[derive(Debug)]
struct Discreet {
    store: Box<dyn ObjectStore>,
    secrets: Secrets,
}

impl fmt::Display for Discreet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl Discreet {
    fn told<T>(&self, result: object_store::Result<T>) -> object_store::Result<T> {
        result.map_err(|error| self.secrets.redact_error(error))
    }
}

#[async_trait::async_trait]
impl ObjectStore for Discreet {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.told(self.store.put_opts(to, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.told(self.store.put_multipart_opts(to, options).await)
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let mut got = self.told(self.store.get_opts(from, options).await)?;
        got.payload = match got.payload {
            // A broken stream is requested again, and the error of that may contain a token.
            GetResultPayload::Stream(bytes) => {
                let secrets = self.secrets.clone();
                let told = bytes.map(move |bytes| bytes.map_err(|error| secrets.redact_error(error)));
                GetResultPayload::Stream(told.boxed())
            }
            file => file,
        };
        Ok(got)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let secrets = self.secrets.clone();
        let deleted = self.store.delete_stream(paths);
        deleted.map(move |path| path.map_err(|error| secrets.redact_error(error))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let secrets = self.secrets.clone();
        self.store.list(prefix).map(move |meta| meta.map_err(|error| secrets.redact_error(error))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.told(self.store.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.told(self.store.copy_opts(from, to, options).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores(pairs: &[(&str, &str)]) -> EnvironmentStores {
        EnvironmentStores::with(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_store_is_opened_once_per_bucket_and_a_registered_store_takes_precedence() {
        let stores = stores(&[("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")]);
        let get = |url: &str| stores.get_store(&Url::parse(url).unwrap()).unwrap();
        let first = get("s3://xrays/a/b.parquet");
        assert!(Arc::ptr_eq(&first, &get("s3://xrays/c.parquet")));
        assert!(!Arc::ptr_eq(&first, &get("s3://others/c.parquet")));
        let own: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        stores.register_store(&Url::parse("s3://xrays").unwrap(), Arc::clone(&own));
        assert!(Arc::ptr_eq(&own, &get("s3://xrays/a/b.parquet")));
        assert!(get("file:///tmp/t.parquet").to_string().contains("LocalFileSystem"));
    }

    #[test]
    fn the_error_of_a_store_names_the_cause_and_no_key() {
        let plain = stores(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:5000")]);
        for (stores, url, reason) in [
            (&plain, "s3://xrays/a.parquet", "AWS_ALLOW_HTTP=true"),
            (&stores(&[]), "ftp://host/a.parquet", "s3://, gs://, az:// or abfss://"),
            (&stores(&[]), "s3://AKIA:wJalrXUtnFEMI@xrays/a.parquet", "a URL must not hold keys"),
        ] {
            let error = stores.get_store(&Url::parse(url).unwrap()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("wJalrXUtnFEMI"), "{error}");
        }
    }
}
