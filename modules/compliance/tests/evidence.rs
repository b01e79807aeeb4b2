//! Documents are kept with violations as they came, once each, and for good.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Bank, completed, noon, officer, with_roles};
use uuid::Uuid;
use vostro_compliance::{Attached, ComplianceError, ComplianceErrorCode as Code, EvidenceAttach};
use vostro_events::command::CommandRefusedV1;
use vostro_events::compliance::ComplianceEvidenceAttachedV1;
use vostro_kernel::{Page, Role};

const LETTER: &[u8] = b"%PDF-1.7 a letter";

/// A bank that has found something.
async fn suspicious() -> (Bank, Uuid) {
    let bank = Bank::open().await;
    bank.store(&[completed(2, 1_000_000, noon())]).await;
    let found = bank.compliance.violations(&officer(), Page::forward(None, 1)).await.unwrap();
    bank.database.take_published("compliance.violation-detected.v1").await;
    (bank, found[0].violation_id)
}

fn letter(violation_id: Uuid) -> EvidenceAttach {
    let file_name = "letter.pdf".to_owned();
    EvidenceAttach { violation_id, file_name, media_type: None, content: LETTER.to_vec() }
}

async fn attach(bank: &Bank, violation: Uuid) -> Attached {
    bank.compliance.evidence_attach(&officer(), letter(violation)).await.unwrap()
}

const fn all() -> Page<i64> {
    Page::forward(None, 100)
}

fn code(error: &ComplianceError) -> Option<Code> {
    error.refusal().map(|refusal| refusal.code)
}

#[tokio::test]
async fn a_document_is_told_by_its_hash_and_by_who_attached_it() {
    let (bank, violation) = suspicious().await;
    let officer = officer();
    let kept = bank.compliance.evidence_attach(&officer, letter(violation)).await.unwrap().evidence;
    assert_eq!((kept.attached_by, kept.violation_id), (officer.actor.id.unwrap(), violation));
    let told = bank.database.outbox_events().await;
    let (envelope, data) = &told[0];
    assert_eq!((told.len(), envelope.event_type.as_str()), (1, ComplianceEvidenceAttachedV1::TYPE));
    assert_eq!((envelope.aggregate_id, envelope.cause.actor_id), (kept.evidence_id, officer.actor.id));
    assert_eq!(envelope.cause.command.as_deref(), Some("complianceEvidenceAttach"));
    let event: ComplianceEvidenceAttachedV1 = serde_json::from_value(data.clone()).unwrap();
    // As sha256sum prints it.
    assert_eq!(event.sha256, "0e0daae501dae7bbcdd9381c4faec3b23f2b2b4bb7d25b9b794fe96e56262651");
    assert_eq!((event.media_type.as_str(), event.size), ("application/pdf", 17));
    assert!(!data.to_string().contains("letter"), "neither content nor name: {data}");
}

#[tokio::test]
async fn the_same_document_attached_by_many_at_once_is_kept_and_told_once() {
    let (bank, violation) = suspicious().await;
    let attached = futures::future::join_all((0..8).map(|_| attach(&bank, violation))).await;
    assert_eq!(attached.iter().filter(|attached| !attached.replayed).count(), 1);
    assert!(attached.iter().all(|each| each.evidence == attached[0].evidence));
    assert_eq!(bank.database.take_published(ComplianceEvidenceAttachedV1::TYPE).await.len(), 1);
    assert_eq!(bank.compliance.evidence(&officer(), violation, all()).await.unwrap(), [attached[0].evidence.clone()]);
}

#[tokio::test]
async fn what_is_refused_is_on_record_with_what_it_was_about() {
    let (bank, violation) = suspicious().await;
    let teller = with_roles(&[Role::Operator]);
    let refused = bank.compliance.evidence_attach(&teller, letter(violation)).await.unwrap_err();
    assert_eq!(code(&refused), Some(Code::Forbidden));
    let unknown = Uuid::now_v7();
    let refused = bank.compliance.evidence_attach(&officer(), letter(unknown)).await.unwrap_err();
    assert_eq!(code(&refused), Some(Code::ViolationNotFound));
    let program = EvidenceAttach { content: b"MZ\x90\0".to_vec(), ..letter(violation) };
    let refused = bank.compliance.evidence_attach(&officer(), program).await.unwrap_err();
    assert_eq!(code(&refused), Some(Code::EvidenceTypeNotAllowed));
    let told = bank.database.take_published(CommandRefusedV1::TYPES[4]).await;
    let told: Vec<(&str, Option<Uuid>)> = told
        .iter()
        .map(|event| (event["code"].as_str().unwrap(), event["subjectId"].as_str().map(|id| id.parse().unwrap())))
        .collect();
    assert_eq!(
        told,
        [
            ("CMP_FORBIDDEN", None),
            ("CMP_VIOLATION_NOT_FOUND", Some(unknown)),
            ("CMP_EVIDENCE_TYPE_NOT_ALLOWED", Some(violation))
        ]
    );
    assert_eq!(bank.database.count("select count(*) from compliance.evidence").await, 0);
}

#[tokio::test]
async fn nobody_but_officers_reads_a_document() {
    let (bank, violation) = suspicious().await;
    let id = attach(&bank, violation).await.evidence.evidence_id;
    assert_eq!(bank.compliance.evidence_content(&officer(), id).await.unwrap().as_deref(), Some(LETTER));
    assert_eq!(bank.compliance.evidence_content(&officer(), Uuid::now_v7()).await.unwrap(), None);
    for roles in [&[Role::Customer][..], &[Role::Operator]] {
        let refused = bank.compliance.evidence_content(&with_roles(roles), id).await.unwrap_err();
        assert_eq!(code(&refused), Some(Code::Forbidden));
        let refused = bank.compliance.evidence(&with_roles(roles), violation, all()).await.unwrap_err();
        assert_eq!(code(&refused), Some(Code::Forbidden));
    }
}

#[tokio::test]
async fn the_database_itself_refuses_a_hash_that_is_not_the_contents() {
    let (bank, violation) = suspicious().await;
    attach(&bank, violation).await;
    let forged = "insert into compliance.evidence
        select gen_random_uuid(), violation_id, file_name, media_type, sha256('other'), content, attached_by, attached_at
        from compliance.evidence";
    let refused = sqlx::query(forged).execute(bank.database.pool()).await.unwrap_err().to_string();
    assert!(refused.contains("hash_of_content"), "{refused}");
}

#[tokio::test]
async fn a_document_that_was_changed_all_the_same_is_not_handed_out() {
    let (bank, violation) = suspicious().await;
    let id = attach(&bank, violation).await.evidence.evidence_id;
    bank.tamper(
        "alter table compliance.evidence drop constraint hash_of_content;
         update compliance.evidence set content = 'another'",
    )
    .await;
    let error = bank.compliance.evidence_content(&officer(), id).await.unwrap_err();
    assert!(matches!(error, ComplianceError::Database(_)), "{error:?}");
}
