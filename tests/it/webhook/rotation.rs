//! Credentials in Secrets Manager: read at startup, and again when a request does not match them.

use uuid::Uuid;

use super::world::{OLD_SECRET, SECRET, TIMEOUT, front, now, outcome, request, settings, signed};
use crate::harness::emulator::{self, Emulated};
use crate::harness::lambda::{Environment, Function, Kind};

async fn secrets() -> aws_sdk_secretsmanager::Client {
    aws_sdk_secretsmanager::Client::new(&emulator::sdk(&emulator::endpoint()))
}

#[tokio::test]
async fn a_running_function_notices_a_rotation() {
    let (aws, secrets, name) = (Emulated::new().await, secrets().await, format!("webhook-{}", Uuid::new_v4()));
    let holding = |secret: &str| format!(r#"{{"signing": "{secret}", "token": "stored-token-of-the-test"}}"#);
    secrets.create_secret().name(&name).secret_string(holding(OLD_SECRET)).send().await.unwrap();
    let (signing, token) = (format!("{name}#signing"), format!("{name}#token"));
    let stored =
        [("BRIDGE_WEBHOOK_SECRET_SECRET_ID", signing.as_str()), ("BRIDGE_WEBHOOK_TOKEN_SECRET_ID", token.as_str())];
    let front = front(&aws, Kind::FunctionUrl, &stored);
    let bearer = [("authorization", "Bearer stored-token-of-the-test")];
    let status = request("GET", "/v1/chats/c/sync", &bearer, "");
    assert_eq!(outcome(&front.answer(&status).await), "404 bridge/no_run", "{}", front.log());
    assert_eq!(outcome(&front.answer(&signed(OLD_SECRET, now(), r#"{"chat_id": "c"}"#)).await), "202");

    secrets.put_secret_value().secret_id(&name).secret_string(holding(SECRET)).send().await.unwrap();
    assert_eq!(outcome(&front.answer(&signed(SECRET, now(), r#"{"chat_id": "c"}"#)).await), "202", "{}", front.log());
    assert_eq!(
        outcome(&front.answer(&signed(OLD_SECRET, now(), r#"{"chat_id": "c"}"#)).await),
        "401 bridge/unauthorized"
    );
    assert_eq!(front.processes_started(), 1);
    assert!(
        !front.log().contains("stored-token-of-the-test") && !front.log().contains(&SECRET[6..]),
        "{}",
        front.log()
    );
}

#[tokio::test]
async fn an_invalid_stored_secret_ends_the_process_and_is_not_shown() {
    let (aws, secrets) = (Emulated::new().await, secrets().await);
    let json = format!(r#"{{"signing": "{SECRET}"}}"#);
    for (holds, said) in [
        ("whsec_hunter2", "BRIDGE_WEBHOOK_SECRET_SECRET_ID cannot be used"),
        (SECRET, "are the same"),
        (&json, "it is JSON; name its field: `ID#field` (it has `signing`)"),
    ] {
        let name = format!("webhook-{}", Uuid::new_v4());
        secrets.create_secret().name(&name).secret_string(holds).send().await.unwrap();
        let more = [("BRIDGE_WEBHOOK_SECRET_SECRET_ID", name.as_str()), ("BRIDGE_WEBHOOK_TOKEN", SECRET)];
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let function = Function::webhook(settings(&aws).into_iter().chain(more), TIMEOUT);
        assert!(Environment::start(&function).await.is_err(), "it started");
        let log = function.log();
        assert!(log.contains(said) && !log.contains("hunter2") && !log.contains(&SECRET[6..]), "{log}");
    }
}
