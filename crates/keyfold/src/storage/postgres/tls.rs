//! TLS to PostgreSQL as libpq's `sslmode` means it.
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::storage::StorageError;

/// `sslmode` does not have this word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownSslMode;

/// What an address asks of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SslMode {
    word: Word,
    /// `sslrootcert`: certificates that count instead of the system's roots.
    roots: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Disable,
    Prefer,
    Require,
    /// The certificate comes from somebody trusted, whatever name it has: some hosts give it none that fits.
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    /// Takes `sslmode` and `sslrootcert` out of an address: the driver knows only some of their values.
    pub(super) fn take_from(address: &str) -> Result<(String, Self), UnknownSslMode> {
        let mut mode = Self { word: Word::Prefer, roots: None };
        let Some((base, query)) = address.split_once('?') else { return Ok((address.to_owned(), mode)) };
        let (mut rest, mut system) = (vec![], false);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", word)) => {
                    mode.word = match word {
                        "disable" => Word::Disable,
                        // `allow` begins without TLS; beginning with it is as good.
                        "allow" | "prefer" => Word::Prefer,
                        "require" => Word::Require,
                        "verify-ca" => Word::VerifyCa,
                        "verify-full" => Word::VerifyFull,
                        _ => return Err(UnknownSslMode),
                    };
                }
                Some(("sslrootcert", "system")) => system = true,
                Some(("sslrootcert", path)) => {
                    let pair = format!("path={path}");
                    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
                    mode.roots = decoded.map(|(_, path)| path.into_owned());
                }
                _ => rest.push(pair),
            }
        }
        // As libpq: with certificates at hand, `require` verifies them; the system's need a name that fits.
        if mode.roots.is_some() && mode.word == Word::Require {
            mode.word = Word::VerifyCa;
        }
        if system {
            mode.word = Word::VerifyFull;
        }
        let address = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok((address, mode))
    }

    pub(super) fn wire(&self) -> tokio_postgres::config::SslMode {
        match self.word {
            Word::Disable => tokio_postgres::config::SslMode::Disable,
            Word::Prefer => tokio_postgres::config::SslMode::Prefer,
            Word::Require | Word::VerifyCa | Word::VerifyFull => tokio_postgres::config::SslMode::Require,
        }
    }
}

/// What makes TLS connections of this mode.
pub(super) fn connector(mode: &SslMode) -> Result<MakeRustlsConnect, StorageError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let failed =
        |error: &dyn std::fmt::Display| StorageError::Unavailable(format!("TLS cannot be set up: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let config = match (mode.word, &mode.roots) {
        (Word::VerifyFull | Word::VerifyCa, None) => {
            builder.with_platform_verifier().map_err(|error| failed(&error))?.with_no_client_auth()
        }
        (Word::VerifyFull, Some(path)) => builder
            .with_root_certificates(roots_in(path).map_err(|error| failed(&error))?)
            .with_no_client_auth(),
        (Word::VerifyCa, Some(path)) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName {
                roots: Some(roots_in(path).map_err(|error| failed(&error))?),
                provider,
            }))
            .with_no_client_auth(),
        (Word::Disable | Word::Prefer | Word::Require, _) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName { roots: None, provider }))
            .with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots_in(path: &str) -> Result<RootCertStore, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{path} (sslrootcert): {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() { Err(failed(&"it holds no certificate")) } else { Ok(roots) }
}

/// Does not look at the host's name. `prefer` and `require` ask for encryption only: hosts use certificates of their own
/// there. With roots, for `verify-ca`, one of them must have signed the certificate.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

/// Takes every certificate: for encryption only.
pub(crate) fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(AnyName { roots: None, provider: Arc::new(aws_lc_rs::default_provider()) })
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_taken_out_of_the_address() {
        let take =
            |address: &str| SslMode::take_from(address).map(|(rest, mode)| (rest, mode.word, mode.roots));
        let plain = "postgres://u:p@h:5432/d";
        assert_eq!(take(plain), Ok((plain.into(), Word::Prefer, None)));
        for (word, mode) in [
            ("disable", Word::Disable),
            ("allow", Word::Prefer),
            ("prefer", Word::Prefer),
            ("require", Word::Require),
            ("verify-ca", Word::VerifyCa),
            ("verify-full", Word::VerifyFull),
        ] {
            let address = format!("{plain}?connect_timeout=3&sslmode={word}&options=x");
            assert_eq!(
                take(&address),
                Ok((format!("{plain}?connect_timeout=3&options=x"), mode, None)),
                "{word}"
            );
        }
        assert_eq!(
            take(&format!("{plain}?sslmode=require&sslrootcert=%2Fetc%2Fca.pem")),
            Ok((plain.into(), Word::VerifyCa, Some("/etc/ca.pem".into())))
        );
        for pairs in ["sslmode=require&sslrootcert=system", "sslrootcert=system&sslmode=verify-ca"] {
            assert_eq!(take(&format!("{plain}?{pairs}")), Ok((plain.into(), Word::VerifyFull, None)));
        }
        assert_eq!(take(&format!("{plain}?sslmode=of-course")), Err(UnknownSslMode));
    }
}
