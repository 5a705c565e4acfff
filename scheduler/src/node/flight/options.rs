//! The options of a session, as Flight SQL names them: its current catalog and schema. Clients may also close a session.
//!
//! The messages are those of Flight.proto, which arrow-flight 59 does not have.

use std::collections::HashMap;

use datafusion::common::config::CatalogOptions;
use datafusion::logical_expr::{LogicalPlan, SetVariable, Statement};
use futures::future::BoxFuture;
use prost::{Message, Oneof};
use tonic::Status;

use super::TuskFlight;
use crate::access::users::Identity;
use crate::session::Session;
use crate::status::{PROTOCOL, status_of};

/// The actions of clients about their session.
pub(super) const GET_SESSION_OPTIONS: &str = "GetSessionOptions";
pub(super) const SET_SESSION_OPTIONS: &str = "SetSessionOptions";
pub(super) const CLOSE_SESSION: &str = "CloseSession";

/// The options.
const CATALOG: &str = "catalog";
const SCHEMA: &str = "schema";

#[derive(Clone, PartialEq, Message)]
struct StringList {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Oneof)]
enum OptionValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    List(StringList),
}

#[derive(Clone, PartialEq, Message)]
struct SessionOptionValue {
    /// `None` sets the default value.
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    value: Option<OptionValue>,
}

/// SetSessionOptionsRequest and GetSessionOptionsResult, which have the same form.
#[derive(Clone, PartialEq, Message)]
struct SessionOptions {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, SessionOptionValue>,
}

/// Why an option is not set, as in SetSessionOptionsResult.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Name = 1,
    Value = 2,
}

#[derive(Clone, PartialEq, Message)]
struct OptionError {
    #[prost(int32, tag = "1")]
    value: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
struct CloseSessionResult {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The status of a session that is closed.
const CLOSED: i32 = 1;

impl TuskFlight {
    /// Returns the current catalog and schema.
    pub(super) fn session_options<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            let session = self.session(identity).await?;
            let current = current(&session);
            let text = |value: String| SessionOptionValue { value: Some(OptionValue::Text(value)) };
            let options = [(CATALOG, current.default_catalog), (SCHEMA, current.default_schema)];
            let options = options.map(|(name, value)| (name.to_owned(), text(value)));
            Ok(SessionOptions { options: HashMap::from(options) }.encode_to_vec())
        })
    }

    /// Sets the current catalog and schema. Returns an error for each option that is not set.
    pub(super) fn set_session_options<'a>(
        &'a self,
        identity: &'a Identity,
        request: &'a [u8],
    ) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            let request = SessionOptions::decode(request);
            let mut options = request.map_err(|e| PROTOCOL.status(format!("the options cannot be read: {e}")))?.options;
            let session = self.session(identity).await?;
            let mut errors = HashMap::new();
            // The schema is one of the catalog, so it comes second.
            for name in [CATALOG, SCHEMA] {
                let Some(value) = options.remove(name) else { continue };
                match accepted(&session, name, value) {
                    Ok(value) => set(&session, name, value).await?,
                    Err(refused) => drop(errors.insert(name.to_owned(), OptionError { value: refused as i32 })),
                }
            }
            errors.extend(options.into_keys().map(|name| (name, OptionError { value: Refused::Name as i32 })));
            Ok(SetSessionOptionsResult { errors }.encode_to_vec())
        })
    }

    /// Closes the client's session. Its next request opens another.
    pub(super) fn close_session(&self, identity: &Identity) -> Vec<u8> {
        self.sessions.close(&identity.session);
        CloseSessionResult { status: CLOSED }.encode_to_vec()
    }
}

fn current(session: &Session) -> CatalogOptions {
    session.local().state().config_options().catalog.clone()
}

/// Returns the value that an option is set to. It must exist.
fn accepted(session: &Session, name: &str, value: SessionOptionValue) -> Result<String, Refused> {
    let value = match value.value {
        Some(OptionValue::Text(value)) if !value.is_empty() => value,
        None | Some(OptionValue::Text(_)) => {
            let initial = CatalogOptions::default();
            if name == CATALOG { initial.default_catalog } else { initial.default_schema }
        }
        Some(_) => return Err(Refused::Value),
    };
    let context = session.local();
    let exists = match name {
        CATALOG => context.catalog(&value).is_some(),
        _ => context
            .catalog(&current(session).default_catalog)
            .is_some_and(|catalog| catalog.schema_names().contains(&value)),
    };
    if exists { Ok(value) } else { Err(Refused::Value) }
}

async fn set(session: &Session, name: &str, value: String) -> Result<(), Status> {
    let variable = format!("datafusion.catalog.default_{name}");
    let statement = LogicalPlan::Statement(Statement::SetVariable(SetVariable { variable, value }));
    Box::pin(session.execute_plan(statement)).await.map(drop).map_err(status_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_flight() {
        // As Go's library writes {"schema": "s"}.
        let bytes = b"\x0a\x0d\x0a\x06schema\x12\x03\x0a\x01s";
        let value = SessionOptionValue { value: Some(OptionValue::Text("s".to_owned())) };
        let options = SessionOptions { options: HashMap::from([("schema".to_owned(), value)]) };
        assert_eq!(SessionOptions::decode(bytes.as_slice()).unwrap(), options);
        assert_eq!(options.encode_to_vec(), bytes);
        let number = SessionOptionValue { value: Some(OptionValue::Integer(1)) };
        assert_eq!(number.encode_to_vec(), b"\x19\x01\0\0\0\0\0\0\0");
        assert_eq!(CloseSessionResult { status: CLOSED }.encode_to_vec(), b"\x08\x01");
    }
}
