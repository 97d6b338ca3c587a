//! What can go wrong below the log, told apart by what has to be done about it.

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room left; nothing was written.
    #[error("the disk of the database is full: free space, then try again")]
    Full,
    /// The database cannot be reached, or did not answer in time; nothing was written.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// A row contradicts one that is there (a key used twice, a check not met).
    #[error("contradicts what is stored: {0}")]
    Conflict(String),
    /// A column does not hold what was asked of it: a mistake of ours, or a row that was tampered
    /// with.
    #[error("a stored value has another shape: {0}")]
    Shape(String),
    /// The database does not keep what it is told, or is not the one that this program made.
    #[error("{0}")]
    Unfit(String),
    /// Anything else that the database said.
    #[error("the database failed: {message} (code {code})")]
    Failed {
        /// The database's own code: an SQLSTATE, or SQLite's number.
        code: String,
        /// Its message.
        message: String,
    },
}

impl StoreError {
    /// A failure that is not the database's own.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed { code: "none".into(), message: message.into() }
    }

    /// Whether the file or the disk below it can no longer be believed (SQLite's IOERR, CORRUPT,
    /// NOTADB; PostgreSQL's XX). Then what was committed is unknown until it is opened anew.
    pub(crate) fn is_doubtful(&self) -> bool {
        let Self::Failed { code, .. } = self else {
            return false;
        };
        match sqlite_primary(code) {
            Some(primary) => matches!(primary, 10 | 11 | 26),
            None => code.starts_with("XX"),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match error {
            sqlx::Error::Database(database) => {
                let message = database.message().to_owned();
                let code = database.code().unwrap_or_default().into_owned();
                match database.kind() {
                    ErrorKind::UniqueViolation
                    | ErrorKind::ForeignKeyViolation
                    | ErrorKind::NotNullViolation
                    | ErrorKind::CheckViolation => Self::Conflict(message),
                    _ => Self::of_code(code, message),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            other => Self::failed(other.to_string()),
        }
    }
}

impl StoreError {
    fn of_code(code: String, message: String) -> Self {
        match sqlite_primary(&code) {
            Some(13) => return Self::Full,
            Some(5 | 6) => return Self::Unavailable(message),
            Some(_) => return Self::Failed { code, message },
            None => {}
        }
        match code.as_str() {
            "53100" => Self::Full,
            // Connection, too many connections, shut down, crashed, cancelled, lock timeout.
            "53300" | "57P01" | "57P02" | "57P03" | "57014" | "55P03" | "25P03" => {
                Self::Unavailable(message)
            }
            _ if code.starts_with("08") => Self::Unavailable(message),
            _ => Self::Failed { code, message },
        }
    }
}

/// SQLite's codes are numbers of at most four digits whose low byte is the primary code;
/// PostgreSQL's are five characters, of which the first two are the class.
fn sqlite_primary(code: &str) -> Option<i64> {
    if code.len() == 5 {
        return None;
    }
    code.parse::<i64>().ok().map(|number| number & 0xff)
}
