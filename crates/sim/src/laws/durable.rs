//! Law 1, the hard way: what was on disk is there after a crash.

use crate::check::{Check, ensure};
use trunkline_types::Sequence;

/// Checks that a crash took nothing that had been flushed.
pub(crate) fn survived(flushed: Sequence, survived: Sequence) -> Check {
    ensure!(
        survived >= flushed,
        "1 durable",
        "records up to {} were flushed, but only those up to {} are there after a crash",
        flushed.0,
        survived.0
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::survived;
    use trunkline_types::Sequence;

    #[test]
    fn what_was_flushed_survives() {
        assert_eq!(survived(Sequence(3), Sequence(4)), Ok(()));
        assert!(survived(Sequence(3), Sequence(2)).is_err());
    }
}
