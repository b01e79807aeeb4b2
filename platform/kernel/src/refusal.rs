use std::fmt;

/// One code of a module's closed list of refusals.
///
/// A refusal is an answer, not a fault: the caller did something the rules do not allow, nothing was changed, and the
/// code tells what to do about it.
pub trait RefusalCode: Copy + fmt::Debug + Send + Sync + 'static {
    /// The stable name clients and the audit log see, such as `ACC_FROZEN`.
    fn code(self) -> &'static str;
    /// What happened and what the caller can do, in one plain sentence without internal detail.
    fn message(self) -> &'static str;
}

/// A command was understood and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<C> {
    pub code: C,
    /// The plain sentence, more specific than the code's own where that helps the caller.
    pub message: String,
    /// Path of the offending input field, outermost first; empty when no single field is to blame.
    pub field: Vec<&'static str>,
}

impl<C: RefusalCode> Refusal<C> {
    pub fn new(code: C) -> Self {
        Self { code, message: code.message().to_owned(), field: Vec::new() }
    }

    /// Names the input field to blame.
    pub fn at(mut self, field: &[&'static str]) -> Self {
        self.field = field.to_vec();
        self
    }

    /// Replaces the general sentence by a more specific one.
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

impl<C: RefusalCode> fmt::Display for Refusal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.code(), self.message)
    }
}

impl<C: RefusalCode> std::error::Error for Refusal<C> {}

impl<C: RefusalCode> From<C> for Refusal<C> {
    fn from(code: C) -> Self {
        Self::new(code)
    }
}
