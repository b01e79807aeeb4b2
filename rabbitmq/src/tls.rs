//! How we know the broker, and how it knows us.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::certificates::show_expiry;

/// Files in PEM that say whom we trust and who we are. They are read for each new connection, so renewed ones need no
/// restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that the broker's may come from, and of no others; without, those the machine trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate, followed by those between it and its authority, and its private key; without, we show none.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why there is no encrypted connection. The text begins with a code that stays the same and ends with what to do;
/// whoever is told tries again, with the files as they are then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    #[error("TLS_FILE_UNUSABLE: broker.tls.{key}: {reason}; put it right, the next attempt reads it again")]
    File { key: &'static str, reason: String },
    #[error(
        "BROKER_NOT_TRUSTED: the broker's certificate comes from none of the authorities of broker.tls.ca_file ({0}); add \
         its authority there, or give the broker the right certificate"
    )]
    NotTrusted(String),
    #[error(
        "BROKER_CERTIFICATE_EXPIRED: the broker's certificate has expired; renew it, see runbooks/CertificateExpiring.md"
    )]
    Expired,
    #[error(
        "BROKER_CERTIFICATE_NOT_YET_VALID: the broker's certificate begins later; compare the clocks of both machines"
    )]
    NotYetValid,
    #[error(
        "BROKER_NAME_DIFFERS: the broker's certificate is for another host ({0}); name the broker as its certificate does, or \
         have one made for this name"
    )]
    OtherHost(String),
    #[error(
        "CLIENT_CERTIFICATE_REFUSED: the broker does not accept broker.tls.certificate_file ({0}); renew it, or let the broker \
         trust its authority"
    )]
    Refused(String),
    #[error("TLS_FAILED: {0}; look whether the broker speaks TLS on this port")]
    Failed(String),
}

impl TlsFault {
    /// What is behind an error of a client, if TLS is what failed.
    pub(crate) fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut error = error;
        loop {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::from(tls));
            }
            // What an I/O error wraps is not its source: it speaks for it, source and all.
            error = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(wrapped) => wrapped,
                None => error.source()?,
            };
        }
    }

    fn file(key: &'static str, reason: impl ToString) -> Self {
        Self::File { key, reason: reason.to_string() }
    }
}

impl From<&rustls::Error> for TlsFault {
    fn from(error: &rustls::Error) -> Self {
        use CertificateError as Wrong;
        match error {
            rustls::Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. }) => Self::Expired,
            rustls::Error::InvalidCertificate(Wrong::NotValidYet | Wrong::NotValidYetContext { .. }) => {
                Self::NotYetValid
            }
            rustls::Error::InvalidCertificate(
                wrong @ (Wrong::NotValidForName | Wrong::NotValidForNameContext { .. }),
            ) => Self::OtherHost(wrong.to_string()),
            rustls::Error::InvalidCertificate(wrong) => Self::NotTrusted(wrong.to_string()),
            rustls::Error::AlertReceived(alert) if is_about_our_certificate(*alert) => {
                Self::Refused(format!("{alert:?}"))
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

const fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

/// What was in the files. Not for printing: it holds the private key.
#[derive(PartialEq, Eq)]
pub(crate) struct Credentials {
    ca: Option<Vec<CertificateDer<'static>>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl TlsFiles {
    /// Reads the files, and shows when what is in them expires.
    ///
    /// # Errors
    /// [`TlsFault::File`]
    pub(crate) async fn read(&self) -> Result<Credentials, TlsFault> {
        let ca = match &self.ca {
            Some(path) => Some(certificates("ca_file", path).await?),
            None => None,
        };
        let identity = match &self.identity {
            Some((certificate, key)) => {
                Some((certificates("certificate_file", certificate).await?, private_key("key_file", key).await?))
            }
            None => None,
        };
        show_expiry("ca", ca.as_deref());
        show_expiry("client", identity.as_ref().map(|(chain, _)| chain.as_slice()));
        Ok(Credentials { ca, identity })
    }
}

async fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let pem = contents(key, path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(TlsFault::file(key, format!("no certificate in {}", path.display())))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsFault::file(key, format!("{}: {error}", path.display()))),
    }
}

async fn private_key(key: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let pem = contents(key, path).await?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| TlsFault::file(key, format!("{}: {error}", path.display())))
}

