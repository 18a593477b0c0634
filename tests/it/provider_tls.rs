//! The key is sent only to a provider with a valid certificate.

use postpress_bridge::postpress::client::{Client, http_client};
use postpress_bridge::postpress::{Answer, Progress, RetryClass};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};

use crate::harness::provider_client::{LONG, ask, base_url, client, failure, key, running};
use crate::harness::tls_server::TlsServer;

fn server(name: &str, version: &'static SupportedProtocolVersion) -> TlsServer {
    let body = running();
    TlsServer::start(name, version, format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn url_of(server: &TlsServer) -> String {
    format!("https://{}/v1", server.address)
}

/// A client that trusts the server's own certificate.
fn trusting(server: &TlsServer) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(server.certificate.clone()).unwrap();
    Client::over(http_client(roots).unwrap(), base_url(&url_of(server)), key())
}

#[tokio::test]
async fn both_tls_versions_work_with_a_given_root() {
    for version in [&TLS12, &TLS13] {
        let server = server("127.0.0.1", version);
        let answer = ask(&trusting(&server), LONG).await;
        assert_eq!(answer, Answer::InProgress(Progress::Running), "{version:?}");
        assert!(server.request().unwrap().contains("x-api-key: pp_live_hunter2\r\n"));
    }
}

#[tokio::test]
async fn an_unknown_certificate_gets_no_request() {
    let stranger = server("127.0.0.1", &TLS13);
    let unknown = (client(&url_of(&stranger)), stranger);
    let misnamed = server("api.postpress.ai", &TLS13);
    let other_name = (trusting(&misnamed), misnamed);
    for (client, server) in [unknown, other_name] {
        let failure = failure(&client, LONG).await;
        assert_eq!((failure.retry_class, failure.status, failure.may_land_late), (RetryClass::Retryable, 502, false));
        assert!(failure.detail.contains("certificate"), "{}", failure.detail);
        assert!(server.request().is_err());
    }
}
