//! From what was found to what is told.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::command::CommandRefusedV1;
use vostro_events::compliance::{ComplianceEvidenceAttachedV1, ComplianceViolationDetectedV1, Severity};
use vostro_events::{Cause, Envelope};
use vostro_kernel::{RefusalCode, RequestContext};
use vostro_messaging::NewEvent;

use crate::error::ComplianceErrorCode;
use crate::manifest::MODULE;
use crate::store::evidence::Evidence;
use crate::store::violations::Violation;

/// A violation; `trigger` is the event the rule looked at.
pub fn violation_detected(id: Uuid, violation: &Violation, severity: Severity, trigger: &Envelope) -> NewEvent {
    let event = ComplianceViolationDetectedV1 {
        violation_id: violation.violation_id,
        rule_id: violation.rule_id.clone(),
        rule_version: violation.rule_version,
        severity,
        subject_id: violation.subject_id,
        transaction_ids: violation.transaction_ids.clone(),
        score: violation.score,
        threshold: violation.threshold,
        explanation: violation.explanation.clone(),
    };
    NewEvent::new(id, violation.detected_at, 1, Cause::event(trigger), &event)
}

/// A document is kept with a violation; neither its content nor its name travels.
pub fn evidence_attached(id: Uuid, evidence: &Evidence, context: &RequestContext, command: &'static str) -> NewEvent {
    let event = ComplianceEvidenceAttachedV1 {
        evidence_id: evidence.evidence_id,
        violation_id: evidence.violation_id,
        media_type: evidence.media_type.clone(),
        size: evidence.size,
        sha256: evidence.sha256_hex(),
    };
    NewEvent::new(id, evidence.attached_at, 1, Cause::command(context, command), &event)
}

/// Somebody asked for what is not theirs to see, or gave a command that was refused; `subject_id` is what that was about.
pub fn refused(
    id: Uuid,
    now: DateTime<Utc>,
    context: &RequestContext,
    command: &'static str,
    code: ComplianceErrorCode,
    subject_id: Option<Uuid>,
) -> NewEvent {
    let event = CommandRefusedV1 {
        module: MODULE.to_owned(),
        command_id: context.command_id,
        command: command.to_owned(),
        code: code.code().to_owned(),
        subject_id,
    };
    NewEvent::new(id, now, 1, Cause::command(context, command), &event)
}
