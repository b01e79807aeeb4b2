use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// Who signs certificates for a test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub certificate: String,
    /// When that expires, in seconds since 1970.
    pub expiry: i64,
}

/// A certificate that an [`Authority`] has signed, and its private key, both in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
    /// In seconds since 1970.
    pub expiry: i64,
}

impl Authority {
    /// One whose own certificate holds for so many days.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn new(name: &str, days: i64) -> Self {
        let (mut params, expiry) = certificate(name, &(-1..days));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("what is to be signed is complete");
        let certificate = issuer.pem();
        Self { issuer, certificate, expiry }
    }

    /// A certificate for a host that holds from one day to the other, counted from today.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn issue(&self, host: &str, days: Range<i64>) -> Issued {
        let (params, expiry) = certificate(host, &days);
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("what is to be signed is complete");
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), expiry }
    }

    /// Writes `ca.pem`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write_to(&self, folder: &Path) {
        write(folder, "ca.pem", &self.certificate);
    }
}

impl Issued {
    /// Writes `certificate.pem` and `key.pem`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write_to(&self, folder: &Path) {
        write(folder, "certificate.pem", &self.certificate);
        write(folder, "key.pem", &self.key);
    }
}

fn certificate(name: &str, days: &Range<i64>) -> (CertificateParams, i64) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let (from, until) = (in_days(days.start), in_days(days.end));
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + from;
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + until;
    (params, i64::try_from(until.as_secs()).expect("this century"))
}

/// As a time since 1970, in whole seconds, as certificates have it.
fn in_days(days: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    Duration::from_secs(now.checked_add_signed(days * 24 * 60 * 60).expect("this century"))
}

fn key() -> KeyPair {
    KeyPair::generate().expect("there is randomness")
}

fn write(folder: &Path, name: &str, pem: &str) {
    fs::create_dir_all(folder).expect("the folder is writable");
    fs::write(folder.join(name), pem).expect("the folder is writable");
}
