//! Whom we believe that they are who they say.

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{path::Path, sync::Arc};

/// TLS with the public authorities and those of `extra_ca`; ALPN is set by the connector. A
/// sentence if it cannot be made so.
pub fn client_config(extra_ca: Option<&Path>) -> Result<ClientConfig, String> {
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
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
