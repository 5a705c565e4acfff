//! What every process of a Tusk cluster needs.
