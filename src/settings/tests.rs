use std::path::Path;

use std::num::NonZeroU32;

use super::*;
use crate::postpress::pace::Rate;
use crate::run::Schedule;

/// The required settings of a worker.
const WORKER: [(&str, &str); 3] = [
    ("POSTPRESS_API_KEY", "sk-1"),
    ("BRIDGE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge"),
    ("BRIDGE_TABLE", "bridge-runs"),
];

/// An environment of these variables; the first one of a name counts.
fn env(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |name| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn worker(variables: &[(&str, &str)]) -> Result<WorkerSettings, SettingsError> {
    WorkerSettings::read(&env(&[variables, &WORKER].concat()))
}

/// The only fault of a valid worker environment with these `variables`.
fn only_fault(variables: &[(&str, &str)]) -> String {
    let error = worker(variables).expect_err(&format!("{variables:?} is accepted"));
    assert_eq!(error.faults.len(), 1, "{variables:?}: {error}");
    error.faults[0].to_string()
}

#[test]
fn required_settings_alone_give_the_defaults() {
    let settings = worker(&[("BRIDGE_MAX_POLLS", ""), ("BRIDGE_BACKEND", ""), ("BRIDGE_EVENT_BUS", "")]).unwrap();
    assert_eq!(settings.config, Config::default());
    assert_eq!(settings.provider.base_url.to_string(), "https://api.postpress.ai/v1");
    assert_eq!(settings.event_bus, "default");
    assert_eq!(settings.config.event_source, "postpress.bridge");
    assert_eq!(settings.metrics_namespace, "PostpressBridge");
    assert_eq!(settings.log_filter, LogFilter::default());
    let queue_url = WORKER[1].1.to_owned();
    assert_eq!(settings.backend, Backend::Aws { queue_url, table: "bridge-runs".to_owned() });
}

#[test]
fn secret_with_the_workspaces_is_named_like_that_of_the_key() {
    const VARIABLE: &str = "BRIDGE_WORKSPACES_SECRET_ID";
    for (value, id, field) in [("tenants", "tenants", None), ("tenants#all", "tenants", Some("all"))] {
        let workspaces = worker(&[(VARIABLE, value)]).unwrap().provider.workspaces.unwrap();
        assert_eq!((workspaces.variable, &*workspaces.id, workspaces.field.as_deref()), (VARIABLE, id, field));
    }
    assert_eq!(worker(&[(VARIABLE, "")]).unwrap().provider.workspaces, None);
    for value in ["tenants#", "#all", " tenants"] {
        assert!(only_fault(&[(VARIABLE, value)]).starts_with("`BRIDGE_WORKSPACES_SECRET_ID` "), "{value}");
    }
}

#[test]
fn every_number_is_read() {
    let settings = worker(&[
        ("POSTPRESS_TIMEOUT_SECONDS", "2.5"),
        ("BRIDGE_POLL_INITIAL_SECONDS", "1"),
        ("BRIDGE_POLL_FACTOR", "1"),
        ("BRIDGE_POLL_MAX_SECONDS", "900"),
        ("BRIDGE_RUN_DEADLINE_SECONDS", "7200"),
        ("BRIDGE_MAX_POLLS", "1"),
        ("BRIDGE_RETRY_SECONDS", "60"),
        ("BRIDGE_CONNECT_GRACE_SECONDS", "0"),
        ("BRIDGE_MAX_IN_FLIGHT", "7"),
        ("BRIDGE_RUN_TTL_SECONDS", "3"),
        ("BRIDGE_LEASE_MARGIN_SECONDS", "0"),
        ("BRIDGE_OVERDUE_SECONDS", "901"),
    ])
    .unwrap();
    let schedule = Schedule {
        poll_initial: Duration::from_secs(1),
        poll_factor: 1.0,
        poll_max: Duration::from_secs(900),
        retry: Duration::from_secs(60),
        connect_grace: Duration::ZERO,
        run_deadline: Duration::from_secs(7200),
        max_polls: 1,
        speedup: 1,
    };
    let rules = Rules {
        schedule,
        lease_margin: Duration::ZERO,
        overdue: Duration::from_secs(901),
        run_ttl: Duration::from_secs(3),
    };
    let limits = Limits { provider_timeout: Duration::from_millis(2500), max_in_flight: 7, ..Limits::default() };
    assert_eq!(settings.config, Config { rules, limits, ..Config::default() });
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    let cases = [
        ("POSTPRESS_TIMEOUT_SECONDS", "ten", "seconds from 0.1 to 300"),
        ("POSTPRESS_TIMEOUT_SECONDS", "301", "seconds from 0.1 to 300"),
        ("BRIDGE_POLL_INITIAL_SECONDS", "0", "seconds from 0.1 to 900"),
        ("BRIDGE_POLL_INITIAL_SECONDS", "1e-300", "seconds from 0.1 to 900"),
        ("BRIDGE_POLL_FACTOR", "0.99", "a number from 1 to 100"),
        ("BRIDGE_POLL_FACTOR", "NaN", "a number from 1 to 100"),
        ("BRIDGE_POLL_FACTOR", "inf", "a number from 1 to 100"),
        ("BRIDGE_POLL_MAX_SECONDS", "901", "seconds from 0.1 to 900"),
        ("BRIDGE_RUN_DEADLINE_SECONDS", "-1", "seconds from 0.1 to 315360000"),
        ("BRIDGE_CONNECT_GRACE_SECONDS", "-1", "seconds from 0 to 315360000"),
        ("BRIDGE_RUN_DEADLINE_SECONDS", "1e300", "seconds from 0.1 to 315360000"),
        ("BRIDGE_MAX_POLLS", "0", "a whole number from 1 to 1000000"),
        ("BRIDGE_MAX_POLLS", "10.5", "a whole number from 1 to 1000000"),
        ("BRIDGE_RETRY_SECONDS", "1 h", "seconds from 0.1 to 315360000"),
        ("BRIDGE_MAX_IN_FLIGHT", "-5", "a whole number from 1 to 900"),
        ("BRIDGE_CALLS_BURST", "0.5", "a number of calls from 1 to 100000"),
        ("BRIDGE_MAX_CONCURRENCY", "0", "a whole number from 1 to 100000"),
        ("BRIDGE_RUN_TTL_SECONDS", "0", "seconds from 0.1 to 315360000"),
        ("BRIDGE_LEASE_MARGIN_SECONDS", "-0.1", "seconds from 0 to 300"),
        ("BRIDGE_OVERDUE_SECONDS", "900", "seconds from 901 to 315360000"),
    ];
    for (variable, found, allowed) in cases {
        assert_eq!(only_fault(&[(variable, found)]), format!("`{variable}` is {found:?}; allowed: {allowed}"));
    }
}

#[test]
fn the_pace_of_a_key_is_divided_among_the_processes() {
    let rate = |variables: &[_]| worker(variables).unwrap().provider.pace.rate();
    assert_eq!(rate(&[]), None);
    assert_eq!(rate(&[("BRIDGE_MAX_CONCURRENCY", "10"), ("BRIDGE_CALLS_BURST", "40")]), None, "nothing to divide");
    let twenty = [("BRIDGE_CALLS_PER_SECOND", "20"), ("BRIDGE_MAX_CONCURRENCY", "10"), ("BRIDGE_CALLS_BURST", "40")];
    assert_eq!(rate(&twenty), Some(Rate::share(20.0, Some(40.0), NonZeroU32::new(10).unwrap())));

    let stopped = only_fault(&[("BRIDGE_CALLS_PER_SECOND", "0"), ("BRIDGE_MAX_CONCURRENCY", "10")]);
    assert_eq!(stopped, r#"`BRIDGE_CALLS_PER_SECOND` is "0"; allowed: calls a second from 0.001 to 100000"#);
    assert!(only_fault(&[("BRIDGE_CALLS_PER_SECOND", "20")]).starts_with("`BRIDGE_MAX_CONCURRENCY` is missing"));
    let slow = only_fault(&[("BRIDGE_CALLS_PER_SECOND", "0.001"), ("BRIDGE_MAX_CONCURRENCY", "10")]);
    assert!(slow.contains("less than a call an hour"), "{slow}");
}

#[test]
fn the_first_delay_is_at_most_the_longest() {
    assert_eq!(
        only_fault(&[("BRIDGE_POLL_INITIAL_SECONDS", "400")]),
        "`BRIDGE_POLL_INITIAL_SECONDS` and `BRIDGE_POLL_MAX_SECONDS` are 400 and 300; \
         the first must not be greater than the second",
    );
    assert!(worker(&[("BRIDGE_POLL_INITIAL_SECONDS", "7"), ("BRIDGE_POLL_MAX_SECONDS", "7")]).is_ok());
}

#[test]
fn unusable_texts_are_refused() {
    let cases = [
        ("BRIDGE_QUEUE_URL", "arn:aws:sqs:eu-west-1:123456789012:bridge", "not its name or ARN"),
        ("BRIDGE_QUEUE_URL", "bridge", "not its name or ARN"),
        ("BRIDGE_QUEUE_URL", "https://sqs.example/1/bridge.fifo", "standard queue"),
        ("BRIDGE_EVENT_SOURCE", "aws.bridge", "does not begin with `aws.`"),
        ("BRIDGE_BACKEND", "AWS", "`aws` (the default) or `memory`"),
        ("BRIDGE_LOG", "postpress_bridge=loud", "a filter like `info`"),
    ];
    for (variable, found, reason) in cases {
        let fault = only_fault(&[(variable, found)]);
        assert!(fault.starts_with(&format!("`{variable}` is ")) && fault.contains(reason), "{fault}");
    }
}

#[test]
fn queue_urls_are_accepted_only_as_sqs_returns_them() {
    let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge";
    for sound in [url, "http://localhost:4566/000000000000/bridge", "http://localhost:9324/queue/bridge"] {
        assert!(worker(&[("BRIDGE_QUEUE_URL", sound)]).is_ok(), "{sound}");
    }
    for (found, reason) in [
        (format!("{url}/"), "no slash, space, query or fragment"),
        (format!("{url}//"), "no slash"),
        (format!("{url}?x=1"), "query"),
        (format!("{url}#x"), "fragment"),
        (format!("{url} x"), "space"),
        ("https://sqs.eu-west-1.amazonaws.com/".to_owned(), "ends with the queue's name"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012//bridge".to_owned(), "no slash"),
        (format!("{url} "), "white space"),
        (format!("{url}\n"), "white space"),
        (format!("\t{url}"), "white space"),
        (format!("\"{url}\""), "not its name or ARN"),
    ] {
        let fault = only_fault(&[("BRIDGE_QUEUE_URL", &found)]);
        assert!(fault.contains("`BRIDGE_QUEUE_URL`") && fault.contains(reason), "{found:?}: {fault}");
    }
}

#[test]
fn surrounding_white_space_is_refused() {
    for (variable, value) in [
        ("BRIDGE_TABLE", "runs"),
        ("BRIDGE_EVENT_BUS", "bus"),
        ("BRIDGE_EVENT_SOURCE", "source"),
        ("BRIDGE_METRICS_NAMESPACE", "space"),
        ("POSTPRESS_BASE_URL", "https://api.postpress.ai/v1"),
    ] {
        for value in [format!(" {value}"), format!("{value} "), format!("{value}\n"), format!("{value}\r\n")] {
            let fault = only_fault(&[(variable, &value)]);
            assert_eq!(
                fault,
                format!("`{variable}` begins or ends with white space, often a line break from a paste; remove it")
            );
        }
    }
    let reference = only_fault(&[("POSTPRESS_API_KEY", ""), ("POSTPRESS_API_KEY_SECRET_ID", "key \n")]);
    assert!(reference.contains("white space"), "{reference}");
    let key = [("POSTPRESS_API_KEY", "sk-1")];
    let file = TerminalSettings::read(&env(&[&[("BRIDGE_STATE_FILE", "runs.db\n")], &key[..]].concat())).unwrap_err();
    assert!(file.to_string().contains("`BRIDGE_STATE_FILE` begins or ends with white space"), "{file}");
    let auth = webhook(&[("BRIDGE_WEBHOOK_AUTH", "iam\n")]).unwrap_err().to_string();
    assert!(auth.contains("white space around `iam`"), "{auth}");
    let table = only_fault(&[("BRIDGE_TABLE", "my runs")]);
    assert!(table.contains("letters, digits"), "{table}");
    assert!(worker(&[("BRIDGE_TABLE", "arn:aws:dynamodb:eu-west-1:123456789012:table/runs")]).is_ok());
}

#[test]
fn a_json_object_as_secret_is_recognised() {
    let json = r#"{"api_key": "pp_live_hush"}"#;
    assert_eq!(
        only_fault(&[("POSTPRESS_API_KEY", json)]),
        "`POSTPRESS_API_KEY` cannot be used: it is JSON; set it to the bare value, or set `POSTPRESS_API_KEY_SECRET_ID` \
         to `ID#field` of a secret"
    );
    for variable in ["BRIDGE_WEBHOOK_SECRET", "BRIDGE_WEBHOOK_TOKEN"] {
        let error = webhook(&[(variable, json)]).unwrap_err().to_string();
        assert!(error.contains("it is JSON") && error.contains(&format!("`{variable}_SECRET_ID`")), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn invalid_base_urls_are_refused_without_being_shown() {
    for url in ["hush.postpress.ai/v1", "http://hush@127.0.0.1", "https://hush.example/#v=1", "http://hush.example"] {
        let fault = only_fault(&[("POSTPRESS_BASE_URL", url)]);
        assert!(fault.starts_with("`POSTPRESS_BASE_URL` cannot be used: the base URL "), "{fault}");
    }
}

#[test]
fn the_key_is_a_value_or_a_secret() {
    let secret = |reference| {
        let settings = worker(&[("POSTPRESS_API_KEY", ""), ("POSTPRESS_API_KEY_SECRET_ID", reference)]).unwrap();
        match settings.provider.key {
            SecretSource::Stored(SecretRef { id, field, .. }) => (id, field),
            SecretSource::Plain(_) => panic!("{reference} was taken for the key"),
        }
    };
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:postpress-AbCdEf";
    assert_eq!(secret("postpress/key"), ("postpress/key".to_owned(), None));
    assert_eq!(secret(arn), (arn.to_owned(), None));
    assert_eq!(secret(&format!("{arn}#api_key")), (arn.to_owned(), Some("api_key".to_owned())));
    assert!(matches!(worker(&[]).unwrap().provider.key, SecretSource::Plain(_)));
}

#[test]
fn invalid_keys_are_refused_without_being_shown() {
    let both = only_fault(&[("POSTPRESS_API_KEY_SECRET_ID", "postpress/key")]);
    assert_eq!(both, "`POSTPRESS_API_KEY` and `POSTPRESS_API_KEY_SECRET_ID` are both set; keep one of them");

    let neither = only_fault(&[("POSTPRESS_API_KEY", "")]);
    assert!(neither.contains("`POSTPRESS_API_KEY` is missing"), "{neither}");
    assert!(neither.contains("`POSTPRESS_API_KEY_SECRET_ID`"), "{neither}");

    for key in ["hush\n", "hush hush", "hüsh", "hush\u{0}"] {
        let fault = only_fault(&[("POSTPRESS_API_KEY", key)]);
        assert!(fault.starts_with("`POSTPRESS_API_KEY` cannot be used: the API key "), "{fault}");
        assert!(!fault.contains("hush") && !fault.contains("hüsh"), "{fault}");
    }
    for reference in ["#", "hush#", "#hush"] {
        let fault = only_fault(&[("POSTPRESS_API_KEY", ""), ("POSTPRESS_API_KEY_SECRET_ID", reference)]);
        assert!(fault.starts_with("`POSTPRESS_API_KEY_SECRET_ID` has nothing"), "{fault}");
        assert!(!fault.contains("hush"), "{fault}");
    }
}

#[test]
fn neither_debug_nor_an_error_shows_a_secret() {
    let settings = worker(&[("POSTPRESS_API_KEY", "hush")]).unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    let fault = only_fault(&[("POSTPRESS_BASE_URL", "//me:hush@postpress.example")]);
    assert!(!fault.contains("hush"), "{fault}");
}

/// The webhook's settings.
fn webhook(variables: &[(&str, &str)]) -> Result<WebhookSettings, SettingsError> {
    WebhookSettings::read(&env(&[variables, &WORKER[1..]].concat()))
}

#[test]
fn the_webhook_needs_no_key_and_shows_no_secret() {
    const SECRET: &str = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";
    let settings = webhook(&[
        ("BRIDGE_WEBHOOK_SECRET", SECRET),
        ("BRIDGE_WEBHOOK_TOKEN", "hush-hush-hush-hush old-hush-hush-hush"),
    ])
    .unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hush") && !shown.contains("aHVz"), "{shown}");
    assert!(matches!(settings.access, Access::Credentials { signing: Some(_), tokens: Some(_) }));
    assert!(matches!(webhook(&[("BRIDGE_WEBHOOK_AUTH", "iam")]).unwrap().access, Access::Iam));
    let stored = webhook(&[("BRIDGE_WEBHOOK_TOKEN_SECRET_ID", "webhook#token")]).unwrap();
    let Access::Credentials { signing: None, tokens: Some(SecretSource::Stored(place)) } = stored.access else {
        panic!("{stored:?}");
    };
    assert_eq!((&*place.id, place.field.as_deref()), ("webhook", Some("token")));
}

#[test]
fn the_memory_backend_needs_neither_queue_nor_table() {
    let settings = WorkerSettings::read(&env(&[("BRIDGE_BACKEND", "memory"), ("POSTPRESS_API_KEY", "sk-1")])).unwrap();
    assert_eq!(settings.backend, Backend::Memory);
}

#[test]
fn the_state_file_is_in_the_users_state_directory() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("HOME", "/home/ann")], "/home/ann/.local/state/postpress-bridge/runs.sqlite3"),
        (&[("HOME", "/home/ann"), ("XDG_STATE_HOME", "/state")], "/state/postpress-bridge/runs.sqlite3"),
        (&[("HOME", "/h"), ("XDG_STATE_HOME", "state")], "/h/.local/state/postpress-bridge/runs.sqlite3"),
        (&[("HOME", "/home/ann"), ("BRIDGE_STATE_FILE", "runs.db")], "runs.db"),
    ];
    for (variables, file) in cases {
        let settings = TerminalSettings::read(&env(&[variables, &[("POSTPRESS_API_KEY", "sk-1")]].concat())).unwrap();
        assert_eq!(settings.state_file, Path::new(file), "{variables:?}");
    }
    let error = TerminalSettings::read(&env(&[("POSTPRESS_API_KEY", "sk-1")])).unwrap_err();
    assert!(error.to_string().contains("`BRIDGE_STATE_FILE` is missing"), "{error}");
}

#[test]
fn one_message_lists_every_fault() {
    let long = format!("https://sqs.example/{}.fifo", "x".repeat(200));
    let error = WorkerSettings::read(&env(&[
        ("POSTPRESS_BASE_URL", "https://:port/"),
        ("BRIDGE_QUEUE_URL", &long),
        ("BRIDGE_POLL_INITIAL_SECONDS", "five\n"),
        ("BRIDGE_POLL_FACTOR", "0.5"),
        ("BRIDGE_OVERDUE_SECONDS", "60"),
        ("BRIDGE_EVENT_SOURCE", "aws.bridge"),
        ("BRIDGE_LOG", "loud=very"),
    ]))
    .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    fix these environment variables and start again:
    - `POSTPRESS_BASE_URL` cannot be used: the base URL is not a URL (empty host); set it to something like https://api.postpress.ai/v1
    - `POSTPRESS_API_KEY` is missing; set it to the provider's API key, or `POSTPRESS_API_KEY_SECRET_ID` to its name or ARN in Secrets Manager
    - `BRIDGE_POLL_INITIAL_SECONDS` is "five\n"; allowed: seconds from 0.1 to 900
    - `BRIDGE_POLL_FACTOR` is "0.5"; allowed: a number from 1 to 100
    - `BRIDGE_OVERDUE_SECONDS` is "60"; allowed: seconds from 901 to 315360000
    - `BRIDGE_EVENT_SOURCE` is "aws.bridge"; allowed: any name that does not begin with `aws.`, which AWS reserves
    - `BRIDGE_QUEUE_URL` is "https://sqs.example/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"; allowed: the URL of a standard queue, since a FIFO queue cannot delay a single message
    - `BRIDGE_TABLE` is missing; set it to the name of the DynamoDB table of runs
    - `BRIDGE_LOG` is "loud=very"; allowed: a filter like `info` or `warn,postpress_bridge=debug` (error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5)
    "#);
}

#[test]
fn namespaces_that_cloudwatch_drops_are_refused() {
    let long = "n".repeat(256);
    for namespace in ["AWS/Lambda", "a:b", "ümlaut", "a\nb", &long] {
        assert!(
            only_fault(&[("BRIDGE_METRICS_NAMESPACE", namespace)]).contains("BRIDGE_METRICS_NAMESPACE"),
            "{namespace}"
        );
    }
    let settings = worker(&[("BRIDGE_METRICS_NAMESPACE", "PostpressBridge/my-stack")]).unwrap();
    assert_eq!(settings.metrics_namespace, "PostpressBridge/my-stack");
}
