//! What is lost, as whoever goes on without it says it.

/// The range of `--lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first entry that is gone.
    pub from: u64,
    /// The last.
    pub to: u64,
}

impl std::str::FromStr for Lost {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a range of entries, like 4711-4902; both ends are lost";
        let (from, to) = text.split_once('-').ok_or(FORM)?;
        let (from, to) = (from.parse().map_err(|_| FORM)?, to.parse().map_err(|_| FORM)?);
        if from <= to { Ok(Self { from, to }) } else { Err(FORM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends() {
        assert_eq!("7-9".parse(), Ok(Lost { from: 7, to: 9 }));
        for bad in ["7", "9-7", "7-", "-7", "a-b", "7-9-11"] {
            assert!(bad.parse::<Lost>().is_err(), "{bad}");
        }
    }
}
