//! The flags of `tusk-executor`: those of Ballista and those of Tusk.

use std::path::PathBuf;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::config::Config;
use clap::{Arg, Command};
use tusk_process::logs::LogFormat;
use tusk_process::tls::{ClientTls, ServerTls};

use crate::node::plugin::PluginSettings;
use crate::shard::CacheLimits;

/// Trains and predicts on this machine for a Tusk cluster.
#[derive(Debug, clap::Parser)]
#[command(name = "tusk-executor")]
pub struct Flags {
    /// Tusk's flags.
    #[command(flatten, next_help_heading = "Tusk")]
    pub tusk: TuskFlags,
    /// Ballista's flags.
    #[command(flatten, next_help_heading = "Ballista")]
    pub ballista: Config,
}

/// The flags of Tusk.
#[derive(Debug, clap::Args)]
pub struct TuskFlags {
    /// Store of published models: a folder or a URL (s3://, gs://, az://). A training job names its own store.
    #[arg(long, value_name = "URL", default_value = "tusk-store")]
    pub store: String,
    /// Training devices: auto (all GPUs, or the CPU), cpu, or a list such as cuda:0,cuda:1. fake:N is for tests.
    #[arg(long, default_value = "auto")]
    pub devices: String,
    /// Training tasks that share a device.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers_per_device: usize,
    /// Cache for decoded images in memory, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    pub cache_memory_bytes: u64,
    /// Cache for decoded images on disk, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30)]
    pub cache_disk_bytes: u64,
    /// Folder of the disk cache. Default: the system's temporary folder.
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Certificate of this executor, PEM, for the name or address in --external-host.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// CA that signs the cluster's certificates, PEM. If set, the executor connects to the scheduler with TLS. With
    /// --tls-cert, its ports also accept TLS only, and only clients with a certificate from this CA.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Time that running tasks have to finish after SIGTERM. Tasks that do not finish run again on other executors.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub drain_timeout_seconds: u64,
    /// Format of the log on stderr.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Log level, or levels by module such as info,tusk_executor=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Adapts Ballista's flags to Tusk: other defaults, and an error for those that do not apply.
#[must_use]
pub fn adjust(command: Command) -> Command {
    let with_default = |value: &'static str| move |arg: Arg| arg.default_value(value);
    command
        .version(tusk_process::version::TUSK_VERSION)
        .long_version(crate::node::version::long())
        .mut_arg("executor_heartbeat_interval_seconds", with_default("5"))
        .mut_arg("scheduler_connect_timeout_seconds", with_default("60"))
        .mut_arg("scheduler_connect_timeout_seconds", |arg| {
            arg.help("How long to try to register with the scheduler before giving up")
        })
        .mut_arg("bind_health_port", |arg| arg.help("Port for /healthz, /readyz and /metrics"))
        .mut_arg("task_scheduling_policy", |arg| arg.hide(true).value_parser(pushed))
        .mut_arg("concurrent_tasks", |arg| arg.hide(true).value_parser(no_concurrent_tasks))
        .mut_arg("log_dir", |arg| arg.hide(true).value_parser(no_log_dir))
        .mut_arg("log_level_setting", |arg| arg.hide(true).value_parser(no_log_level_setting))
        .mut_arg("log_rotation_policy", |arg| arg.hide(true))
        .mut_arg("print_thread_info", |arg| arg.hide(true))
}

fn pushed(text: &str) -> Result<TaskSchedulingPolicy, String> {
    if text == "push-staged" {
        return Ok(TaskSchedulingPolicy::PushStaged);
    }
    Err("Tusk's executors require push scheduling, so that an epoch starts without polling".to_owned())
}

fn no_concurrent_tasks(_: &str) -> Result<usize, String> {
    Err("use --vcores".to_owned())
}

fn no_log_dir(_: &str) -> Result<String, String> {
    Err("logs go to stderr; redirect stderr".to_owned())
}

fn no_log_level_setting(text: &str) -> Result<String, String> {
    if text == "INFO,datafusion=INFO" { Ok(text.to_owned()) } else { Err("use --log-level".to_owned()) }
}

impl TuskFlags {
    /// The plugin's settings for this number of threads.
    #[must_use]
    pub fn plugin(&self, threads: usize) -> PluginSettings {
        PluginSettings {
            store: self.store.clone(),
            cache: CacheLimits {
                memory_bytes_max: self.cache_memory_bytes,
                disk_bytes_max: self.cache_disk_bytes,
                folder: self.cache_dir.clone().unwrap_or_else(std::env::temp_dir),
            },
            devices: self.devices.clone(),
            workers_per_device: self.workers_per_device,
            threads,
            tls: self.tls_ca.clone().map(|ca| ClientTls { ca, identity: self.identity() }),
        }
    }