async fn contents(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsFault> {
    tokio::fs::read(path).await.map_err(|error| TlsFault::file(key, format!("{}: {error}", path.display())))
}

impl Credentials {
    /// What a client connects with.
    ///
    /// # Errors
    /// [`TlsFault`] when what is in the files cannot be used, such as a key that belongs to another certificate.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, TlsFault> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFault::Failed(error.to_string()))?
            .with_root_certificates(self.trusted()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| TlsFault::file("key_file", format!("not usable with certificate_file: {error}")))?,
        };
        // A session that is taken up again would not show its certificate, and go on after that has expired.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn trusted(&self) -> Result<RootCertStore, TlsFault> {
        let mut trusted = RootCertStore::empty();
        match &self.ca {
            Some(authorities) => {
                for authority in authorities {
                    trusted.add(authority.clone()).map_err(|error| TlsFault::file("ca_file", error))?;
                }
            }
            // Some are ancient and cannot be read; whoever stands behind one of these is not trusted.
            None => {
                trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(trusted)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};
    use std::time::Duration;

    use lapin::ConnectionProperties;
    use rustls::server::{ServerConfig, ServerConnection, WebPkiClientVerifier};
    use uuid::Uuid;
    use vostro_testkit::{Authority, Issued};

    use super::*;
    use crate::line::Line;

    /// A folder for one test's files, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("vostro-tls-{}", Uuid::now_v7().simple())))
        }

        /// Trusts this authority, and has no certificate of its own.
        fn trusting(&self, authority: &Authority) -> TlsFiles {
            authority.write_to(&self.0);
            TlsFiles { ca: Some(self.0.join("ca.pem")), identity: None }
        }

        fn with_identity(&self, identity: &Issued) -> Option<(PathBuf, PathBuf)> {
            identity.write_to(&self.0);
            Some((self.0.join("certificate.pem"), self.0.join("key.pem")))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// The port of a server that shakes hands with one client, whose certificate has to come from `clients` if given,
    /// and says nothing more.
    fn serve(certificate: &Issued, clients: Option<&Authority>) -> u16 {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider can do them");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let pem = authority.certificate.as_bytes();
                roots.add(CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let config = Arc::new(builder.with_single_cert(chain, key).expect("a pair"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            let mut session = ServerConnection::new(config).expect("a session");
            while session.is_handshaking() && session.complete_io(&mut socket).is_ok() {}
            // What is unread when a socket closes takes the last words with it.
            let _ = socket.shutdown(Shutdown::Write);
            let _ = io::copy(&mut socket, &mut io::sink());
        });
        port
    }

    async fn refusal(port: u16, files: &TlsFiles) -> String {
        let uri = format!("amqps://u:p@localhost:{port}").parse().expect("an address");
        let connecting = Line::connect(uri, files, ConnectionProperties::default(), Duration::from_secs(30));
        connecting.await.expect_err("nobody speaks AMQP there")
    }

    #[tokio::test]
    async fn each_fault_of_the_brokers_certificate_has_a_code_of_its_own() {
        let (folder, ours, others) = (Folder::new(), Authority::new("ours", 300), Authority::new("others", 300));
        let files = folder.trusting(&ours);
        for (certificate, code) in [
            (others.issue("localhost", -1..20), "BROKER_NOT_TRUSTED: "),
            (ours.issue("localhost", -20..-1), "BROKER_CERTIFICATE_EXPIRED: "),
            (ours.issue("localhost", 1..20), "BROKER_CERTIFICATE_NOT_YET_VALID: "),
            (ours.issue("elsewhere", -1..20), "BROKER_NAME_DIFFERS: "),
        ] {
            let reason = refusal(serve(&certificate, None), &files).await;
            assert!(reason.starts_with(code), "{reason}");
        }
    }

    #[tokio::test]
    async fn a_broker_that_wants_a_certificate_gets_the_one_of_the_files_as_they_are_now() {
        let (folder, ours, others) = (Folder::new(), Authority::new("ours", 300), Authority::new("others", 300));
        let mut files = folder.trusting(&ours);
        let broker = ours.issue("localhost", -1..20);
        let reason = refusal(serve(&broker, Some(&ours)), &files).await;
        assert!(reason.starts_with("CLIENT_CERTIFICATE_REFUSED: "), "none: {reason}");
        files.identity = folder.with_identity(&others.issue("vostro", -1..20));
        let reason = refusal(serve(&broker, Some(&ours)), &files).await;
        assert!(reason.starts_with("CLIENT_CERTIFICATE_REFUSED: "), "of somebody else: {reason}");
        folder.with_identity(&ours.issue("vostro", -1..20));
        let reason = refusal(serve(&broker, Some(&ours)), &files).await;
        let is_fault = |code: &&str| reason.starts_with(code);
        assert!(
            !["TLS_", "BROKER_", "CLIENT_"].iter().any(is_fault),
            "the handshake is done, then nobody speaks: {reason}"
        );
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_named_until_it_can() {
        let (folder, ours) = (Folder::new(), Authority::new("ours", 300));
        let mut files = folder.trusting(&ours);
        let fault = async |files: &TlsFiles| match files.read().await {
            Ok(credentials) => credentials.client_config().err().map(|fault| fault.to_string()),
            Err(fault) => Some(fault.to_string()),
        };
        assert_eq!(fault(&files).await, None);
        files.identity = folder.with_identity(&ours.issue("vostro", -1..20));
        assert_eq!(fault(&files).await, None);
        for (file, contents, complaint) in [
            (
                "key.pem",
                ours.issue("another", -1..20).key.as_str(),
                "broker.tls.key_file: not usable with certificate_file",
            ),
            ("key.pem", "", "broker.tls.key_file: "),
            ("certificate.pem", "nonsense", "broker.tls.certificate_file: no certificate in "),
            ("ca.pem", "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", "broker.tls.ca_file: "),
        ] {
            let path = folder.0.join(file);
            let before = std::fs::read(&path).expect("written");
            std::fs::write(&path, contents).expect("writable");
            let told = fault(&files).await.expect("refused");
            assert!(told.starts_with(&format!("TLS_FILE_UNUSABLE: {complaint}")), "{told}");
            std::fs::write(&path, before).expect("writable");
            assert_eq!(fault(&files).await, None);
        }
        std::fs::remove_file(folder.0.join("ca.pem")).expect("there");
        let reason = refusal(1, &files).await;
        assert!(reason.starts_with("TLS_FILE_UNUSABLE: broker.tls.ca_file: ") && reason.contains("ca.pem"), "{reason}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_is_told_from_one_that_is_not_trusted() {
        let (folder, ours) = (Folder::new(), Authority::new("ours", 300));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            // What a broker answers to whatever is not AMQP: the protocol it speaks.
            let _ = io::Write::write_all(&mut socket, b"AMQP\0\0\x09\x01");
            let _ = socket.shutdown(Shutdown::Write);
            let _ = io::copy(&mut socket, &mut io::sink());
        });
        let reason = refusal(port, &folder.trusting(&ours)).await;
        assert!(reason.starts_with("TLS_FAILED: "), "{reason}");
    }
}
