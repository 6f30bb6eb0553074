//! Whom we believe that they are who they say, and as whom we come.

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{fmt, path::Path, sync::Arc};

/// A certificate that says who we are, and its private key.
#[derive(Clone)]
pub struct Identity(Arc<SingleCertAndKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}

impl Identity {
    /// Out of a certificate with those that lead to its root, and the private key, all in PEM. A
    /// sentence, which does not show the key, if they cannot be used together.
    pub fn from_pem(certificates: &str, key: &str) -> Result<Self, String> {
        let found = CertificateDer::pem_slice_iter(certificates.as_bytes());
        let chain = found.collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("the certificate is no PEM: {error}"))?;
        if chain.is_empty() {
            return Err("there is no certificate in its PEM".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let key = key.map_err(|_error| "there is no private key in its PEM".to_owned())?;
        let provider = rustls::crypto::ring::default_provider();
        let certified =
            CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the private key is not the one of the certificate".to_owned()
                }
                error => format!("the certificate and its key cannot be used: {error}"),
            })?;
        Ok(Self(Arc::new(SingleCertAndKey::from(certified))))
    }
}

/// TLS with the public authorities and those of `extra_ca`; ALPN is set by the connector. A
/// sentence if it cannot be made so.
pub fn client_config(extra_ca: Option<&Path>) -> Result<ClientConfig, String> {
    Ok(trusting(extra_ca)?.with_no_client_auth())
}

/// The same, with a certificate for servers that ask who we are.
pub fn client_config_as(
    identity: &Identity,
    extra_ca: Option<&Path>,
) -> Result<ClientConfig, String> {
    let resolver = Arc::clone(&identity.0);
    Ok(trusting(extra_ca)?.with_client_cert_resolver(resolver))
}

fn trusting(
    extra_ca: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra_ca {
        let refuse = |why: String| format!("`extra_ca_file` {}: {why}", path.display());
        let found = CertificateDer::pem_file_iter(path).map_err(|e| refuse(e.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
            roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots))
}
