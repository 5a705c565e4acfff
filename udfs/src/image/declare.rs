//! What all image functions have in common. A file of a function has its `SHAPE` and `DOCUMENTATION`, and what it computes.

/// Declares the type of an image function, with `new` and `default`.
macro_rules! image_function {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            signature: ::datafusion::logical_expr::Signature,
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $name {
            /// The function, ready to be registered.
            pub fn new() -> Self {
                let volatility = ::datafusion::logical_expr::Volatility::Immutable;
                Self { signature: ::datafusion::logical_expr::Signature::user_defined(volatility) }
            }
        }
    };
}

/// Implements the part of `ScalarUDFImpl` that follows from `SHAPE` and `DOCUMENTATION`.
macro_rules! described {
    () => {
        fn name(&self) -> &str {
            SHAPE.name()
        }

        fn signature(&self) -> &::datafusion::logical_expr::Signature {
            &self.signature
        }

        fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
            SHAPE.coerce(arg_types)
        }

        fn documentation(&self) -> Option<&Documentation> {
            Some(&DOCUMENTATION)
        }
    };
}
