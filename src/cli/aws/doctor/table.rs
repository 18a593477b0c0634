//! Checks the run table: its key, its index of open runs, TTL and backups.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    BillingMode, ContinuousBackupsDescription, IndexStatus, KeySchemaElement, KeyType, PointInTimeRecoveryStatus,
    ProjectionType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveDescription, TimeToLiveStatus,
};

use super::aws_query::ask;
use crate::aws::Resource;
use crate::cli::finding::Finding;
use crate::store::OPEN_INDEX;

pub(super) const TABLE: &str = "table";

/// The TTL attribute: when an ended run may be deleted.
const EXPIRES_AT: &str = "expires_at";

pub(super) async fn inspect(client: &Client, table: &str) -> Vec<Finding> {
    let about = Resource::Table(table);
    let described = ask(TABLE, "DescribeTable", about, client.describe_table().table_name(table).send()).await;
    let mut findings = match described {
        Ok(output) => output.table.as_ref().map(judge).unwrap_or_default(),
        Err(finding) => return vec![finding],
    };
    let (ttl, backups) = tokio::join!(
        ask(TABLE, "DescribeTimeToLive", about, client.describe_time_to_live().table_name(table).send()),
        ask(TABLE, "DescribeContinuousBackups", about, client.describe_continuous_backups().table_name(table).send()),
    );
    let either = |found: Result<Finding, Finding>| found.unwrap_or_else(|finding| finding);
    findings.push(either(ttl.map(|output| of_ttl(output.time_to_live_description.as_ref()))));
    findings.push(either(backups.map(|output| of_backups(output.continuous_backups_description.as_ref()))));
    findings
}

/// Checks a table's description.
fn judge(table: &TableDescription) -> Vec<Finding> {
    let status = table.table_status().unwrap_or(&TableStatus::Active);
    let mut findings = vec![match status {
        TableStatus::Active | TableStatus::Updating => Finding::well(TABLE, summary(table)),
        other => Finding::fault(TABLE, format!("it is {other}"), "wait until it is ACTIVE, or recreate it"),
    }];
    let key = key(table, table.key_schema());
    if key != [("subject", true, "S")] {
        let found = format!("its key is {}, not subject (S) alone", words(&key));
        findings.push(Finding::fault(TABLE, found, "recreate it with the hash key `subject` (S) and no range key"));
    }
    findings.extend(of_index(table));
    findings
}

fn summary(table: &TableDescription) -> String {
    // DynamoDB reports no billing mode for a table that has always been provisioned.
    let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    let billing = match mode {
        Some(BillingMode::PayPerRequest) => "billed per request".to_owned(),
        _ => match table.provisioned_throughput() {
            Some(capacity) => format!(
                "provisioned for {} reads and {} writes a second",
                capacity.read_capacity_units().unwrap_or_default(),
                capacity.write_capacity_units().unwrap_or_default()
            ),
            None => "provisioned".to_owned(),
        },
    };
    format!("exists, {billing}")
}

/// The sweep finds lost runs only through this index.
fn of_index(table: &TableDescription) -> Option<Finding> {
    let remedy =
        "create the index `open`: hash `open` (N), range `sweep_at_ms` (N), KEYS_ONLY; without it no lost run is found";
    let fault = |found: String| Some(Finding::fault(TABLE, found, remedy));
    let Some(index) = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(OPEN_INDEX))
    else {
        return fault("it has no index `open`".to_owned());
    };
    let key = key(table, index.key_schema());
    if key != [("open", true, "N"), ("sweep_at_ms", false, "N")] {
        return fault(format!("the key of its index `open` is {}", words(&key)));
    }
    match index.index_status() {
        None | Some(IndexStatus::Active | IndexStatus::Updating) => {}
        Some(status) => return fault(format!("its index `open` is {status}")),
    }
    let projected = index.projection().and_then(|projection| projection.projection_type());
    (projected != Some(&ProjectionType::KeysOnly)).then(|| {
        let found = "its index `open` projects more than keys, so every poll pays for a write to it";
        Finding::warning(TABLE, found, "recreate the index as KEYS_ONLY")
    })
}

