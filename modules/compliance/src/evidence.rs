//! Keeping documents with violations.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vostro_kernel::{Page, Refusal, RequestContext};
use vostro_messaging::Foundation;

use crate::domain::{Unfit, examine};
use crate::error::{ComplianceError, ComplianceErrorCode as Code};
use crate::facade::Compliance;
use crate::following::News;
use crate::publish;
use crate::store::evidence::{self, Evidence};

/// A document to keep with a violation.
#[derive(Debug, Clone)]
pub struct EvidenceAttach {
    pub violation_id: Uuid,
    pub file_name: String,
    /// What its sender says it is.
    pub media_type: Option<String>,
    pub content: Vec<u8>,
}

/// A document that is kept, and whether it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub evidence: Evidence,
    pub replayed: bool,
}

const ATTACH: &str = "complianceEvidenceAttach";

impl Compliance {
    /// Whether the caller may keep documents with violations.
    ///
    /// # Errors
    /// `CMP_FORBIDDEN` for everybody but compliance officers and administrators, which is on record; database faults.
    pub async fn may_attach_evidence(&self, context: &RequestContext) -> Result<(), ComplianceError> {
        self.authorise(context, ATTACH).await
    }

    /// Keeps a document with a violation. The same document is kept once, so the command may be repeated.
    ///
    /// # Errors
    /// `CMP_FORBIDDEN`, `CMP_VIOLATION_NOT_FOUND`, `CMP_EVIDENCE_…`, each on record; database faults.
    pub async fn evidence_attach(
        &self,
        context: &RequestContext,
        attach: EvidenceAttach,
    ) -> Result<Attached, ComplianceError> {
        self.may_attach_evidence(context).await?;
        let violation = attach.violation_id;
        let outcome = self.attach(context, attach).await;
        if let Err(ComplianceError::Refused(refusal)) = &outcome {
            self.record_refusal(context, ATTACH, refusal.code, Some(violation)).await?;
        }
        outcome
    }

    async fn attach(&self, context: &RequestContext, attach: EvidenceAttach) -> Result<Attached, ComplianceError> {
        let EvidenceAttach { violation_id, file_name, media_type, content } = attach;
        let attached_by = context.actor.id.ok_or(Code::Forbidden)?;
        let media_type = examine(&file_name, media_type.as_deref(), &content).map_err(refusal)?;
        let Foundation { pool, outbox, clock, ids, .. } = self.foundation();
        let mut new = Evidence {
            evidence_id: ids.next(),
            violation_id,
            file_name,
            media_type: media_type.as_str().to_owned(),
            sha256: Sha256::digest(&content).to_vec(),
            size: i32::try_from(content.len()).map_err(|_| Code::EvidenceTooLarge)?,
            attached_by,
            attached_at: clock.now(),
            // Given when it is stored.
            position: 0,
            sequence: 0,
        };
        let mut transaction = vostro_messaging::begin(pool).await?;
        if !evidence::insert_in_tx(&mut transaction, &mut new, &content).await? {
            let kept = evidence::same_in_tx(&mut transaction, violation_id, &new.sha256).await?;
            let evidence = kept.ok_or_else(|| Refusal::new(Code::ViolationNotFound).at(&["input", "violationId"]))?;
            return Ok(Attached { evidence, replayed: true });
        }
        let told = publish::evidence_attached(ids.next(), &new, context, ATTACH);
        outbox.append_in_tx(&mut transaction, vec![told]).await?;
        transaction.commit().await?;
        outbox.committed();
        self.findings().tell(&(), News::Attached(new.position));
        Ok(Attached { evidence: new, replayed: false })
    }

    /// The documents that are kept with a violation, in the order they came; none when there is no such violation. The key
    /// of a page is the document's sequence.
    ///
    /// # Errors
    /// `CMP_FORBIDDEN` for everybody but compliance officers and administrators; database faults.
    pub async fn evidence(
        &self,
        context: &RequestContext,
        violation_id: Uuid,
        page: Page<i64>,
    ) -> Result<Vec<Evidence>, ComplianceError> {
        self.authorise(context, "violationEvidence").await?;
        Ok(evidence::page(&self.foundation().pool, violation_id, page).await?)
    }

    /// The documents with these ids, in no order that means anything.
    ///
    /// # Errors
    /// `CMP_FORBIDDEN` for everybody but compliance officers and administrators, who are not told which of them there are;
    /// database faults.
    pub async fn evidence_by_id(
        &self,
        context: &RequestContext,
        ids: &[Uuid],
    ) -> Result<Vec<Evidence>, ComplianceError> {
        self.authorise_by_id(context, ids).await?;
        Ok(evidence::by_ids(&self.foundation().pool, ids).await?)
    }

    /// The content of a document, as it was attached.
    ///
    /// # Errors
    /// `CMP_FORBIDDEN` for everybody but compliance officers and administrators; database faults, a content that is not
    /// what was attached among them.
    pub async fn evidence_content(
        &self,
        context: &RequestContext,
        evidence_id: Uuid,
    ) -> Result<Option<Vec<u8>>, ComplianceError> {
        self.authorise(context, "evidenceContent").await?;
        let Some((content, sha256)) = evidence::content(&self.foundation().pool, evidence_id).await? else {
            return Ok(None);
        };
        if Sha256::digest(&content).as_slice() != sha256 {
            return Err(sqlx::Error::Decode("a stored document is not what was attached".into()).into());
        }
        Ok(Some(content))
    }
}

fn refusal(unfit: Unfit) -> ComplianceError {
    let code = match unfit {
        Unfit::Name => Code::EvidenceNameInvalid,
        Unfit::Empty => Code::EvidenceEmpty,
        Unfit::TooLarge => Code::EvidenceTooLarge,
        Unfit::MediaType => Code::EvidenceTypeNotAllowed,
    };
    Refusal::new(code).at(&["input", "file"]).into()
}
