//! What can go wrong on an executor.

use datafusion::error::DataFusionError;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch refused an operation.
    #[error("libtorch: {source}")]
    Torch {
        /// Its own words.
        #[from]
        source: tch::TchError,
    },
    /// The contract was broken, or the store failed.
    #[error(transparent)]
    Core(#[from] tusk_core::Error),
    /// The rows could not be read.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
    /// Weights that do not belong to this net.
    #[error("the weights of {what} do not fit: {reason}")]
    WeightsMismatch {
        /// Which model or checkpoint.
        what: String,
        /// Which tensor, and how it differs.
        reason: String,
    },
    /// The disk that holds shards.
    #[error("cannot write a decoded shard to {path}: {source}. Free space there, or raise the memory budget")]
    ShardFile {
        /// The folder or file.
        path: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// Decoded images do not fit the cache.
    #[error(
        "decoded images need {needed} bytes, and the disk cache has {budget}; raise TUSK_CACHE_DISK_BYTES, or choose a \
         smaller image_size"
    )]
    CacheFull {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are allowed.
        budget: u64,
    },
    /// A variable of the environment that is no number of bytes.
    #[error(
        "the environment variable {variable} is '{value}'; it takes a whole number of bytes, such as {example}. Correct it \
         or unset it"
    )]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// A number that it could hold.
        example: u64,
    },
    /// A device that this machine does not have.
    #[error("device {device} not found: {reason}; use device = 'auto' or 'cpu'")]
    NoDevice {
        /// As asked for.
        device: String,
        /// Why not.
        reason: &'static str,
    },
    /// A list of devices that cannot be used.
    #[error("invalid --devices {given}: {reason}")]
    Devices {
        /// As given.
        given: String,
        /// Why not.
        reason: String,
    },
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls {
        /// Why not.
        source: tusk_process::tls::TlsError,
    },
    /// A figure that Prometheus does not take.
    #[error("failed to register metric: {source}")]
    Metric {
        /// Its own words.
        #[from]
        source: prometheus::Error,
    },
    /// The parameter service of the scheduler.
    #[error("cannot exchange weights with the parameter server at {url}: {reason}")]
    Parameters {
        /// Its address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::DataFusion(inner) => inner,
            Error::Core(inner) => inner.into(),
            other => DataFusionError::External(Box::new(other)),
        }
    }
}
