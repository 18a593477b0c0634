//! How the process starts, and what prevents it.

use super::world::{SECRET, TIMEOUT, TOKEN, front, get, outcome};
use crate::harness::emulator::Emulated;
use crate::harness::lambda::{Environment, Function, Kind};

/// The log of a process that does not start.
async fn refusal(settings: &[(&str, &str)]) -> String {
    let function = Function::webhook(settings.iter().copied(), TIMEOUT);
    let Err(status) = Environment::start(&function).await else {
        panic!("it started with {settings:?}");
    };
    assert_eq!(status.code(), Some(1));
    function.log()
}

#[tokio::test]
async fn invalid_settings_end_the_process_with_one_message() {
    let log = refusal(&[
        ("BRIDGE_BACKEND", "memory"),
        ("BRIDGE_WEBHOOK_SECRET", "whsec_hunter2"),
        ("BRIDGE_WEBHOOK_TOKEN", "hunter2 hunter2 hunter2"),
        ("BRIDGE_EVENT_SOURCE", "aws.bridge"),
        ("BRIDGE_LOG", "loud=very"),
    ])
    .await;
    assert!(!log.contains("hunter2"), "{log}");
    insta::assert_snapshot!(log, @r#"
    webhook: fix these environment variables and start again:
    - `BRIDGE_WEBHOOK_SECRET` cannot be used: it is not `whsec_` and Base64; create one with: echo "whsec_$(openssl rand -base64 32)"
    - `BRIDGE_WEBHOOK_TOKEN` cannot be used: it is 3 values; give one, or two with one space between them during a rotation
    - `BRIDGE_BACKEND` is "memory"; allowed: `aws` (the default), since no worker would process a queue in the webhook's memory
    - `BRIDGE_EVENT_SOURCE` is "aws.bridge"; allowed: any name that does not begin with `aws.`, which AWS reserves
    - `BRIDGE_LOG` is "loud=very"; allowed: a filter like `info` or `warn,postpress_bridge=debug` (error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5)
    "#);
}

#[tokio::test]
async fn it_starts_only_with_credentials_or_iam() {
    let deployed = [("BRIDGE_QUEUE_URL", "https://sqs.example/1/bridge"), ("BRIDGE_TABLE", "runs")];
    for (settings, said) in [
        (&[][..], "`BRIDGE_WEBHOOK_SECRET` is missing"),
        (&[("BRIDGE_WEBHOOK_AUTH", "none")], "`BRIDGE_WEBHOOK_AUTH` can only be `iam`"),
        (&[("BRIDGE_WEBHOOK_AUTH", "iam"), ("BRIDGE_WEBHOOK_TOKEN", TOKEN)], "`BRIDGE_WEBHOOK_TOKEN` are both set"),
        (
            &[("BRIDGE_WEBHOOK_SECRET", SECRET), ("BRIDGE_WEBHOOK_SECRET_SECRET_ID", "id")],
            "`BRIDGE_WEBHOOK_SECRET_SECRET_ID` are both set; keep one of them",
        ),
        (
            &[("BRIDGE_WEBHOOK_SECRET", SECRET), ("BRIDGE_WEBHOOK_TOKEN", &SECRET[6..])],
            "`BRIDGE_WEBHOOK_SECRET` and `BRIDGE_WEBHOOK_TOKEN` are the same",
        ),
    ] {
        let log = refusal(&[&deployed, settings].concat()).await;
        assert!(log.contains(said) && !log.contains(&SECRET[6..]), "{said}: {log}");
    }
}

#[tokio::test]
async fn iam_requires_no_credentials() {
    let aws = Emulated::new().await;
    let front = front(&aws, Kind::FunctionUrl, &[("BRIDGE_WEBHOOK_AUTH", "iam")]);
    let mut request = get("/v1/chats/c/sync");
    request.headers_mut().clear();
    assert_eq!(outcome(&front.answer(&request).await), "404 bridge/no_run");
}
