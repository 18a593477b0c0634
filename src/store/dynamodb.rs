//! The run table in DynamoDB: each write is one conditional request, and a failed condition returns the item.
//!
//! [`Write::apply`] defines what a write means; here it becomes expressions. Every attribute goes through a `#name`, since
//! `keys`, `open` and `status` are among DynamoDB's reserved words.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::attributes::{self, Attributes, number, string};
use super::{DUE_PAGE, EndedPage, RunStore, SCAN_PAGE};
use crate::aws::{Resource, service_error};
use crate::ids::Subject;
use crate::run::{Claim, ClaimCondition, DueRun, Item, Open, PollState, TRIGGERS_MAX, Write, WriteResult};
use crate::service::ServiceError;
use crate::time::Millis;

/// The sparse index of open runs.
pub(crate) const OPEN_INDEX: &str = "open";
/// The table's hash key.
pub(crate) const KEY: &str = "subject";

/// A run table in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
}

impl DynamoStore {
    /// The table of this name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Scans a page of the table for ended runs, continuing after the given chat.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn ended_page(&self, after: Option<&Subject>) -> Result<EndedPage, ServiceError> {
        let filter = Expression::condition("#phase = :ended").with(":ended", string("ended"));
        let after = after.map(|subject| HashMap::from([(KEY.to_owned(), string(subject.key()))]));
        let request = self
            .client
            .scan()
            .table_name(&self.table)
            .set_expression_attribute_names(Some(filter.names()))
            .filter_expression(filter.condition)
            .set_expression_attribute_values(Some(filter.values))
            .set_exclusive_start_key(after)
            .limit(i32::try_from(SCAN_PAGE).unwrap_or(i32::MAX));
        let output = request.send().await.map_err(|error| self.failed("Scan", &error))?;
        Ok(EndedPage {
            runs: output.items.unwrap_or_default().iter().map(attributes::to_item).collect::<Result<_, _>>()?,
            looked_at: usize::try_from(output.scanned_count).unwrap_or_default(),
            next: output.last_evaluated_key.as_ref().map(attributes::to_subject).transpose()?,
        })
    }

    fn failed<E>(&self, operation: &str, error: &SdkError<E, HttpResponse>) -> ServiceError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        service_error(operation, Resource::Table(&self.table), error)
    }

    async fn put(&self, item: &Item, condition: Expression) -> Result<WriteResult, ServiceError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(attributes::of_item(item)?))
            .set_expression_attribute_names(Some(condition.names()))
            .condition_expression(condition.condition)
            .set_expression_attribute_values(Some(condition.values).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(WriteResult::Applied(Box::new(item.clone()))),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => refused(refusal.item()),
                _ => Err(self.failed("PutItem", &error)),
            },
        }
    }

    async fn update(&self, subject: &Subject, update: Expression) -> Result<WriteResult, ServiceError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, string(subject.key()))
            .set_expression_attribute_names(Some(update.names()))
            .update_expression(update.changes)
            .condition_expression(update.condition)
            .set_expression_attribute_values(Some(update.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(output) => {
                let item = attributes::to_item(&output.attributes.unwrap_or_default())?;
                Ok(WriteResult::Applied(Box::new(item)))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => refused(refusal.item()),
                _ => Err(self.failed("UpdateItem", &error)),
            },
        }
    }
}

/// The result of a failed condition; DynamoDB returns no item if there is none.
fn refused(item: Option<&Attributes>) -> Result<WriteResult, ServiceError> {
    let item = item.filter(|item| !item.is_empty()).map(attributes::to_item).transpose()?;
    Ok(WriteResult::ConditionFailed(item.map(Box::new)))
}

impl RunStore for DynamoStore {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        let request =
            self.client.get_item().table_name(&self.table).key(KEY, string(subject.key())).consistent_read(true);
        let output = request.send().await.map_err(|error| self.failed("GetItem", &error))?;
        output.item.as_ref().map(attributes::to_item).transpose()
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        match Request::of(write)? {
            Request::Put(item, condition) => self.put(item, condition).await,
            Request::Update(update) => self.update(write.subject(), update).await,
        }
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        let condition = Expression::condition("#open = :shard AND #sweep_at_ms < :before");
        let condition = condition.with(":shard", number(shard)).with(":before", number(before.0));
        let after = after.map(|due| {
            let place =
                [("open", number(shard)), ("sweep_at_ms", number(due.sweep_at_ms.0)), (KEY, string(due.subject.key()))];
            place.map(|(name, value)| (name.to_owned(), value)).into()
        });
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(OPEN_INDEX)
            .set_expression_attribute_names(Some(condition.names()))
            .key_condition_expression(condition.condition)
            .set_expression_attribute_values(Some(condition.values))
            .set_exclusive_start_key(after)
            .limit(i32::try_from(DUE_PAGE).unwrap_or(i32::MAX));
        let output = request.send().await.map_err(|error| self.failed("Query", &error))?;
        // One entry that this version does not know must not hide those behind it.
        let known = |attributes: &Attributes| {
            let unknown =
                |error: &ServiceError| tracing::error!(%error, shard, "the index has an entry that cannot be read");
            attributes::to_due_run(attributes).inspect_err(unknown).ok()
        };
        Ok(output.items.unwrap_or_default().iter().filter_map(known).collect())
    }
}

