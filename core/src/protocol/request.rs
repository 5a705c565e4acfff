//! The request to start a run, which can be stored and sent as bytes. A restarted scheduler uses the stored request to
//! continue the run.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use prost::Message;

use super::WIRE_VERSION;
use crate::codec::{decode_plan, encode_plan};
use crate::error::Error;
use crate::ids::ModelName;
use crate::job::Rows;
use crate::manifest::Shortcut;
use crate::nuisances::Nuisances;
use crate::options::ModelSpec;

/// A validated CREATE MODEL.
#[derive(Clone, Debug)]
pub struct TrainingRequest {
    /// The model.
    pub name: ModelName,
    /// The options.
    pub spec: ModelSpec,
    /// The training rows, with columns image, label, group and name.
    pub train: Arc<dyn ExecutionPlan>,
    /// The validation rows, if they are not split from the training rows.
    pub validate: Option<Arc<dyn ExecutionPlan>>,
    /// The name of the rows in errors: the table's name, or "the query".
    pub train_name: String,
    /// Whether a model of this name may be replaced.
    pub or_replace: bool,
    /// Whether to continue from the last checkpoint.
    pub resume: bool,
    /// The shortcuts of the training table, if they were measured.
    pub shortcuts: Option<Vec<Shortcut>>,
    /// The nuisances of validation rows, if they were read.
    pub nuisances: Option<Arc<Nuisances>>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestMessage {
    #[prost(uint32, tag = "1")]
    wire_version: u32,
    #[prost(string, tag = "2")]
    name: String,
    /// The spec as JSON.
    #[prost(bytes, tag = "3")]
    spec: Vec<u8>,
    #[prost(bytes, tag = "4")]
    train: Vec<u8>,
    #[prost(bytes, optional, tag = "5")]
    validate: Option<Vec<u8>>,
    #[prost(string, tag = "6")]
    train_name: String,
    #[prost(bool, tag = "7")]
    or_replace: bool,
    #[prost(bool, tag = "8")]
    resume: bool,
    /// The shortcuts as JSON.
    #[prost(bytes, tag = "9")]
    shortcuts: Vec<u8>,
    /// The nuisances as JSON.
    #[prost(bytes, tag = "10")]
    nuisances: Vec<u8>,
}

impl TrainingRequest {
    /// Returns which rows of `train` are trained on.
    #[must_use]
    pub fn training_rows(&self) -> Rows {
        let is_split = self.validate.is_none() && self.spec.holds_out();
        if is_split { Rows::Training } else { Rows::All }
    }

    /// Encodes the request.
    ///
    /// # Errors
    /// Returns an error if a plan cannot be encoded.
    pub fn encode(&self, codec: &dyn PhysicalExtensionCodec) -> Result<Vec<u8>> {
        let validate = self.validate.as_ref().map(|plan| encode_plan(Arc::clone(plan), codec)).transpose()?;
        let message = RequestMessage {
            wire_version: WIRE_VERSION,
            name: self.name.to_string(),
            spec: serde_json::to_vec(&self.spec).map_err(|e| wire(e.to_string()))?,
            train: encode_plan(Arc::clone(&self.train), codec)?,
            validate,
            train_name: self.train_name.clone(),
            or_replace: self.or_replace,
            resume: self.resume,
            shortcuts: serde_json::to_vec(&self.shortcuts).map_err(|e| wire(e.to_string()))?,
            nuisances: serde_json::to_vec(&self.nuisances.as_deref()).map_err(|e| wire(e.to_string()))?,
        };
        Ok(message.encode_to_vec())
    }

    /// Decodes a request.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a request of this version.
    pub fn decode(bytes: &[u8], context: &TaskContext, codec: &dyn PhysicalExtensionCodec) -> Result<Self> {
        let message = RequestMessage::decode(bytes).map_err(|e| wire(e.to_string()))?;
        if message.wire_version != WIRE_VERSION {
            let version = message.wire_version;
            return Err(wire(format!("it has version {version} and this process has version {WIRE_VERSION}")).into());
        }
        let plan = |bytes: &Vec<u8>| decode_plan(bytes, context, codec);
        let nuisances: Option<Nuisances> =
            serde_json::from_slice(&message.nuisances).map_err(|e| wire(e.to_string()))?;
        nuisances.as_ref().map_or(Ok(()), Nuisances::check).map_err(wire)?;
        Ok(Self {
            name: ModelName::new(message.name)?,
            spec: serde_json::from_slice(&message.spec).map_err(|e| wire(e.to_string()))?,
            train: plan(&message.train)?,
            validate: message.validate.as_ref().map(plan).transpose()?,
            train_name: message.train_name,
            or_replace: message.or_replace,
            resume: message.resume,
            shortcuts: serde_json::from_slice(&message.shortcuts).map_err(|e| wire(e.to_string()))?,
            nuisances: nuisances.map(Arc::new),
        })
    }
}

fn wire(reason: String) -> Error {
    Error::Wire { what: "training request", reason }
}
