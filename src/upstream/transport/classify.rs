//! From the HTTP client's errors to their meaning, by walking the chain of sources. Nothing of a URL is printed.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::resolver::ResolveError;
use crate::oci::RegistryName;
use crate::upstream::failure::{Cause, Failure, Phase};

/// What a message needs besides the error itself.
pub(super) struct Classifier<'a> {
    pub registry: &'a RegistryName,
    pub host: &'a str,
    /// Host and port of the proxy in use.
    pub proxy: Option<String>,
    pub connect: Duration,
}

impl Classifier<'_> {
    /// Why no answer came.
    pub fn failure(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        if let Some(error) = find::<ResolveError>(&error) {
            return resolution(self.registry, self.host, error);
        }
        if let Some(error) = find::<rustls::Error>(&error) {
            return self.unreachable(Cause::Tls(tls_reason(error)));
        }
        if error.is_connect() {
            return self.no_connection(&error);
        }
        if let Some(error) = find::<hyper::Error>(&error).filter(|error| error.is_parse()) {
            return Failure::BadAnswer {
                registry: self.registry.clone(),
                host: self.host.to_owned(),
                reason: format!("not HTTP ({error})"),
            };
        }
        self.unreachable(Cause::Closed)
    }

    fn no_connection(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::Timeout {
                registry: self.registry.clone(),
                host: self.host.to_owned(),
                phase: Phase::Connect,
                limit: self.connect,
            };
        }
        let refused =
            find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        let reason = if refused {
            "the connection was refused".to_owned()
        } else {
            deepest(error)
        };
        self.unreachable(match &self.proxy {
            Some(proxy) => Cause::Proxy {
                proxy: proxy.clone(),
                reason,
            },
            None if refused => Cause::Refused,
            None => Cause::Connect(reason),
        })
    }

    fn unreachable(&self, cause: Cause) -> Failure {
        Failure::Unreachable {
            registry: self.registry.clone(),
            host: self.host.to_owned(),
            cause,
        }
    }
}

/// What the resolver said.
pub(super) fn resolution(registry: &RegistryName, host: &str, error: &ResolveError) -> Failure {
    match error {
        ResolveError::Refused { host, address, class } => Failure::AddressRefused {
            registry: registry.clone(),
            host: host.clone(),
            address: *address,
            class: *class,
        },
        ResolveError::LookUp(_) | ResolveError::Empty | ResolveError::OnlyV6 => Failure::Unreachable {
            registry: registry.clone(),
            host: host.to_owned(),
            cause: Cause::Dns(error.to_string()),
        },
    }
}

/// The connection was closed or reset under the request or the body.
pub(super) fn is_broken_connection(error: &reqwest::Error) -> bool {
    let closed = find::<hyper::Error>(error)
        .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
    closed
        || find::<io::Error>(error).is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::UnexpectedEof
            )
        })
}

fn tls_reason(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError as Certificate};
    match error {
        rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired".to_owned()
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. },
        ) => "its certificate is not valid yet".to_owned(),
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "its certificate comes from an unknown issuer".to_owned()
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "its certificate is for another name".to_owned(),
        rustls::Error::InvalidCertificate(Certificate::BadSignature) => {
            "its certificate is not from the issuer that it names".to_owned()
        }
        // webpki's words for it; rustls has none of its own.
        rustls::Error::InvalidCertificate(Certificate::Other(other))
            if other.to_string().contains("NameConstraintViolation") =>
        {
            "its certificate is for a name that its issuer may not sign for".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            "it speaks no TLS that docxy does: 1.2 and 1.3, with today's ciphers".to_owned()
        }
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "it does not speak TLS; for a plain HTTP registry write http:// in urls".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of ours; set client_cert and client_key of this registry".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => format!("it does not take our certificate ({alert:?}); check client_cert of this registry"),
        other => other.to_string(),
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map_or_else(String::new, ToString::to_string)
}

/// The error and its sources. An `io::Error` hides the error it wraps from `source()`, so that one is put in.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
