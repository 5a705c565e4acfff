//! The errors of this crate.

use datafusion::error::DataFusionError;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of libtorch failed.
    #[error("libtorch: {source}")]
    Torch {
        /// The error of libtorch.
        #[from]
        source: tch::TchError,
    },
    /// An error of `tusk-core`, such as an invalid message or a failure of the model store.
    #[error(transparent)]
    Core(#[from] tusk_core::Error),
    /// The rows could not be read.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
    /// The weights do not fit the net.
    #[error("the weights of {what} do not fit: {reason}")]
    WeightsMismatch {
        /// The model or checkpoint.
        what: String,
        /// The tensor and how it differs.
        reason: String,
    },
    /// A shard could not be written to disk or read from it.
    #[error("cannot write a decoded shard to {path}: {source}. Free space there, or raise the memory budget")]
    ShardFile {
        /// The folder or file.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The decoded images do not fit into the shard cache.
    #[error(
        "decoded images need {needed} bytes, and the disk cache has {budget}; raise TUSK_CACHE_DISK_BYTES, or choose a \
         smaller image_size"
    )]
    CacheFull {
        /// Needed bytes.
        needed: u64,
        /// Allowed bytes.
        budget: u64,
    },
    /// An environment variable does not hold a number of bytes.
    #[error(
        "the environment variable {variable} is '{value}'; it takes a whole number of bytes, such as {example}. Correct it \
         or unset it"
    )]
    Variable {
        /// The variable's name.
        variable: &'static str,
        /// The variable's value.
        value: String,
        /// A valid value.
        example: u64,
    },
    /// This machine does not have the device.
    #[error("device {device} not found: {reason}; use device = 'auto' or 'cpu'")]
    NoDevice {
        /// The requested device.
        device: String,
        /// The reason.
        reason: &'static str,
    },
    /// The list of devices is invalid.
    #[error("invalid --devices {given}: {reason}")]
    Devices {
        /// The list as given.
        given: String,
        /// The reason.
        reason: String,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls {
        /// The reason.
        source: tusk_process::tls::TlsError,
    },
    /// A Prometheus metric could not be created or registered.
    #[error("failed to register metric: {source}")]
    Metric {
        /// The error of the Prometheus library.
        #[from]
        source: prometheus::Error,
    },
    /// The parameter server could not be reached, or it refused a request.
    #[error("cannot exchange weights with the parameter server at {url}: {reason}")]
    Parameters {
        /// The parameter server's address.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
}

/// A result with this crate's error type.
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
