use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::PgPool;
use vostro_events::DataRef;
use vostro_events::query::claim::{ClaimAnswerV1, ClaimPartV1, ClaimV1};

use super::store;
use crate::rpc::{RespondError, Responder};

/// Hands out a module's claims, in parts. Whoever knows a digest may have what is behind it: the digest comes with the
/// event.
pub struct ClaimDesk {
    query: &'static str,
    pool: PgPool,
}

impl ClaimDesk {
    /// Bytes of data in a part: a message of it stays far below what the broker takes.
    const PART: i32 = 512 * 1024;

    /// `query` is the type of the questions, `<module>.claim.v1`.
    pub fn new(query: &'static str, pool: PgPool) -> Self {
        Self { query, pool }
    }
}

#[async_trait]
impl Responder for ClaimDesk {
    fn query(&self) -> &'static str {
        self.query
    }

    async fn respond(&self, body: &[u8]) -> Result<Vec<u8>, RespondError> {
        let ClaimV1 { digest, offset } =
            serde_json::from_slice(body).map_err(|error| RespondError::Refused(error.to_string()))?;
        let digest = DataRef::digest_of(&digest).ok_or_else(|| RespondError::Refused("no digest".to_owned()))?;
        let offset = i32::try_from(offset).map_err(|_| RespondError::Refused("no such offset".to_owned()))?;
        let part = store::part(&self.pool, &digest, offset, Self::PART).await?;
        let answer = ClaimAnswerV1 { part: part.map(|bytes| ClaimPartV1 { bytes: STANDARD.encode(bytes) }) };
        serde_json::to_vec(&answer).map_err(|error| RespondError::Fault(Box::new(error)))
    }
}
