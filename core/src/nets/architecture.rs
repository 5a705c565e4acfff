//! The architecture named by `USING`.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Defaults, NETS, Net};

/// A net or an ensemble. It is stored and compared by its name.
#[derive(Clone, Copy)]
pub enum Architecture {
    /// One of [`NETS`].
    Net(&'static Net),
    /// An ensemble of published models: the mean of their probabilities. It has no layers.
    Ensemble,
}

impl Architecture {
    /// The name of [`Self::Ensemble`].
    pub(super) const ENSEMBLE: &'static str = "ensemble";

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.net().map_or(Self::ENSEMBLE, |net| net.name)
    }

    /// Returns the architecture with this name, ignoring case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case(Self::ENSEMBLE) {
            return Some(Self::Ensemble);
        }
        NETS.iter().find(|net| name.eq_ignore_ascii_case(net.name)).map(|net| Self::Net(net))
    }

    /// The net; `None` of an ensemble.
    #[must_use]
    pub fn net(self) -> Option<&'static Net> {
        match self {
            Self::Net(net) => Some(net),
            Self::Ensemble => None,
        }
    }

    /// Returns the default options. An ensemble is not trained, and its members have their own options.
    #[must_use]
    pub fn defaults(self) -> Defaults {
        self.net().map_or(Defaults { image_size: 128, ..Defaults::COMMON }, |net| net.defaults)
    }
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Architecture {}

impl Hash for Architecture {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        // Stored names are exact; only SQL ignores case.
        let found = Self::from_name(&name).filter(|found| found.name() == name);
        found.ok_or_else(|| serde::de::Error::unknown_variant(&name, Self::NAMES))
    }
}
