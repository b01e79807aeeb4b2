use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metrics::counter;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use vostro_events::DataRef;
use vostro_events::query::callee_of;
use vostro_events::query::claim::{ClaimAnswerV1, ClaimPartV1, ClaimV1};

use super::{CLAIMED_BYTES, sha256};
use crate::rpc::Asking;
use crate::{AfterCommit, Handler, HandlerError, Incoming, Manifest, limits, trace};

/// A handler that gets events whole: data that did not travel is asked of its owner first, before the transaction.
///
/// An owner that does not answer, or does not have the data, blocks the event: its key waits and is tried again. Data that
/// is not what the event says is permanent: its key is quarantined.
pub struct Redeeming {
    handler: Arc<dyn Handler>,
    asking: Asking,
    /// The types of claims the module may ask for.
    claims: Vec<&'static str>,
}

impl Redeeming {
    /// For one part.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// `manifest` is that of the handler's module; it says whose claims it asks for.
    pub fn new(handler: Arc<dyn Handler>, asking: Asking, manifest: &Manifest) -> Self {
        Self { handler, asking, claims: manifest.claims() }
    }

    async fn redeem(&self, event: &Incoming, reference: DataRef) -> Result<Incoming, HandlerError> {
        let owner = event.envelope.event_type.module();
        let Some(query) = self.claims.iter().copied().find(|query| callee_of(query) == owner) else {
            return Err(
                event.invalid(format!("its data stayed with {owner}, and the manifest asks for no claims of it"))
            );
        };
        let size = usize::try_from(reference.size).ok().filter(|size| *size <= CLAIMED_BYTES);
        let size = size.ok_or_else(|| event.invalid(format!("its data is too large: {reference}")))?;
        let data = self.fetch(event, query, reference, size).await?;
        let is_what_it_says = data.len() == size && sha256(&data) == reference.sha256;
        counter!("vostro_claims_redeemed_total", "query" => query, "outcome" => if is_what_it_says { "whole" } else { "changed" })
            .increment(1);
        if !is_what_it_says {
            return Err(event.invalid(format!("{owner} answers with other data than the event refers to: {reference}")));
        }
        limits::check_depth(&data).map_err(|error| event.invalid(error.to_string()))?;
        let data = String::from_utf8(data).map_err(|error| event.invalid(error.to_string()))?;
        let data = RawValue::from_string(data).map_err(|error| event.invalid(error.to_string()))?;
        let mut envelope = event.envelope.clone();
        envelope.dataref = None;
        Ok(Incoming { envelope, data })
    }

    /// Part after part, until there is as much as the event says, or nothing more.
    async fn fetch(
        &self,
        event: &Incoming,
        query: &'static str,
        reference: DataRef,
        size: usize,
    ) -> Result<Vec<u8>, HandlerError> {
        let mut data = Vec::new();
        loop {
            let question = ClaimV1 { digest: reference.hex(), offset: data.len() };
            let answer: ClaimAnswerV1 =
                self.asking.ask_for(query, &question, Self::PATIENCE).await.map_err(|error| {
                    event.blocked(format!(
                        "its data {reference} was asked for with {query}, and there is no answer: {error}"
                    ))
                })?;
            let Some(ClaimPartV1 { bytes }) = answer.part else {
                return Err(event.blocked(format!("its data {reference} is not with its owner")));
            };
            let part = STANDARD.decode(bytes).map_err(|error| event.invalid(format!("its data: {error}")))?;
            data.extend_from_slice(&part);
            if part.is_empty() || data.len() >= size {
                return Ok(data);
            }
        }
    }
}

#[async_trait]
impl Handler for Redeeming {
    async fn prepare<'a>(&self, batch: Cow<'a, [Incoming]>) -> Result<Cow<'a, [Incoming]>, HandlerError> {
        if batch.iter().all(|event| event.envelope.dataref.is_none()) {
            return self.handler.prepare(batch).await;
        }
        let mut whole = batch.into_owned();
        for event in &mut whole {
            if let Some(reference) = event.envelope.dataref {
                // What is asked belongs to the event it is asked for.
                let works_for = event.envelope.cause.traceparent.clone();
                *event = trace::within(works_for, self.redeem(event, reference)).await?;
            }
        }
        self.handler.prepare(Cow::Owned(whole)).await
    }

    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        self.handler.handle_in_tx(connection, batch).await
    }
}
