//! AWS that answers at once: no run is in the table, every write applies, every message is sent.
//!
//! An emulator would take longer than the worker, and differently each time.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::spawn_local;

/// Listens on a free port, until the runtime ends.
pub(crate) async fn listen() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A worker that ends closes its connection.
            spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.split('.').nth(1)).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let (status, answer) = match operation.as_str() {
        "GetItem" | "PutItem" | "UpdateItem" => (StatusCode::OK, json!({})),
        "SendMessageBatch" => (StatusCode::OK, json!({ "Successful": sent(&body), "Failed": [] })),
        _ => (StatusCode::BAD_REQUEST, json!({ "__type": "InvalidAction" })),
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status;
    Ok(response)
}

/// The results of the entries of a `SendMessageBatch`.
fn sent(body: &[u8]) -> Vec<Value> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let entries = request["Entries"].as_array().map_or(&[][..], Vec::as_slice);
    entries.iter().map(|entry| json!({ "Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "" })).collect()
}