/// A write as a request.
enum Request<'a> {
    /// Put this item, under this condition.
    Put(&'a Item, Expression),
    /// Change the item.
    Update(Expression),
}

impl<'a> Request<'a> {
    fn of(write: &'a Write) -> Result<Self, ServiceError> {
        Ok(Self::Update(match write {
            Write::Start { item, over: None } => {
                return Ok(Self::Put(item, Expression::condition("attribute_not_exists(#subject)")));
            }
            Write::Start { item, over: Some(run_id) } => {
                let condition =
                    Expression::condition("#run_id = :run_id AND #phase = :ended AND attribute_exists(#published)");
                return Ok(Self::Put(item, condition.with(":run_id", string(run_id)).with(":ended", string("ended"))));
            }
            Write::Claim { condition, claim, now, .. } => claim_expression(condition, claim, *now)?,
            Write::Join { run_id, key, trigger, .. } => {
                let key = Blob::new(key.to_bytes());
                Expression::update(
                    "SET #triggers = list_append(#triggers, :trigger) ADD #keys :keys",
                    "#run_id = :run_id AND #phase = :active AND attribute_not_exists(#cancelled_at) AND \
                     size(#triggers) < :full AND NOT contains(#keys, :key)",
                )
                .with(":trigger", AttributeValue::L(vec![attributes::json(trigger)?]))
                .with(":keys", AttributeValue::Bs(vec![key.clone()]))
                .with(":key", AttributeValue::B(key))
                .with(":run_id", string(run_id))
                .with(":active", string("active"))
                .with(":full", number(TRIGGERS_MAX))
            }
            Write::Cancel { requested_at, now, .. } => Expression::update(
                "SET #cancelled_at = if_not_exists(#cancelled_at, :now)",
                "#phase = :active AND #started_at_ms <= :requested_at",
            )
            .with(":now", number(now.0))
            .with(":requested_at", number(requested_at.0))
            .with(":active", string("active")),
            Write::End { subject, claim_id, outcome, learned } => Expression::update(
                "SET #phase = :ended, #open = :open, #outcome = :outcome",
                "#claim_id = :claim_id AND #phase = :active",
            )
            .with(":ended", string("ended"))
            .with(":open", number(Open::shard_of_ended(subject)))
            .with(":outcome", attributes::json(outcome)?)
            .learning(learned)?
            .with(":claim_id", string(claim_id.to_hex()))
            .with(":active", string("active")),
            Write::MarkPublished { run_id, expires_at, .. } => Expression::update(
                "SET #published = :true, #expires_at = :expires_at REMOVE #open, #sweep_at_ms",
                "#run_id = :run_id AND #phase = :ended",
            )
            .with(":true", AttributeValue::Bool(true))
            .with(":expires_at", number(expires_at))
            .with(":run_id", string(run_id))
            .with(":ended", string("ended")),
            Write::MoveSweep { from, to, .. } => Expression::update("SET #sweep_at_ms = :to", "#sweep_at_ms = :from")
                .with(":to", number(to.0))
                .with(":from", number(from.0)),
        }))
    }
}

fn claim_expression(condition: &ClaimCondition, claim: &Claim, now: Millis) -> Result<Expression, ServiceError> {
    let changes = "SET #claim_id = :new_claim, #holder = :holder, #lease_until_ms = :lease_until";
    let mut update = match condition {
        ClaimCondition::ByPoll { run_id, claim_id } => Expression::update(
            changes,
            "#run_id = :run_id AND #phase = :active AND attribute_not_exists(#cancelled_at) AND \
             (#claim_id = :claim_id OR (#holder = :holder AND #lease_until_ms < :now))",
        )
        .with(":run_id", string(run_id))
        .with(":claim_id", string(claim_id.to_hex())),
        ClaimCondition::ByTrigger { claim_id } => {
            let condition = "#claim_id = :claim_id AND #phase = :active AND attribute_not_exists(#cancelled_at) AND \
                             #lease_until_ms < :now";
            Expression::update(changes, condition).with(":claim_id", string(claim_id.to_hex()))
        }
    };
    if let Some(learned) = &claim.learned {
        update = update.learning(learned)?;
    }
    if claim.calls {
        update.changes.push_str(" ADD #polls :one");
        update = update.with(":one", number(1));
    }
    Ok(update
        .with(":new_claim", string(claim.claim_id.to_hex()))
        .with(":holder", string(&claim.holder))
        .with(":lease_until", number(claim.lease_until_ms.0))
        .with(":active", string("active"))
        .with(":now", number(now.0)))
}

/// Changes and their condition, and the values of their placeholders.
struct Expression {
    changes: String,
    condition: String,
    values: Attributes,
}

