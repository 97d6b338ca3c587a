//! Closed sets of stable codes: one macro, so that a code, its words and its parser stay together.

/// A text that is none of the known codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a known code: use one of {}", .known.trim_end())]
pub struct BadCode {
    pub(crate) known: &'static str,
}

/// An enum whose values have a stable code and words for people.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$vdoc:meta])* $variant:ident = $code:literal : $words:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $code)] $variant,)* }
        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// The stable code.
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $code),* } }
            /// What it means, for people.
            pub fn words(self) -> &'static str { match self { $(Self::$variant => $words),* } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::code::BadCode;
            fn from_str(text: &str) -> Result<Self, $crate::code::BadCode> {
                let known = concat!($($code, " "),*);
                let same = |code: &Self| code.as_str() == text;
                let found = Self::ALL.iter().copied().find(same);
                found.ok_or($crate::code::BadCode { known })
            }
        }
    };
}
pub(crate) use codes;
