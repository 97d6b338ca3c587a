//! Mandatory training: unknown means lapsed.

use crate::{id::OperatorId, limits::CERT_VALIDITY_SECONDS};
use audit_schema::{event::TrainingState, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Proof that an operator completed a course.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Whose.
    pub operator: OperatorId,
    /// The course's id.
    pub course: String,
    /// When it was completed.
    pub completed_at: Timestamp,
    /// Until when it counts.
    pub valid_until: Timestamp,
}

/// The state of an operator's mandatory training at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training {
    /// Every required course, in the order of the list, with the end of its best record.
    pub states: Vec<TrainingState>,
    /// The first moment at which one of them lapses; absent where nothing is required.
    pub until: Option<Timestamp>,
    /// Courses that do not reach beyond the end of a certificate issued now.
    pub lapsed: Vec<String>,
}

/// What the records say about the required courses. A record counts once it is completed, and must
/// outlive a certificate that would be issued now; a course without a record has lapsed.
pub fn state(
    operator: &OperatorId,
    records: &[TrainingRecord],
    required: &[String],
    now: Timestamp,
) -> Training {
    let certificate_end = now.plus_seconds(CERT_VALIDITY_SECONDS);
    let mut training = Training { states: Vec::new(), until: None, lapsed: Vec::new() };
    for course in required {
        let counts = |r: &&TrainingRecord| {
            r.operator == *operator && r.course == *course && r.completed_at <= now
        };
        let best = records.iter().filter(counts).map(|record| record.valid_until).max();
        training.states.push(TrainingState {
            course: course.clone(),
            valid_until: best.map(|until| until.to_string()),
        });
        if best.is_none_or(|until| until <= certificate_end) {
            training.lapsed.push(course.clone());
        }
        training.until = match (training.until, best) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    training
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    fn record(course: &str, completed: i64, until: i64) -> TrainingRecord {
        TrainingRecord {
            operator: "op-1".parse().unwrap(),
            course: course.into(),
            completed_at: at(completed),
            valid_until: at(until),
        }
    }

    #[test]
    fn only_a_record_that_outlives_the_certificate_counts() {
        let required = ["data".to_owned()];
        let table: &[(&str, Vec<TrainingRecord>, bool)] = &[
            ("no record", vec![], true),
            ("another course", vec![record("other", -10, 9000)], true),
            ("completed in the future", vec![record("data", 1, 9000)], true),
            ("over", vec![record("data", -10, -1)], true),
            ("ends with the certificate", vec![record("data", -10, 300)], true),
            ("ends after the certificate", vec![record("data", -10, 301)], false),
            ("completed this moment", vec![record("data", 0, 9000)], false),
            (
                "a good one among old ones",
                vec![record("data", -9, 1), record("data", -8, 999)],
                false,
            ),
        ];
        for (name, records, lapsed) in table {
            let training = state(&"op-1".parse().unwrap(), records, &required, at(0));
            assert_eq!(!training.lapsed.is_empty(), *lapsed, "{name}");
        }
    }

    #[test]
    fn another_operators_record_does_not_count() {
        let records = [record("data", -10, 9000)];
        let training = state(&"op-2".parse().unwrap(), &records, &["data".to_owned()], at(0));
        assert_eq!(training.lapsed, ["data"]);
    }

    #[test]
    fn the_earliest_end_bounds_the_channel() {
        let records = [record("a", -10, 9000), record("b", -10, 800)];
        let required = ["a".to_owned(), "b".to_owned()];
        let training = state(&"op-1".parse().unwrap(), &records, &required, at(0));
        assert_eq!(training.until, Some(at(800)));
    }
}