/// The attributes of a key: name, whether it is the hash key, and type.
fn key<'a>(table: &'a TableDescription, schema: &'a [KeySchemaElement]) -> Vec<(&'a str, bool, &'a str)> {
    let kind = |name: &str| {
        let known = table.attribute_definitions().iter().find(|attribute| attribute.attribute_name() == name);
        known.map_or("?", |attribute| ScalarAttributeType::as_str(attribute.attribute_type()))
    };
    let mut key: Vec<_> = schema
        .iter()
        .map(|element| {
            let name = element.attribute_name();
            (name, *element.key_type() == KeyType::Hash, kind(name))
        })
        .collect();
    key.sort_by_key(|(_, is_hash, _)| !is_hash);
    key
}

fn words(key: &[(&str, bool, &str)]) -> String {
    let part = |(name, is_hash, kind): &(&str, bool, &str)| {
        format!("{} {name} ({kind})", if *is_hash { "hash" } else { "range" })
    };
    key.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Without TTL, ended runs are kept forever; on another attribute, it might delete open runs.
fn of_ttl(ttl: Option<&TimeToLiveDescription>) -> Finding {
    let remedy = "enable TTL on `expires_at`";
    let status = ttl.and_then(TimeToLiveDescription::time_to_live_status);
    let attribute = ttl.and_then(TimeToLiveDescription::attribute_name).unwrap_or_default();
    match status {
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) if attribute == EXPIRES_AT => {
            Finding::well(TABLE, "TTL on `expires_at` deletes ended runs")
        }
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => {
            Finding::fault(TABLE, format!("its TTL is on `{attribute}`, not on `expires_at`"), remedy)
        }
        _ => Finding::fault(TABLE, "it has no TTL, so ended runs are kept forever", remedy),
    }
}