    fn identity(&self) -> Option<(PathBuf, PathBuf)> {
        self.tls_cert.clone().zip(self.tls_key.clone())
    }

    /// TLS for the executor's own ports. `None` without a certificate.
    #[must_use]
    pub fn server_tls(&self) -> Option<ServerTls> {
        let (cert, key) = self.identity()?;
        Some(ServerTls { cert, key, client_ca: self.tls_ca.clone(), client_certificate_required: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Flags, String> {
        let words = std::iter::once("tusk-executor").chain(line.iter().copied()).map(Into::into);
        tusk_process::flags::parse(words, adjust).map_err(|e| e.to_string())
    }

    #[test]
    fn ballistas_flags_have_tusks_defaults_and_can_be_set() {
        let flags = parse(&[]).unwrap();
        assert_eq!(flags.ballista.executor_heartbeat_interval_seconds, 5);
        assert_eq!(flags.ballista.scheduler_connect_timeout_seconds, 60);
        let flags = parse(&["--executor-heartbeat-interval-seconds=9", "-c", "3", "--scheduler-host", "s"]).unwrap();
        assert_eq!(flags.ballista.executor_heartbeat_interval_seconds, 9);
        assert_eq!((flags.ballista.vcores, flags.ballista.scheduler_host.as_str()), (3, "s"));
    }

    #[test]
    fn flags_that_do_not_apply_are_refused_with_the_reason() {
        for (flag, reason) in [
            ("--task-scheduling-policy=pull-staged", "require push scheduling"),
            ("--concurrent-tasks=2", "use --vcores"),
            ("--log-dir=/tmp", "logs go to stderr"),
            ("--log-level-setting=DEBUG", "use --log-level"),
            ("--tls-cert=a.pem", "--tls-key"),
        ] {
            let error = parse(&[flag]).unwrap_err();
            assert!(error.contains(reason), "{flag}: {error}");
        }
    }

    #[test]
    fn help_has_groups_and_names_the_environment_variables() {
        let help = parse(&["--help"]).unwrap_err();
        for part in ["\nTusk:\n", "\nBallista:\n", "TUSK_DEVICES", "TUSK_SCHEDULER_HOST", "Trains and predicts"] {
            assert!(help.contains(part), "{part}: {help}");
        }
        assert!(!help.contains("--task-scheduling-policy") && !help.contains("--log-dir"), "{help}");
        let version = parse(&["--version"]).unwrap_err();
        for part in ["ballista ", "datafusion ", "libtorch ", "CUDA "] {
            assert!(version.contains(part), "{part}: {version}");
        }
    }

    #[test]
    fn an_executor_with_a_certificate_requires_client_certificates() {
        let flags = parse(&["--tls-cert=c", "--tls-key=k", "--tls-ca=a"]).unwrap();
        assert!(flags.tusk.server_tls().unwrap().client_certificate_required);
        assert_eq!(flags.tusk.plugin(1).tls.unwrap().identity, Some(("c".into(), "k".into())));
        assert!(parse(&["--tls-ca=a"]).unwrap().tusk.server_tls().is_none());
    }
}
