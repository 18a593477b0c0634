//! The AWS SDK over the bridge's own HTTP stack: TLS, redirects and errors are decided there, so they are tried there.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{Credentials, Region};
use postpress_bridge::aws::loader;
use postpress_bridge::ids::ChatId;
use postpress_bridge::postpress::client::{http_client, mozilla_roots};
use postpress_bridge::service::ServiceError;
use postpress_bridge::store::{DynamoStore, RunStore};
use rustls::RootCertStore;
use rustls::version::{TLS12, TLS13};

use crate::harness::raw_server::{Move, RawServer, reply};
use crate::harness::tls_server::TlsServer;

/// A table behind this endpoint, over a stack that trusts these roots.
async fn table(endpoint: &str, roots: RootCertStore) -> DynamoStore {
    let shared = loader(http_client(roots).unwrap())
        .endpoint_url(endpoint)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDHUNTER", "secret-hunter2", None, None, "test"))
        .load()
        .await;
    DynamoStore::new(aws_sdk_dynamodb::Client::new(&shared), "runs".to_owned())
}

async fn read(store: &DynamoStore) -> Result<bool, ServiceError> {
    store.read(&ChatId::parse("c").unwrap()).await.map(|item| item.is_some())
}

#[tokio::test]
async fn the_sdk_speaks_tls_to_a_root_that_is_handed_in_and_to_no_other() {
    for version in [&TLS12, &TLS13] {
        let response = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
        let server = TlsServer::start("127.0.0.1", version, response.to_owned());
        let mut roots = RootCertStore::empty();
        roots.add(server.certificate.clone()).unwrap();
        let store = table(&format!("https://{}", server.address), roots).await;
        assert_eq!(read(&store).await, Ok(false), "{version:?}");
        let request = server.request().unwrap();
        assert!(request.contains("x-amz-target: DynamoDB_20120810.GetItem\r\n"), "{request}");
        assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
        assert!(!request.contains("secret-hunter2"), "{request}");
    }
    let stranger = TlsServer::start("127.0.0.1", &TLS13, String::new());
    let store = table(&format!("https://{}", stranger.address), mozilla_roots()).await;
    let error = read(&store).await.unwrap_err();
    assert!(matches!(&error, ServiceError::Unreachable(text) if text.contains("certificate")), "{error}");
    assert!(stranger.request().is_err(), "it got no request");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_nothing_is_asked_twice() {
    let elsewhere = RawServer::start([vec![Move::Read, reply("200 OK", "{}")]]).await;
    let head = format!("307 Temporary Redirect\r\nlocation: http://{}/", elsewhere.address());
    let server = RawServer::start([vec![Move::Read, reply(&head, ""), Move::Hang]]).await;
    let store = table(&format!("http://{}", server.address()), mozilla_roots()).await;
    assert!(read(&store).await.is_err());
    assert_eq!((server.seen().requests.len(), elsewhere.seen().requests.len()), (1, 0));
}

#[tokio::test]
async fn an_error_is_told_without_what_must_not_be_shown() {
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
        let store = table(&format!("http://{}", server.address()), mozilla_roots()).await;
        let error = read(&store).await.unwrap_err();
        assert_eq!(error.is_retryable(), passes, "{status} {body}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert_eq!(server.seen().requests.len(), 1, "the SDK's own retries are off: {error}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_fails_at_once_and_may_pass() {
    let began = Instant::now();
    let store = table("http://127.0.0.1:1", mozilla_roots()).await;
    assert!(matches!(read(&store).await, Err(ServiceError::Unreachable(_))));
    assert!(began.elapsed() < Duration::from_secs(30));
}
