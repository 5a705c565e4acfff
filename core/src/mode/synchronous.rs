//! All workers wait for the mean of all, once or several times per epoch.

use super::{Definition, Exchange, Mode};

/// `mode = 'synchronous'`.
pub const MODE: Mode = Mode(&Definition { name: "synchronous", exchange: Exchange::Mean });
