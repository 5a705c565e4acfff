//! Flags from four sources, in order of precedence: the command line, the environment, a file, the defaults.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// The prefix of environment variables.
const PREFIX: &str = "TUSK_";

/// The flag that gives the path of the configuration file.
const CONFIG: &str = "config";

/// The similarity at or above which a name is suggested.
const SIMILAR_ENOUGH: f64 = 0.7;

/// Parses the flags of this process, or prints help, version or the error, and exits. `adjust` changes the derived
/// command, for example the default of a flag from another crate.
#[must_use]
pub fn parse_or_exit<T: clap::Parser>(adjust: impl FnOnce(Command) -> Command) -> T {
    parse(std::env::args_os(), adjust).unwrap_or_else(|error| crate::exit::end_of_flags(&error))
}

/// Parses flags from the command line, from the environment (`TUSK_` and the flag's name in capitals), and from the
/// TOML file of `--config` (the key is the flag's name).
///
/// # Errors
/// Returns an error if a flag, a variable, a key or a value is invalid, or if the file cannot be read. Clap also
/// returns help and version as errors.
pub fn parse<T: clap::Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    adjust: impl FnOnce(Command) -> Command,
) -> Result<T, clap::Error> {
    parse_from(arguments, |name| std::env::var_os(name), adjust)
}

/// Returns the name of the environment variable of a flag.
#[must_use]
pub fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
}

fn parse_from<T: clap::Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl Fn(&str) -> Option<OsString>,
    adjust: impl FnOnce(Command) -> Command,
) -> Result<T, clap::Error> {
    let mut command = prepare(adjust(T::command()));
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    let given: Vec<OsString> = arguments.collect();
    // An empty variable counts as unset, because compose files cannot leave a variable out.
    let variables = |flag: &str| variables(&variable(flag)).filter(|value| !value.is_empty());
    let file = config_file(&given).or_else(|| variables(CONFIG));
    let mut values = match file {
        Some(file) => read(&mut command, &file)?,
        None => BTreeMap::new(),
    };
    for flag in flags(&command) {
        if let Some(value) = variables(&flag) {
            values.insert(flag.clone(), (vec![value], variable(&flag)));
        }
    }
    let mut line = vec![program];
    for (flag, (words, _)) in &values {
        if let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(flag)) {
            line.extend(words_of(arg, words));
        }
    }
    line.extend(given.iter().cloned());
    let parsed = command.try_get_matches_from_mut(line).and_then(|mut found| T::from_arg_matches_mut(&mut found));
    parsed.map_err(|error| with_origin(&mut command, error, &given, &values))
}

/// Adds the flag `--config` to the command and the environment variable of each flag to its help.
fn prepare(command: Command) -> Command {
    let config = Arg::new(CONFIG).long(CONFIG).value_name("FILE").help(
        "TOML file with flags; the keys are the flags' names. The command line and the environment take precedence",
    );
    let with_variable = |arg: Arg| {
        let Some(name) = arg.get_long().map(variable) else { return arg };
        let text = |help: &dyn std::fmt::Display| format!("{} [env: {name}]", help.to_string().trim_end_matches('.'));
        let (short, long) = (arg.get_help().map(|h| text(h)), arg.get_long_help().map(|h| text(h)));
        let arg = arg.help(short.unwrap_or_else(|| format!("[env: {name}]")));
        match long {
            Some(long) => arg.long_help(long),
            None => arg,
        }
    };
    command.args_override_self(true).arg(config).mut_args(with_variable)
}

fn flags(command: &Command) -> Vec<String> {
    command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
}

/// Returns the configuration file given on the command line.
fn config_file(given: &[OsString]) -> Option<OsString> {
    let long = format!("--{CONFIG}");
    given.iter().enumerate().rev().find_map(|(at, word)| {
        if word == OsStr::new(&long) {
            return given.get(at + 1).cloned();
        }
        word.to_str()?.strip_prefix(&format!("{long}=")).map(OsString::from)
    })
}

/// The values of each flag and their origin.
type Values = BTreeMap<String, (Vec<OsString>, String)>;

fn read(command: &mut Command, file: &OsStr) -> Result<Values, clap::Error> {
    let name = file.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file)
        .map_err(|error| command.error(ErrorKind::Io, format!("cannot read the configuration {name}: {error}")))?;
    let table: toml::Table = text
        .parse()
        .map_err(|error| command.error(ErrorKind::ValueValidation, format!("the configuration {name}: {error}")))?;
    let known = flags(command);
    let mut values = Values::new();
    for (key, value) in table {
        if key == CONFIG || !known.contains(&key) {
            let message = format!("the configuration {name} has the unknown key '{key}'; {}", suggestion(&key, &known));
            return Err(command.error(ErrorKind::UnknownArgument, message));
        }
        let words = match &value {
            toml::Value::Array(items) => items.iter().map(word).collect::<Option<Vec<_>>>(),
            single => word(single).map(|word| vec![word]),
        };
        let Some(words) = words else {
            let message =
                format!("the configuration {name}: '{key}' must be a string, a number, true, false or a list");
            return Err(command.error(ErrorKind::ValueValidation, message));
        };
        values.insert(key, (words, format!("the configuration {name}")));
    }
    Ok(values)
}