impl Expression {
    fn update(changes: &str, condition: &str) -> Self {
        Self { changes: changes.to_owned(), condition: condition.to_owned(), values: HashMap::new() }
    }

    fn condition(condition: &str) -> Self {
        Self::update("", condition)
    }

    fn with(mut self, placeholder: &str, value: AttributeValue) -> Self {
        self.values.insert(placeholder.to_owned(), value);
        self
    }

    /// Adds the poll state to the attributes that it sets.
    fn learning(mut self, learned: &PollState) -> Result<Self, ServiceError> {
        let (learned, history) = learned.split();
        self.changes.push_str(", #learned = :learned");
        self = self.with(":learned", attributes::json(&learned)?);
        if history.is_empty() {
            self.changes.push_str(" REMOVE #history");
            return Ok(self);
        }
        self.changes.push_str(", #history = :history");
        Ok(self.with(":history", AttributeValue::B(Blob::new(history.to_bytes()))))
    }

    /// Every `#name` in the texts stands for the attribute of that name.
    fn names(&self) -> HashMap<String, String> {
        let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let after_marks = [&self.changes, &self.condition].into_iter().flat_map(|text| text.split('#').skip(1));
        let names = after_marks.map(|text| text.split(|c| !is_name(c)).next().unwrap_or_default());
        names.map(|name| (format!("#{name}"), name.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClaimId, MessageId, RunId, TriggerKey};
    use crate::postpress::Finish;
    use crate::run::{EndedBy, Outcome, Trigger};

    #[test]
    fn an_expression_names_every_attribute_once() {
        let expression = Expression::update("SET #keys = :k, #open = :o", "#keys = :old AND size(#open) < :n");
        let mut names: Vec<_> = expression.names().into_iter().collect();
        names.sort();
        let pair = |name: &str| (format!("#{name}"), name.to_owned());
        assert_eq!(names, [pair("keys"), pair("open")]);
    }

    /// Every kind of write, in each of its forms.
    fn writes() -> Vec<Write> {
        let subject = Subject::chat("c").unwrap();
        let (run_id, claim_id) = (RunId::from_random(1), ClaimId::from_random(1));
        let learned = [PollState::default(), PollState { history: vec![(5, 2, 1)].into(), ..PollState::default() }];
        let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: Millis(1) };
        let trigger = Trigger {
            message_id: MessageId::new("m"),
            correlation_id: None,
            idempotency_key: None,
            metadata: None,
            requested_at: Millis(1),
            joined: true,
        };
        let mut writes = vec![
            Write::Join { subject: subject.clone(), run_id, key: TriggerKey::of("k"), trigger },
            Write::Cancel { subject: subject.clone(), requested_at: Millis(1), now: Millis(1) },
            Write::MarkPublished { subject: subject.clone(), run_id, expires_at: 1 },
            Write::MoveSweep { subject: subject.clone(), from: Millis(1), to: Millis(2) },
        ];
        for learned in &learned {
            let (learned, outcome) = (learned.clone(), outcome.clone());
            writes.push(Write::End { subject: subject.clone(), claim_id, outcome, learned });
        }
        for condition in [ClaimCondition::ByPoll { run_id, claim_id }, ClaimCondition::ByTrigger { claim_id }] {
            for (learned, calls) in learned.iter().map(Some).chain([None]).flat_map(|one| [(one, true), (one, false)]) {
                let (claim_id, holder) = (ClaimId::from_random(2), MessageId::new("m"));
                let claim = Claim { claim_id, holder, lease_until_ms: Millis(2), learned: learned.cloned(), calls };
                let (subject, condition) = (subject.clone(), condition.clone());
                writes.push(Write::Claim { subject, condition, claim, now: Millis(1) });
            }
        }
        writes
    }

    #[test]
    fn an_update_uses_every_value_and_changes_no_attribute_twice() {
        // DynamoDB rejects a request that breaks either rule; emulators may not.
        for write in writes() {
            let Request::Update(expression) = Request::of(&write).unwrap() else { panic!("{write:?}") };
            let text = format!("{} IF {}", expression.changes, expression.condition);
            let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || ":#_".contains(c))).collect();
            for placeholder in expression.values.keys() {
                assert!(words.contains(&placeholder.as_str()), "{placeholder} is not in {text}");
            }
            let mut placeholders = words.iter().filter(|word| word.starts_with(':'));
            assert!(placeholders.all(|word| expression.values.contains_key(*word)), "{text}");
            // What a function reads is not changed.
            let changes =
                expression.changes.replace("list_append(#triggers", "").replace("if_not_exists(#cancelled_at", "");
            let words: Vec<&str> = changes.split(|c: char| !(c.is_alphanumeric() || "#_".contains(c))).collect();
            for name in expression.names().keys() {
                assert!(words.iter().filter(|word| *word == name).count() <= 1, "{name} is changed twice: {text}");
            }
            for clause in ["SET ", " REMOVE ", " ADD "] {
                assert!(expression.changes.matches(clause).count() <= 1, "{clause} twice: {text}");
            }
        }
    }
}
