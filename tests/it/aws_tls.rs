//! The AWS SDK over the bridge's HTTP stack: TLS, redirects and errors.

use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use postpress_bridge::aws::configure;
use postpress_bridge::ids::Subject;
use postpress_bridge::postpress::client::{http_client, mozilla_roots};
use postpress_bridge::service::ServiceError;
use postpress_bridge::store::{DynamoStore, RunStore};
use rustls::RootCertStore;
use rustls::version::{TLS12, TLS13};

use crate::harness::raw_server::{Move, RawServer, reply};
use crate::harness::tls_server::TlsServer;

/// A table at this endpoint, over a stack that trusts these roots.
fn table(endpoint: &str, roots: RootCertStore) -> DynamoStore {
    let credentials = Credentials::new("AKIDHUNTER", "secret-hunter2", None, None, "test");
    let config = SdkConfig::builder()
        .endpoint_url(endpoint)
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    let shared = configure(config, http_client(roots).unwrap());
    DynamoStore::new(aws_sdk_dynamodb::Client::new(&shared), "runs".to_owned())
}

async fn read(store: &DynamoStore) -> Result<bool, ServiceError> {
    store.read(&Subject::chat("c").unwrap()).await.map(|item| item.is_some())
}

#[tokio::test]
async fn the_sdk_trusts_only_the_given_root() {
    for version in [&TLS12, &TLS13] {
        let response = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
        let server = TlsServer::start("127.0.0.1", version, response.to_owned());
        let mut roots = RootCertStore::empty();
        roots.add(server.certificate.clone()).unwrap();
        let store = table(&format!("https://{}", server.address), roots);
        assert_eq!(read(&store).await, Ok(false), "{version:?}");
        let request = server.request().unwrap();
        assert!(request.contains("x-amz-target: DynamoDB_20120810.GetItem\r\n"), "{request}");
        assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
        assert!(!request.contains("secret-hunter2"), "{request}");
    }
    let stranger = TlsServer::start("127.0.0.1", &TLS13, String::new());
    let store = table(&format!("https://{}", stranger.address), mozilla_roots());
    let error = read(&store).await.unwrap_err();
    assert!(matches!(&error, ServiceError::Unreachable(text) if text.contains("certificate")), "{error}");
    assert!(stranger.request().is_err(), "it got no request");
}

#[tokio::test]
async fn redirects_are_not_followed_or_retried() {
    let elsewhere = RawServer::start([vec![Move::Read, reply("200 OK", "{}")]]).await;
    let head = format!("307 Temporary Redirect\r\nlocation: http://{}/", elsewhere.address());
    let server = RawServer::start([vec![Move::Read, reply(&head, ""), Move::Hang]]).await;
    let store = table(&format!("http://{}", server.address()), mozilla_roots());
    assert!(read(&store).await.is_err());
    assert_eq!((server.seen().requests.len(), elsewhere.seen().requests.len()), (1, 0));
}

#[tokio::test]
async fn errors_show_no_secret() {
    for (status, body, passes) in [
        (
            "400 Bad Request",
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#,
            true,
        ),
        ("400 Bad Request", r#"{"__type":"com.amazon.coral.service#ThrottlingException","message":"slow"}"#, true),
        ("500 Internal Server Error", r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#, true),
        ("503 Service Unavailable", "not even JSON", true),
        ("400 Bad Request", r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"no"}"#, false),
        ("400 Bad Request", r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}"#, false),
    ] {
        let head = format!("{status}\r\ncontent-type: application/x-amz-json-1.0");
        let server = RawServer::start([vec![Move::Read, reply(&head, body), Move::Hang]]).await;
        let store = table(&format!("http://{}", server.address()), mozilla_roots());
        let error = read(&store).await.unwrap_err();
        assert_eq!(error.is_retryable(), passes, "{status} {body}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert_eq!(server.seen().requests.len(), 1, "the SDK's own retries are off: {error}");
    }
}

#[tokio::test]
async fn an_unreachable_service_fails_at_once_and_is_retryable() {
    let began = Instant::now();
    let store = table("http://127.0.0.1:1", mozilla_roots());
    assert!(matches!(read(&store).await, Err(ServiceError::Unreachable(_))));
    assert!(began.elapsed() < Duration::from_secs(30));
}
