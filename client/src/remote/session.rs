//! A session that plans in this process for a remote cluster.

use std::collections::HashMap;
use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use tusk_core::event::OnEvent;
use tusk_core::store::table_runtime;
use tusk_process::tls::ClientTls;
use tusk_scheduler::{Session, SessionSettings};
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::session_config;

use super::{Remote, http_url};
use crate::error::{Error, Result};

/// The options of a context that a session takes.
pub(crate) struct Options<'a> {
    /// Partitions of a query.
    pub(crate) threads: usize,
    pub(crate) tls: Option<&'a ClientTls>,
    pub(crate) on_event: Option<OnEvent>,
}

/// A session that plans in this process and runs its queries on a remote cluster.
pub(crate) async fn remote_session(url: &str, remote: &Remote, options: Options<'_>) -> Result<Session> {
    let mut config = session_config().with_target_partitions(options.threads);
    if let Some(authorization) = remote.authorization() {
        let header = ("authorization".to_owned(), authorization.to_owned());
        config = config.with_ballista_grpc_metadata(HashMap::from([header]));
    }
    if let Some(tls) = options.tls {
        let failed = |e: tusk_process::tls::TlsError| Error::Unreachable { url: url.to_owned(), reason: e.to_string() };
        config = config
            .with_ballista_use_tls(true)
            .with_ballista_override_create_grpc_client_endpoint(tls.endpoint_override().map_err(failed)?);
    }
    let session = Session::open(SessionSettings {
        scheduler_url: http_url(url),
        config,
        runtime: table_runtime().build_arc()?,
        predictor: Arc::new(PlanOnly),
        training: None,
        on_event: options.on_event,
        tables: None,
        url_tables: true,
        may_train: false,
    });
    Ok(session.await?)
}
