//! Questions of other modules, and the answers.

use std::sync::Arc;

use vostro_events::query::account::{CLAIM, PostingDecisionV1, PostingDecisionsAnswerV1, PostingDecisionsV1};
use vostro_messaging::claim::ClaimDesk;
use vostro_messaging::rpc::{RespondError, Responder, respond_to};

use crate::facade::Inner;
use crate::store::decisions;

/// One for each question in the manifest.
pub(crate) fn responders(inner: &Arc<Inner>) -> Vec<Arc<dyn Responder>> {
    let claims = ClaimDesk::new(CLAIM, inner.foundation.pool.clone());
    let inner = Arc::clone(inner);
    vec![
        respond_to(move |question: PostingDecisionsV1| {
            let inner = Arc::clone(&inner);
            async move { posting_decisions(&inner, question).await }
        }),
        Arc::new(claims),
    ]
}

/// What is committed and therefore final. Everything else may still go either way.
async fn posting_decisions(
    inner: &Inner,
    PostingDecisionsV1 { transaction_ids }: PostingDecisionsV1,
) -> Result<PostingDecisionsAnswerV1, RespondError> {
    if transaction_ids.len() > PostingDecisionsV1::LIMIT {
        return Err(RespondError::Refused(format!("at most {} transactions", PostingDecisionsV1::LIMIT)));
    }
    let decided = decisions::of(&inner.foundation.pool, &transaction_ids).await?.into_iter();
    let decided = decided.map(|decided| PostingDecisionV1 {
        transaction_id: decided.transaction_id,
        decided_at: decided.decided_at,
        refusal_code: decided.refusal_code,
    });
    Ok(PostingDecisionsAnswerV1 { decided: decided.collect() })
}
