//! Commands are turned away at the door while the module that would carry them out cannot pass on what it has accepted.
//!
//! An operation is let in as a whole or not at all, so that of two commands in one operation never one alone is done.

use std::time::Duration;

use vostro_messaging::AdmissionGate;

use super::api_schema::{ApiSchema, OperationKind};
use super::error::RequestError;
use super::plan::PlannedOperation;
use crate::faults::FaultCode;

/// The gates of the modules. Modules without one are always open.
#[derive(Default)]
pub struct Admission {
    gated: Vec<Gated>,
}

struct Gated {
    module: &'static str,
    gate: AdmissionGate,
    /// Mutations that are let in all the same.
    always: &'static [&'static str],
}

impl Admission {
    pub fn gate(&mut self, module: &'static str, gate: AdmissionGate, always: &'static [&'static str]) {
        self.gated.push(Gated { module, gate, always });
    }

    /// A mutation that is let in always and is none of its module's: it was renamed, and would now be turned away.
    pub fn unknown(&self, schema: &ApiSchema) -> Option<(&'static str, &'static str)> {
        let named = self.gated.iter().flat_map(|gated| gated.always.iter().map(|mutation| (gated.module, *mutation)));
        let root = schema.root(OperationKind::Mutation);
        let is_there = |module: &str, mutation: &str| {
            root.is_some_and(|root| schema.facts(root, mutation).owners.iter().any(|owner| owner == module))
        };
        named.into_iter().find(|(module, mutation)| !is_there(module, mutation))
    }

    /// # Errors
    /// `OVERLOADED`, with the time after which to repeat the operation, when one of its commands is not let in.
    pub fn check(&self, planned: &PlannedOperation, schema: &ApiSchema) -> Result<(), RequestError> {
        if planned.kind != OperationKind::Mutation {
            return Ok(());
        }
        let Some(root) = schema.root(OperationKind::Mutation) else { return Ok(()) };
        for Gated { module, gate, always } in &self.gated {
            let Some(wait) = gate.refuses() else { continue };
            let concerns = |field: &String| {
                !always.contains(&field.as_str())
                    && schema.facts(root, field).owners.iter().any(|owner| owner == module)
            };
            if planned.root_fields.iter().any(concerns) {
                AdmissionGate::count_refusal(module);
                return Err(overloaded(wait));
            }
        }
        Ok(())
    }
}

pub fn overloaded(wait: Duration) -> RequestError {
    let message = "The bank takes no such commands just now; nothing was begun. Repeat the operation a little later.";
    RequestError::new(FaultCode::Overloaded, message).retry_after(wait)
}
