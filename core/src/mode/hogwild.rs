//! As asynchronous, but pushes that meet are mixed tensor by tensor (Niu et al. 2011, arXiv 1106.5730).

use super::{Definition, Exchange, Mode};

/// `mode = 'hogwild'`.
pub const MODE: Mode =
    Mode(&Definition { name: "hogwild", exchange: Exchange::ParameterServer { is_exclusive: false } });
