//! The commands of the shell.

/// The commands that begin with a backslash, with their help.
pub(crate) const COMMANDS: [(&str, &str); 8] = [
    ("q", "leave the shell; Ctrl-D, quit and exit also leave it"),
    ("?", "show this help"),
    ("h", "NAME  show the help of a statement, such as \\h CREATE MODEL"),
    ("d", "SHOW TABLES; with the name of a table, its columns"),
    ("m", "SHOW MODELS; with the name of a model, DESCRIBE MODEL"),
    ("o", "show the options of CREATE MODEL"),
    ("timing", "[on|off]  show the number of rows and the time of each statement"),
    ("format", "[table|csv|json]  set the output format"),
];
