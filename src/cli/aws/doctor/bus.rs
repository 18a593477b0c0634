//! Checks the bus, and whether a rule on it may match the bridge's events.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::{Rule, RuleState};
use serde_json::Value;

use super::aws_query::ask;
use crate::aws::Resource;
use crate::cli::finding::Finding;

const BUS: &str = "bus";

/// Maximum number of pages of rules to read: a bus has at most 300 rules by default, a page at most 100.
const PAGES_MAX: usize = 10;

pub(super) async fn inspect(client: &Client, bus: &str, source: &str) -> Vec<Finding> {
    let describe = client.describe_event_bus().name(bus).send();
    if let Err(finding) = ask(BUS, "DescribeEventBus", Resource::Bus(bus), describe).await {
        return vec![finding];
    }
    let rules = rules(client, bus).await.map_or_else(|finding| finding, |rules| of_rules(&rules, source));
    vec![Finding::well(BUS, format!("`{bus}` exists")), rules]
}

async fn rules(client: &Client, bus: &str) -> Result<Vec<Rule>, Finding> {
    let (mut rules, mut next) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let request = client.list_rules().event_bus_name(bus).set_next_token(next);
        let page = ask(BUS, "ListRules", Resource::Bus(bus), request.send()).await?;
        rules.extend(page.rules.unwrap_or_default());
        next = page.next_token;
        if next.is_none() {
            break;
        }
    }
    Ok(rules)
}

fn of_rules(rules: &[Rule], source: &str) -> Finding {
    let matching = rules.iter().filter(|rule| may_match(rule, source)).count();
    if matching > 0 {
        return Finding::well(BUS, format!("rules that may match the source `{source}`: {matching}"));
    }
    Finding::warning(
        BUS,
        format!("no rule matches the source `{source}`, so no target receives the events"),
        format!(r#"create a rule with the pattern {{"source": ["{source}"]}} and a target"#),
    )
}

/// Best effort: the rule is enabled, and its pattern has no `source`, names ours, or has a filter that might match.
fn may_match(rule: &Rule, source: &str) -> bool {
    if rule.state() == Some(&RuleState::Disabled) {
        return false;
    }
    let Some(Ok(pattern)) = rule.event_pattern().map(serde_json::from_str::<Value>) else { return false };
    match pattern.get("source") {
        None => true,
        Some(wanted) => {
            wanted.as_array().is_some_and(|wanted| wanted.iter().any(|one| one.is_object() || one == source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::finding::CheckResult;

    #[test]
    fn rule_counts_if_its_pattern_may_match_our_source() {
        let rule = |pattern: &str, state| Rule::builder().event_pattern(pattern).state(state).build();
        let schedule = Rule::builder().schedule_expression("rate(5 minutes)").state(RuleState::Enabled).build();
        for (rule, result) in [
            (rule(r#"{"source": ["postpress.bridge"]}"#, RuleState::Enabled), CheckResult::Well),
            (rule(r#"{"source": ["crm", "postpress.bridge"]}"#, RuleState::Enabled), CheckResult::Well),
            (rule(r#"{"source": [{"prefix": "postpress"}]}"#, RuleState::Enabled), CheckResult::Well),
            (rule(r#"{"detail-type": ["SYNC_DONE"]}"#, RuleState::Enabled), CheckResult::Well),
            (rule(r#"{"source": ["postpress.bridge"]}"#, RuleState::Disabled), CheckResult::Warning),
            (rule(r#"{"source": ["crm"]}"#, RuleState::Enabled), CheckResult::Warning),
            (rule("not JSON", RuleState::Enabled), CheckResult::Warning),
            (schedule, CheckResult::Warning),
        ] {
            let finding = of_rules(std::slice::from_ref(&rule), "postpress.bridge");
            assert_eq!(finding.result, result, "{rule:?}");
        }
        assert_eq!(of_rules(&[], "postpress.bridge").result, CheckResult::Warning);
    }
}
