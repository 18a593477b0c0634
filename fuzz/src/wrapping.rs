//! What AWS puts around a message on its way to the queue.

use postpress_bridge::ids::MessageId;
use postpress_bridge::message::{Message, Record};
use postpress_bridge::time::Millis;

/// The `source` of the bridge's own events.
pub const EVENT_SOURCE: &str = "postpress.bridge";

/// Something around a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// An EventBridge event, with the text as its detail: only a JSON text can be one.
    EventBridge,
    /// An SNS notification, with the text as its message.
    Sns,
}
pub use Wrapping::{EventBridge, Sns};

/// Every wrapping of one to three layers, the innermost first.
pub const WRAPPINGS: [&[Wrapping]; 14] = [
    &[EventBridge],
    &[Sns],
    &[EventBridge, EventBridge],
    &[EventBridge, Sns],
    &[Sns, EventBridge],
    &[Sns, Sns],
    &[EventBridge, EventBridge, EventBridge],
    &[EventBridge, EventBridge, Sns],
    &[EventBridge, Sns, EventBridge],
    &[EventBridge, Sns, Sns],
    &[Sns, EventBridge, EventBridge],
    &[Sns, EventBridge, Sns],
    &[Sns, Sns, EventBridge],
    &[Sns, Sns, Sns],
];

/// The text within these layers, the innermost first.
pub fn wrap(text: &str, layers: &[Wrapping]) -> String {
    layers.iter().fold(text.to_owned(), |text, layer| match layer {
        EventBridge => {
            format!(r#"{{"version":"0","id":"eb-1","detail-type":"ChatOpened","source":"crm","detail":{text}}}"#)
        }
        Sns => {
            let message = serde_json::Value::from(text);
            format!(r#"{{"Type":"Notification","MessageId":"sns-1","TopicArn":"arn:aws:sns","Message":{message}}}"#)
        }
    })
}

/// The body as the worker reads it.
pub fn parse(body: &str) -> Message {
    let record = Record {
        message_id: MessageId::new("m-1"),
        receipt_handle: "r-1".to_owned(),
        body: body.to_owned(),
        sent_at: Millis(1_795_514_400_000),
        receive_count: 1,
        trace: None,
        group: None,
    };
    Message::parse(&record, EVENT_SOURCE)
}
