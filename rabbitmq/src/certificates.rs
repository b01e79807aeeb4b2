//! When certificates expire, for whoever has to renew them in time.

use std::time::Duration;

use lapin::ConnectionProperties;
use metrics::gauge;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use x509_parser::parse_x509_certificate;

use crate::Endpoint;
use crate::endpoint::host_and_port;
use crate::line::Line;
use crate::session::OPERATION;

/// A point in time, in seconds since 1970, so that nothing has to be renewed for the time that is left to be right.
const EXPIRY: &str = "vostro_certificate_expiry_timestamp_seconds";

/// Shows when the first of our own certificates expires: `ca` or `client`.
pub(crate) fn show_expiry(certificate: &'static str, chain: Option<&[CertificateDer<'_>]>) {
    if let Some(expiry) = chain.and_then(first_expiry) {
        gauge!(EXPIRY, "certificate" => certificate).set(expiry as f64);
    }
}

/// Shows when the first of the certificates expires that a node of the broker has presented.
pub(crate) fn show_presented(node: String, chain: Option<&[CertificateDer<'_>]>) {
    if let Some(expiry) = chain.and_then(first_expiry) {
        gauge!(EXPIRY, "certificate" => "broker", "node" => node).set(expiry as f64);
    }
}

/// In seconds since 1970.
fn first_expiry(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let expiry = |certificate: &CertificateDer<'_>| {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    };
    chain.iter().filter_map(expiry).min()
}

/// Looks every hour at our certificates and at what each node of the broker presents to a new connection, because the
/// bank's own connections last for months and know what was presented to them alone. Returns at once where nothing is
/// encrypted.
pub async fn watch_certificates(endpoint: Endpoint, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(60 * 60);
    while endpoint.is_encrypted() {
        let looking = async {
            for number in 0..endpoint.nodes() {
                look(&endpoint, number).await;
            }
            tokio::time::sleep(EVERY).await;
        };
        tokio::select! {
            () = looking => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Connecting shows what there is to see.
async fn look(endpoint: &Endpoint, number: usize) {
    let node = endpoint.node(number);
    let address = host_and_port(&node);
    let properties = ConnectionProperties::default().with_connection_name("vostro certificates".into());
    match Line::connect(node, endpoint.tls(), properties, OPERATION).await {
        Ok((connection, line)) => {
            let _ = tokio::time::timeout(OPERATION, connection.close(200, "bye".into())).await;
            line.cut();
        }
        Err(reason) => debug!(address, reason, "its certificate cannot be looked at"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;
    use vostro_testkit::Authority;

    use super::*;

    #[test]
    fn of_several_certificates_the_one_counts_that_expires_first() {
        let authority = Authority::new("ours", 300);
        let (sooner, later) = (authority.issue("localhost", -1..20), authority.issue("localhost", -1..30));
        let pem = [later.certificate.as_str(), &sooner.certificate, &authority.certificate].concat();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|each| each.expect("PEM")).collect();
        assert_eq!(chain.len(), 3);
        assert_eq!(first_expiry(&chain), Some(sooner.expiry));
        assert_eq!(first_expiry(&chain[2..]), Some(authority.expiry));
        assert_eq!(first_expiry(&[]), None);
    }
}
