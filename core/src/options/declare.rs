//! Declares groups of options.

use serde::{Deserialize, Deserializer};

use super::{Architecture, ModelSpec, OptionValue};

/// A group of options.
#[derive(Debug)]
pub struct OptionGroup {
    /// The heading in the manual.
    pub title: &'static str,
    /// A sentence that describes the group.
    pub meaning: &'static str,
    /// The options of the group.
    pub options: &'static [OptionDef],
}

/// One option of CREATE MODEL.
#[derive(Debug)]
pub struct OptionDef {
    /// The key in SQL.
    pub name: &'static str,
    /// The description.
    pub meaning: &'static str,
    pub(super) marks: &'static [Mark],
    pub(super) expected: fn() -> String,
    pub(super) unset: fn() -> &'static str,
    pub(super) default: fn() -> Option<OptionValue>,
    pub(super) value: fn(&ModelSpec) -> Option<OptionValue>,
    pub(super) set: fn(&mut ModelSpec, &OptionValue) -> Option<()>,
}

/// A special property of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The option cannot be searched.
    Fixed,
    /// The option applies to ensembles.
    Ensemble,
    /// The default depends on the net: [`super::Architecture::defaults`].
    PerNet,
}

impl OptionDef {
    /// Describes the accepted values, for documentation and error messages.
    #[must_use]
    pub fn expected(&self) -> String {
        (self.expected)()
    }

    /// Describes the default, including those of nets, for documentation.
    #[must_use]
    pub fn default(&self) -> String {
        let text = |literal: Option<OptionValue>| literal.map_or_else(|| (self.unset)().to_owned(), |l| l.to_string());
        let default = text((self.default)());
        let mut others: Vec<(String, Vec<&str>)> = Vec::new();
        for net in nets().filter(|_| self.is_per_net()) {
            let own = text(self.value(&ModelSpec::new(net)));
            match others.iter_mut().find(|(value, _)| *value == own) {
                _ if own == default => {}
                Some((_, names)) => names.push(net.name()),
                None => others.push((own, vec![net.name()])),
            }
        }
        let others = others.iter().map(|(value, names)| format!("; {value} for {}", names.join(", ")));
        default + &others.collect::<String>()
    }

    /// Returns the literal of the value in a spec, or `None` if the option would be left out.
    #[must_use]
    pub fn value(&self, spec: &ModelSpec) -> Option<OptionValue> {
        (self.value)(spec)
    }

    /// Returns whether the option can be searched.
    #[must_use]
    pub fn is_searchable(&self) -> bool {
        !self.marks.contains(&Mark::Fixed)
    }

    /// Returns whether the option applies to ensembles. The nets of an ensemble keep their own options.
    #[must_use]
    pub fn is_for_ensembles(&self) -> bool {
        self.marks.contains(&Mark::Ensemble)
    }

    /// Returns whether the default depends on the net.
    #[must_use]
    pub fn is_per_net(&self) -> bool {
        self.marks.contains(&Mark::PerNet)
    }
}

/// Returns the architectures that are trained.
fn nets() -> impl Iterator<Item = Architecture> {
    let all = Architecture::NAMES.iter().filter_map(|name| Architecture::from_name(name));
    all.filter(|architecture| *architecture != Architecture::Ensemble)
}

/// Declares a group of options: the struct, its defaults, how it is read from JSON, and `GROUP`, which
/// [`super::GROUPS`] lists. An entry is
///
/// ```text
/// /// What the field means, which is also the manual's text.
/// field: Type = default, what it accepts;
/// ```
///
/// and may also have:
///
/// * `field as "option"`: the name of the option differs from that of the field;
/// * `before value`, after the accepted values: the value for stored files that are older than the option. Without it,
///   a file without the field is refused;
/// * `[Fixed, Ensemble, PerNet]`, at the end: [`Mark`]s.
///
/// `beside { ... }` holds fields of the group that are not options.
macro_rules! options {
    (
        $(#[doc = $about:literal])+
        $title:literal $group:ident: $Group:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde $serde:tt])?
                $field:ident $(as $name:literal)?: $type:ty = $default:expr, $accepts:expr
                    $(, before $before:expr)? $(, [$($mark:ident),+])?;
            )+
        }
        $(beside {
            $($(#[doc = $inner_doc:literal])+ $inner:ident: $inner_type:ty = $inner_default:expr $(, before $inner_before:expr)?;)+
        })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $Group {
            $($(#[doc = $doc])+ $(#[serde $serde])? pub $field: $type,)+
            $($($(#[doc = $inner_doc])+ pub $inner: $inner_type,)+)?
        }

        impl Default for $Group {
            fn default() -> Self {
                Self { $($field: $default,)+ $($($inner: $inner_default,)+)? }
            }
        }

        impl<'de> serde::Deserialize<'de> for $Group {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(expecting = $title)]
                struct Stored {
                    $(
                        #[serde(default, deserialize_with = "crate::options::declare::present")]
                        $(#[serde $serde])?
                        $field: Option<$type>,
                    )+
                    $($(
                        #[serde(default, deserialize_with = "crate::options::declare::present")]
                        $inner: Option<$inner_type>,
                    )+)?
                }
                let stored = Stored::deserialize(deserializer)?;
                Ok(Self {
                    $($field: match stored.$field {
                        Some(value) => value,
                        None => crate::options::declare::options!(@missing [$field $($name)?] $($before)?),
                    },)+
                    $($($inner: match stored.$inner {
                        Some(value) => value,
                        None => crate::options::declare::options!(@missing [$inner] $($inner_before)?),
                    },)+)?
                })
            }
        }

        pub(super) const GROUP: crate::options::OptionGroup = crate::options::OptionGroup {
            title: $title,
            meaning: concat!($($about),+).trim_ascii(),
            options: &[$(crate::options::OptionDef {
                name: crate::options::declare::options!(@name $field $($name)?),
                meaning: concat!($($doc),+).trim_ascii(),
                marks: &[$($(crate::options::declare::Mark::$mark),+)?],
                expected: || crate::options::accepts::Accepts::<$type>::expected(&$accepts),
                unset: || crate::options::accepts::Accepts::<$type>::unset(&$accepts),
                default: || crate::options::accepts::Accepts::<$type>::literal(&$accepts, &$default),
                value: |spec| crate::options::accepts::Accepts::<$type>::literal(&$accepts, &spec.$group.$field),
                set: |spec, literal| {
                    spec.$group.$field = crate::options::accepts::Accepts::<$type>::parse(&$accepts, literal)?;
                    Some(())
                },
            }),+],
        };
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@missing [$field:ident $($name:literal)?]) => {
        return Err(serde::de::Error::missing_field(crate::options::declare::options!(@name $field $($name)?)))
    };
    (@missing [$field:ident $($name:literal)?] $before:expr) => { $before };
}
pub(super) use options;

/// Deserializes the value of a present field, including null.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
