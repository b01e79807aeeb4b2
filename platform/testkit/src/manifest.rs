use std::time::Duration;

use vostro_messaging::Manifest;

/// Of a module that tells nobody anything, hears nothing, asks nothing and answers nothing: each test says what its own
/// modules do.
pub fn manifest(module: &'static str) -> Manifest {
    Manifest {
        module,
        version: "1",
        purpose: "For tests.",
        publishes: &[],
        claimed: &[],
        subscribes: vec![],
        calls: &[],
        serves: &[],
        depends_on: &[],
        publish_linger: Duration::ZERO,
    }
}
