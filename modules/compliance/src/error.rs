use vostro_kernel::{Refusal, RefusalCode};
use vostro_messaging::may_pass;

/// The closed list of reasons for which compliance refuses to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComplianceErrorCode {
    /// The caller is neither a compliance officer nor an administrator.
    Forbidden,
}

impl ComplianceErrorCode {
    /// Every code, for tests and documentation.
    pub const ALL: [Self; 1] = [Self::Forbidden];
}

impl RefusalCode for ComplianceErrorCode {
    fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "CMP_FORBIDDEN",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Forbidden => "Your roles do not allow this; it is for compliance officers.",
        }
    }
}

/// Why a use case has no result.
#[derive(Debug, thiserror::Error)]
pub enum ComplianceError {
    /// An answer: the rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal<ComplianceErrorCode>),
    /// The database did not do its part.
    #[error("database")]
    Database(#[from] sqlx::Error),
}

impl ComplianceError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal<ComplianceErrorCode>> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Database(_) => None,
        }
    }

    /// Whether the same call may well succeed a little later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(error) if may_pass(error))
    }
}

impl From<ComplianceErrorCode> for ComplianceError {
    fn from(code: ComplianceErrorCode) -> Self {
        Self::Refused(code.into())
    }
}
