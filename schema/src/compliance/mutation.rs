use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use vostro_compliance::{ComplianceError, ComplianceErrorCode as Code, EvidenceAttach, LARGEST_EVIDENCE};

use super::types::Evidence;
use super::{OFFICERS, facade, failure};
use crate::access::{Access, only};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::upload::Upload;

crate::user_errors! {
    /// Why a command of a compliance officer was refused.
    pub ComplianceUserError, ComplianceErrorCode {
        /// Your roles do not allow the command. The caller sees the top-level error `FORBIDDEN`, the audit log this.
        ///
        /// Have an administrator assign the role, or leave it to somebody who has it.
        CmpForbidden,
        /// No violation with this id.
        ///
        /// Take an id from `violations`.
        CmpViolationNotFound,
        /// The document's name is missing, longer than 200 characters, or a path.
        ///
        /// Give a file name of 1 to 200 characters, without a path.
        CmpEvidenceNameInvalid,
        /// The document is empty.
        ///
        /// Send the document's content.
        CmpEvidenceEmpty,
        /// The document is larger than 1 MiB.
        ///
        /// Send it in parts, or smaller.
        CmpEvidenceTooLarge,
        /// The document is neither PDF, PNG, JPEG nor plain text, or not what its media type says.
        ///
        /// Convert it, for example to PDF, and send it with its right media type.
        CmpEvidenceTypeNotAllowed,
    }
}

/// A document to keep with a violation.
#[derive(InputObject)]
pub struct ComplianceEvidenceAttachInput {
    violation_id: ID,
    /// PDF, PNG, JPEG or plain text, 1 MiB at most, with a file name.
    file: Upload,
}

/// The document as it is kept, or why it is not.
#[derive(SimpleObject)]
pub struct ComplianceEvidenceAttachPayload {
    evidence: Option<Evidence>,
    /// Whether the same document was kept with the violation before and nothing happened this time.
    replayed: bool,
    user_errors: Vec<ComplianceUserError>,
}

/// Commands of compliance officers.
pub struct Mutation;

#[Object(name = "Mutation")]
impl Mutation {
    /// Keeps a document with a violation. It is never changed or removed; the same document is kept once, so the
    /// command may be repeated. That it was attached is on record, its content stays here.
    #[graphql(directive = Access::apply(only(OFFICERS).recorded().cost(50).upload(1, LARGEST_EVIDENCE)))]
    async fn compliance_evidence_attach(
        &self,
        ctx: &Context<'_>,
        input: ComplianceEvidenceAttachInput,
    ) -> Result<Option<ComplianceEvidenceAttachPayload>> {
        let command = guards::command(ctx)?;
        // Whoever may not is told that, and is on record, whatever came with the request.
        facade(ctx)?.may_attach_evidence(&command).await.map_err(failure)?;
        let file = input.file.file(ctx)?;
        let attach = EvidenceAttach {
            violation_id: ids::decode(IdKind::Violation, &input.violation_id)?,
            file_name: file.name.clone(),
            media_type: file.media_type.clone(),
            content: file.content.clone(),
        };
        let (evidence, replayed, user_errors) = match facade(ctx)?.evidence_attach(&command, attach).await {
            Ok(attached) => (Some(Evidence(attached.evidence)), attached.replayed, Vec::new()),
            Err(ComplianceError::Refused(refusal)) if refusal.code != Code::Forbidden => {
                (None, false, vec![ComplianceUserError::of(refusal)?])
            }
            Err(error) => return Err(failure(error)),
        };
        Ok(Some(ComplianceEvidenceAttachPayload { evidence, replayed, user_errors }))
    }
}
