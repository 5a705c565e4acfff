//! The declaration of a group of options.

use serde::{Deserialize, Deserializer};

use super::{Architecture, ModelSpec, OptionValue};

/// Options that belong together.
#[derive(Debug)]
pub struct OptionGroup {
    /// Its heading in the manual.
    pub title: &'static str,
    /// What its options are about, in a sentence.
    pub meaning: &'static str,
    /// Its options.
    pub options: &'static [OptionDef],
}

/// One option of CREATE MODEL.
#[derive(Debug)]
pub struct OptionDef {
    /// The key.
    pub name: &'static str,
    /// What it means, in sentences.
    pub meaning: &'static str,
    pub(super) marks: &'static [Mark],
    pub(super) expected: fn() -> String,
    pub(super) unset: fn() -> &'static str,
    pub(super) default: fn() -> Option<OptionValue>,
    pub(super) value: fn(&ModelSpec) -> Option<OptionValue>,
    pub(super) set: fn(&mut ModelSpec, &OptionValue) -> Option<()>,
}

/// What sets an option apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It says what the rows are or how a search goes, and is the same for all its trials.
    Fixed,
    /// An ensemble takes it, too.
    Ensemble,
    /// Nets have defaults of their own: [`super::Architecture::defaults`].
    PerNet,
}

impl OptionDef {
    /// What it accepts, as documentation and error messages say it.
    #[must_use]
    pub fn expected(&self) -> String {
        (self.expected)()
    }

    /// Its default, as documentation shows it; where nets have defaults of their own, theirs too.
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

    /// What a statement would write to ask for what the spec has; `None` where it would leave the option out.
    #[must_use]
    pub fn value(&self, spec: &ModelSpec) -> Option<OptionValue> {
        (self.value)(spec)
    }

    /// Whether the trials of a search may differ in it.
    #[must_use]
    pub fn is_searchable(&self) -> bool {
        !self.marks.contains(&Mark::Fixed)
    }

    /// Whether an ensemble takes it: its nets keep what they were trained with.
    #[must_use]
    pub fn is_for_ensembles(&self) -> bool {
        self.marks.contains(&Mark::Ensemble)
    }

    /// Whether nets have defaults of their own.
    #[must_use]
    pub fn is_per_net(&self) -> bool {
        self.marks.contains(&Mark::PerNet)
    }
}

/// The architectures that learn.
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
/// and may have more:
///
/// * `field as "option"`: the option is not called as the field is;
/// * `before value`, behind what it accepts: files from before the option was there mean this value, where a file
///   without the field would else be refused;
/// * `[Fixed, Ensemble, PerNet]`, at the end: [`Mark`]s.
///
/// `beside { ... }` holds fields that are part of the group and no options.
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

/// The value of a field that is there, null included.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