fn word(value: &toml::Value) -> Option<OsString> {
    match value {
        toml::Value::String(text) => Some(text.into()),
        toml::Value::Integer(number) => Some(number.to_string().into()),
        toml::Value::Float(number) => Some(number.to_string().into()),
        toml::Value::Boolean(truth) => Some(truth.to_string().into()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn suggestion(key: &str, known: &[String]) -> String {
    let alike = |name: &&String| strsim::jaro_winkler(key, name);
    let nearest = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|name| alike(name) >= SIMILAR_ENOUGH) {
        Some(name) => format!("did you mean '{name}'?"),
        None => format!("the keys are {}", known.join(", ")),
    }
}

/// Formats a flag and its values as command-line arguments.
fn words_of(arg: &Arg, words: &[OsString]) -> Vec<OsString> {
    let long = arg.get_long().unwrap_or_default();
    let with_value = |value: &OsStr| {
        let mut word = OsString::from(format!("--{long}="));
        word.push(value);
        word
    };
    match arg.get_action() {
        ArgAction::SetTrue if words.iter().all(|w| w == "true") => vec![format!("--{long}").into()],
        ArgAction::SetTrue if words.iter().all(|w| w == "false") => Vec::new(),
        ArgAction::Append => words.iter().map(|value| with_value(value)).collect(),
        _ => vec![with_value(&words.join(OsStr::new(",")))],
    }
}

/// Adds to the error the file or the variable that the value came from.
fn with_origin(command: &mut Command, error: clap::Error, given: &[OsString], values: &Values) -> clap::Error {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return error };
    let flag = arg.trim_start_matches("--").split([' ', '=']).next().unwrap_or_default();
    let is_given = given.iter().any(|word| word.to_string_lossy().starts_with(&format!("--{flag}")));
    let Some((_, origin)) = values.get(flag).filter(|_| !is_given) else { return error };
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    command.error(error.kind(), format!("{first} (from {origin})"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Debug, clap::Parser)]
    #[command(name = "test")]
    struct Flags {
        /// Where to listen.
        #[arg(long, default_value_t = 1)]
        bind_port: u16,
        /// Prints more.
        #[arg(long)]
        verbose: bool,
        /// The devices.
        #[arg(long, value_delimiter = ',')]
        devices: Vec<String>,
        #[command(flatten)]
        inner: Inner,
    }

    #[derive(Debug, clap::Args)]
    struct Inner {
        #[arg(long)]
        store: Option<String>,
    }

    fn parse_with(file: &str, variables: &[(&str, &str)], line: &[&str]) -> Result<Flags, String> {
        let mut config = tempfile::NamedTempFile::new().unwrap();
        config.write_all(file.as_bytes()).unwrap();
        let words = ["test", "--config", config.path().to_str().unwrap()].into_iter().chain(line.iter().copied());
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        parse_from(words.map(OsString::from), find, |command| command).map_err(|e| e.to_string())
    }

    #[test]
    fn the_command_line_overrides_the_environment_and_the_environment_overrides_the_file() {
        let file = "bind-port = 2\nstore = 's3://file'";
        let variables = [("TUSK_BIND_PORT", "3"), ("TUSK_VERBOSE", "true")];
        let port = |file, variables: &[_], line: &[_]| parse_with(file, variables, line).unwrap().bind_port;
        assert_eq!(port("", &[], &[]), 1);
        assert_eq!(port(file, &[], &[]), 2);
        assert_eq!(port(file, &variables, &[]), 3);
        assert_eq!(port(file, &variables, &["--bind-port", "4"]), 4);
        let all = parse_with(file, &variables, &["--devices=b"]).unwrap();
        assert_eq!(all.inner.store.as_deref(), Some("s3://file"));
        assert!(all.verbose);
        assert_eq!(all.devices, ["b"]);
    }

    #[test]
    fn lists_and_switches_are_read_from_the_file_and_empty_variables_are_ignored() {
        let found = parse_with("devices = ['a', 'b']\nverbose = true", &[("TUSK_BIND_PORT", "")], &[]).unwrap();
        assert_eq!(found.devices, ["a", "b"]);
        assert!(found.verbose);
        assert_eq!(found.bind_port, 1);
        assert!(!parse_with("verbose = false", &[], &[]).unwrap().verbose);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_key() {
        let error = parse_with("bind-prt = 2", &[], &[]).unwrap_err();
        assert!(error.contains("unknown key 'bind-prt'; did you mean 'bind-port'?"), "{error}");
        let error = parse_with("zzz = 2", &[], &[]).unwrap_err();
        assert!(error.contains("the keys are bind-port, verbose, devices, store"), "{error}");
    }

    #[test]
    fn the_error_for_an_invalid_value_names_its_origin() {
        let error = parse_with("", &[("TUSK_BIND_PORT", "many")], &[]).unwrap_err();
        assert!(error.contains("invalid value 'many' for '--bind-port"), "{error}");
        assert!(error.contains("(from TUSK_BIND_PORT)"), "{error}");
        let error = parse_with("bind-port = -1", &[], &[]).unwrap_err();
        assert!(error.contains("(from the configuration /"), "{error}");
        let error = parse_with("store = { a = 1 }", &[], &[]).unwrap_err();
        assert!(error.contains("'store' must be a string, a number"), "{error}");
    }

    #[test]
    fn help_shows_the_names_of_variables_and_not_their_values() {
        let error = parse_with("", &[("TUSK_STORE", "s3://user:secret@host")], &["--help"]).unwrap_err();
        assert!(error.contains("[env: TUSK_STORE]") && error.contains("[env: TUSK_CONFIG]"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
