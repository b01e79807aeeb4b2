use vostro_kernel::{Refusal, RefusalCode};
use vostro_messaging::may_pass;

/// The closed list of reasons for which compliance refuses to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComplianceErrorCode {
    /// The caller is neither a compliance officer nor an administrator.
    Forbidden,
    /// No violation with this id.
    ViolationNotFound,
    /// The document's name is missing, too long, or a path.
    EvidenceNameInvalid,
    /// There is nothing in the document.
    EvidenceEmpty,
    /// The document is too large.
    EvidenceTooLarge,
    /// The document is of a kind that is not kept, or not what it says it is.
    EvidenceTypeNotAllowed,
}

impl ComplianceErrorCode {
    /// Every code, for tests and documentation.
    pub const ALL: [Self; 6] = [
        Self::Forbidden,
        Self::ViolationNotFound,
        Self::EvidenceNameInvalid,
        Self::EvidenceEmpty,
        Self::EvidenceTooLarge,
        Self::EvidenceTypeNotAllowed,
    ];
}

impl RefusalCode for ComplianceErrorCode {
    fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "CMP_FORBIDDEN",
            Self::ViolationNotFound => "CMP_VIOLATION_NOT_FOUND",
            Self::EvidenceNameInvalid => "CMP_EVIDENCE_NAME_INVALID",
            Self::EvidenceEmpty => "CMP_EVIDENCE_EMPTY",
            Self::EvidenceTooLarge => "CMP_EVIDENCE_TOO_LARGE",
            Self::EvidenceTypeNotAllowed => "CMP_EVIDENCE_TYPE_NOT_ALLOWED",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Forbidden => "Your roles do not allow this; it is for compliance officers.",
            Self::ViolationNotFound => "There is no violation with this id.",
            Self::EvidenceNameInvalid => "A document has a file name of 1 to 200 characters, without a path.",
            Self::EvidenceEmpty => "The document is empty.",
            Self::EvidenceTooLarge => "A document has 1 MiB at most.",
            Self::EvidenceTypeNotAllowed => {
                "A document is a PDF, a PNG or JPEG picture, or plain text, and what its media type says."
            }
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
