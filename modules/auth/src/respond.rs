//! Questions of other modules, and the answers.

use std::sync::Arc;

use vostro_events::query::auth::{NameCheckAnswerV1, NameCheckResult, NameCheckV1};
use vostro_messaging::rpc::{RespondError, Responder, respond_to};

use crate::domain::{NameMatch, compare, masked};
use crate::facade::Inner;
use crate::store;

/// One for each question in the manifest.
pub(crate) fn responders(inner: &Arc<Inner>) -> Vec<Arc<dyn Responder>> {
    let inner = Arc::clone(inner);
    vec![respond_to(move |question: NameCheckV1| {
        let inner = Arc::clone(&inner);
        async move { name_check(&inner, question).await }
    })]
}

async fn name_check(
    inner: &Inner,
    NameCheckV1 { user_id, name }: NameCheckV1,
) -> Result<NameCheckAnswerV1, RespondError> {
    // Comparing costs the square of a word's length.
    if name.chars().nth(NameCheckV1::LONGEST_NAME).is_some() {
        return Err(RespondError::Refused(format!("a name has at most {} characters", NameCheckV1::LONGEST_NAME)));
    }
    let rows = store::users(&inner.foundation.pool, &[user_id]).await?;
    // Whoever does not exist has another name.
    let Some(row) = rows.first() else {
        return Ok(NameCheckAnswerV1 { result: NameCheckResult::NoMatch, suggestion: None });
    };
    let user = inner.open(row).map_err(|error| RespondError::Fault(Box::new(error)))?;
    Ok(match compare(&user.display_name, &name) {
        NameMatch::Same => NameCheckAnswerV1 { result: NameCheckResult::Match, suggestion: None },
        NameMatch::Close => {
            let suggestion = Some(masked(&user.display_name));
            NameCheckAnswerV1 { result: NameCheckResult::CloseMatch, suggestion }
        }
        NameMatch::Different => NameCheckAnswerV1 { result: NameCheckResult::NoMatch, suggestion: None },
    })
}
