//! No worker waits: each pulls weights and pushes how it changed them. Pushes are applied one at a time, in the order of
//! arrival.

use super::{Definition, Exchange, Mode};

/// `mode = 'asynchronous'`.
pub const MODE: Mode =
    Mode(&Definition { name: "asynchronous", exchange: Exchange::ParameterServer { is_exclusive: true } });