fn of_backups(backups: Option<&ContinuousBackupsDescription>) -> Finding {
    let status = backups
        .and_then(|backups| backups.point_in_time_recovery_description())
        .and_then(|description| description.point_in_time_recovery_status());
    match status {
        Some(PointInTimeRecoveryStatus::Enabled) => Finding::well(TABLE, "it can be restored to a point in time"),
        _ => Finding::warning(
            TABLE,
            "it has no point-in-time recovery: if its runs are lost, a repeated trigger restarts a finished sync",
            "enable point-in-time recovery",
        ),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingModeSummary, GlobalSecondaryIndexDescription, PointInTimeRecoveryDescription,
        Projection,
    };

    use super::*;
    use crate::cli::finding::CheckResult;

    type Key = &'static [(&'static str, KeyType, ScalarAttributeType)];

    const SUBJECT: Key = &[("subject", KeyType::Hash, ScalarAttributeType::S)];
    const SWEEP: Key =
        &[("open", KeyType::Hash, ScalarAttributeType::N), ("sweep_at_ms", KeyType::Range, ScalarAttributeType::N)];

    fn schema(key: Key) -> Vec<KeySchemaElement> {
        let element = |(name, key_type, _): &(&str, KeyType, _)| {
            KeySchemaElement::builder().attribute_name(*name).key_type(key_type.clone()).build().unwrap()
        };
        key.iter().map(element).collect()
    }

    fn index(key: Key, status: IndexStatus, projection: ProjectionType) -> GlobalSecondaryIndexDescription {
        GlobalSecondaryIndexDescription::builder()
            .index_name("open")
            .set_key_schema(Some(schema(key)))
            .index_status(status)
            .projection(Projection::builder().projection_type(projection).build())
            .build()
    }

    fn table(keys: [Key; 2], index: Option<GlobalSecondaryIndexDescription>) -> TableDescription {
        let attribute = |(name, _, kind): &(&str, KeyType, ScalarAttributeType)| {
            AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone()).build().unwrap()
        };
        TableDescription::builder()
            .table_status(TableStatus::Active)
            .set_key_schema(Some(schema(keys[0])))
            .set_attribute_definitions(Some(keys.into_iter().flatten().map(attribute).collect()))
            .set_global_secondary_indexes(Some(index.into_iter().collect()))
            .billing_mode_summary(BillingModeSummary::builder().billing_mode(BillingMode::PayPerRequest).build())
            .build()
    }

    #[test]
    fn table_needs_its_key_and_its_index() {
        use IndexStatus::{Active, Creating};
        use ProjectionType::{All, KeysOnly};
        const ID: Key = &[("id", KeyType::Hash, ScalarAttributeType::S)];
        const NUMBER: Key = &[("subject", KeyType::Hash, ScalarAttributeType::N)];
        const RANGED: Key =
            &[("subject", KeyType::Hash, ScalarAttributeType::S), ("run_id", KeyType::Range, ScalarAttributeType::S)];
        const TEXTS: Key =
            &[("open", KeyType::Hash, ScalarAttributeType::S), ("sweep_at_ms", KeyType::Range, ScalarAttributeType::N)];
        let right = || Some(index(SWEEP, Active, KeysOnly));
        for (table, expected) in [
            (table([SUBJECT, SWEEP], right()), &[][..]),
            (table([ID, SWEEP], right()), &[(CheckResult::Fault, "hash id (S), not subject")]),
            (table([NUMBER, SWEEP], right()), &[(CheckResult::Fault, "hash subject (N), not subject (S)")]),
            (table([RANGED, SWEEP], right()), &[(CheckResult::Fault, "range run_id (S)")]),
            (table([SUBJECT, SWEEP], None), &[(CheckResult::Fault, "no index `open`")]),
            (table([SUBJECT, TEXTS], Some(index(TEXTS, Active, KeysOnly))), &[(CheckResult::Fault, "hash open (S)")]),
            (
                table([SUBJECT, SWEEP], Some(index(&SWEEP[..1], Active, KeysOnly))),
                &[(CheckResult::Fault, "is hash open (N)")],
            ),
            (table([SUBJECT, SWEEP], Some(index(SWEEP, Creating, KeysOnly))), &[(CheckResult::Fault, "is CREATING")]),
            (table([SUBJECT, SWEEP], Some(index(SWEEP, Active, All))), &[(CheckResult::Warning, "more than keys")]),
            (table([ID, &[]], None), &[(CheckResult::Fault, "its key"), (CheckResult::Fault, "no index")]),
        ] {
            let findings = judge(&table);
            let [first, problems @ ..] = &findings[..] else { panic!("no findings") };
            assert_eq!(first, &Finding::well(TABLE, "exists, billed per request"));
            assert_eq!(problems.len(), expected.len(), "{problems:#?}");
            for (finding, (result, text)) in problems.iter().zip(expected) {
                assert!(finding.result == *result && finding.found.contains(text), "{finding:?} is not {text}");
            }
        }
    }

    #[test]
    fn inactive_table_is_a_fault() {
        let table = TableDescription::builder().table_status(TableStatus::Creating).build();
        assert_eq!(judge(&table)[0].result, CheckResult::Fault);
    }

    #[test]
    fn ttl_must_be_on_its_attribute() {
        for (status, attribute, result) in [
            (TimeToLiveStatus::Enabled, "expires_at", CheckResult::Well),
            (TimeToLiveStatus::Enabling, "expires_at", CheckResult::Well),
            (TimeToLiveStatus::Enabled, "started_at_ms", CheckResult::Fault),
            (TimeToLiveStatus::Disabling, "expires_at", CheckResult::Fault),
            (TimeToLiveStatus::Disabled, "", CheckResult::Fault),
        ] {
            let ttl = TimeToLiveDescription::builder().time_to_live_status(status.clone()).attribute_name(attribute);
            assert_eq!(of_ttl(Some(&ttl.build())).result, result, "{status} on {attribute}");
        }
        assert_eq!(of_ttl(None).result, CheckResult::Fault);
    }

    #[test]
    fn missing_recovery_is_a_warning() {
        for (status, result) in [
            (PointInTimeRecoveryStatus::Enabled, CheckResult::Well),
            (PointInTimeRecoveryStatus::Disabled, CheckResult::Warning),
        ] {
            let recovery = PointInTimeRecoveryDescription::builder().point_in_time_recovery_status(status).build();
            let backups = ContinuousBackupsDescription::builder()
                .continuous_backups_status(aws_sdk_dynamodb::types::ContinuousBackupsStatus::Enabled)
                .point_in_time_recovery_description(recovery);
            assert_eq!(of_backups(Some(&backups.build().unwrap())).result, result);
        }
        assert_eq!(of_backups(None).result, CheckResult::Warning);
    }
}
