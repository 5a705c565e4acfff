//! Option values that are defined in one file each and listed in a registry.

/// A choice among the definitions of a list. In SQL, JSON and messages it is the name of the definition. The definition
/// is a struct with a field `name`.
macro_rules! registered {
    ($(#[$doc:meta])* $choice:ident, $definition:ty, $list:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $choice(&'static $definition);

        impl $choice {
            /// Every name, in the order of the list.
            pub const NAMES: &'static [&'static str] = &{
                let (mut names, mut index) = ([""; $list.len()], 0);
                while index < names.len() {
                    names[index] = $list[index].0.name;
                    index += 1;
                }
                names
            };

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                self.0.name
            }

            /// Returns the choice with this name, ignoring case.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                $list.iter().copied().find(|choice| choice.name().eq_ignore_ascii_case(name))
            }
        }

        impl crate::options::accepts::QuotedText for $choice {
            fn from_text(text: &str) -> Option<Self> {
                Self::from_name(text)
            }

            fn expected() -> String {
                crate::options::accepts::quoted(Self::NAMES)
            }

            fn to_text(&self) -> String {
                self.name().to_owned()
            }
        }

        impl PartialEq for $choice {
            fn eq(&self, other: &Self) -> bool {
                self.name() == other.name()
            }
        }

        impl Eq for $choice {}

        impl std::fmt::Debug for $choice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($choice), self.name())
            }
        }

        impl std::fmt::Display for $choice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl serde::Serialize for $choice {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $choice {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(deserializer)?;
                let choice = $list.iter().copied().find(|choice| choice.name() == name);
                choice.ok_or_else(|| serde::de::Error::unknown_variant(&name, Self::NAMES))
            }
        }
    };
}
pub(crate) use registered;
