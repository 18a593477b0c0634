use proptest::prelude::*;

use super::traffic::{batching, count};
use super::*;

fn minutes(minutes: u64) -> SyncProfile {
    SyncProfile { length: Duration::from_mins(minutes), ..SyncProfile::default() }
}

#[test]
fn a_sync_of_six_minutes_takes_ten_calls() {
    // The first nine delays are 5, 7.5, 11.25, … in whole seconds: 5+8+12+17+26+38+57+86 are 249, and 129 more are enough.
    let sync = count(&SyncProfile::default(), &Deployment::default(), Duration::ZERO).unwrap();
    assert_eq!((sync.calls, sync.messages, sync.polls_sent), (10, 10, 9));
    assert_eq!(sync.last_delay_seconds, 129.0);
    // Ten calls of 0.2 s.
    assert_eq!(sync.seconds, 249.0 + 129.0 + 2.0);
}

#[test]
fn a_sync_writes_once_for_each_call_and_twice_for_its_end() {
    let sync = count(&SyncProfile::default(), &Deployment::default(), Duration::ZERO).unwrap();
    assert!((400..1024).contains(&sync.item_bytes), "{}", sync.item_bytes);
    assert_eq!(sync.table_write_units, 10 + 2);
    // In the index: put at the start; deleted and put elsewhere at the end; deleted once published.
    assert_eq!((sync.active_index_units, sync.ended_index_units), (2, 2));
    assert_eq!((sync.read_units, sync.sweep_looks), (1, 0));
}

#[test]
fn joins_cost_a_read_and_a_write_each() {
    let alone = count(&SyncProfile::default(), &Deployment::default(), Duration::ZERO).unwrap();
    let profile = SyncProfile { triggers: 2, ..SyncProfile::default() };
    let joined = count(&profile, &Deployment::default(), Duration::ZERO).unwrap();
    assert_eq!((joined.calls, joined.messages), (alone.calls, alone.messages + 1));
    assert_eq!((joined.read_units, joined.table_write_units), (alone.read_units + 1, alone.table_write_units + 1));
}

#[test]
fn items_over_one_kb_double_the_writes() {
    let units = |profile| count(&profile, &Deployment::default(), Duration::ZERO).unwrap().table_write_units;
    assert_eq!(units(SyncProfile::default()), 12);
    assert_eq!(units(SyncProfile { metadata_bytes: 1024, ..SyncProfile::default() }), 24);
    assert_eq!(units(SyncProfile { earlier_syncs: 60, ..SyncProfile::default() }), 24, "60 keys of 12 bytes");
}

#[test]
fn a_long_sync_moves_in_the_index_when_sweeps_look_at_it() {
    let sync = count(&minutes(60), &Deployment::default(), Duration::ZERO).unwrap();
    assert_eq!(sync.active_index_units, 2 + 2 * usize::try_from(sync.sweep_looks).unwrap());
    assert_eq!(sync.table_write_units, usize::try_from(sync.calls + 2 + sync.sweep_looks).unwrap());
}

#[test]
fn a_sync_that_outlasts_every_run_is_refused() {
    let day = Duration::from_hours(24);
    let plan =
        |length| plan(&[1.0], &[length], &SyncProfile { length, ..SyncProfile::default() }, &Deployment::default());
    assert_eq!(plan(day / 2).unwrap().lateness.len(), 1);
    let refusal = plan(day + day).unwrap_err().to_string();
    assert!(refusal.contains("BRIDGE_RUN_DEADLINE_SECONDS"), "{refusal}");
    assert_eq!(lateness(day + day, &SyncProfile::default(), &Deployment::default()).unwrap(), None);
}

#[test]
fn units_are_rounded_up_as_in_the_examples_of_dynamodb() {
    // https://aws.amazon.com/dynamodb/pricing/on-demand/ and
    // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
    assert_eq!([1024, 3 * 1024, 512].map(traffic::write_units), [1, 3, 1]);
    assert_eq!([3500, 8 * 1024, 10 * 1024, 0].map(traffic::read_units), [1, 2, 3, 1]);
}

#[test]
fn batches_have_what_arrives_at_a_poller_during_the_window() {
    let batch = |rate| batching(rate, &Deployment::default()).batch;
    assert_eq!(batch(0.0), 1.0);
    assert_eq!(batch(3.0), 4.0, "3 / 5 × 5 s + 1");
    assert_eq!(batch(100.0), 10.0, "full");
    let without_window = Deployment { batch_window: Duration::ZERO, ..Deployment::default() };
    assert_eq!(batching(3.0, &without_window).batch, 1.0);
    assert_eq!(batching(250.0, &without_window).batch, 5.0, "250 × 0.2 s on ten invocations");
}

#[test]
fn messages_wait_for_their_batch() {
    let quiet = batching(0.1, &Deployment::default());
    assert!((4.5..=5.0).contains(&quiet.wait_seconds), "{quiet:?}");
    assert_eq!(quiet.longest_wait_seconds, 20.0, "whatever the window");
    let busy = batching(3.0, &Deployment::default());
    assert_eq!(busy.wait_seconds, 3.125, "one waits 5 s, three wait 2.5 s");
    assert_eq!(busy.longest_wait_seconds, 5.0);
    let full = batching(90.0, &Deployment::default());
    assert_eq!(full.longest_wait_seconds, 0.5, "nine more at 18 a second");
}

#[test]
fn idle_pollers_receive_three_times_a_minute() {
    assert_eq!(batching(0.0, &Deployment::default()).receives_per_second, 5.0 * 3.0 / 60.0);
    let busy = batching(50.0, &Deployment::default()).receives_per_second;
    assert!((busy - 50.0).abs() < 1e-6, "one for each message: {busy}");
}

#[test]
fn a_million_syncs_fill_batches_of_about_five() {
    let month = month(1e6, &SyncProfile::default(), &Deployment::default()).unwrap();
    // 10 million messages a month are 3.8 a second: 3.8 / 5 × 5 s + 1.
    assert!((4.7..4.9).contains(&month.batching.batch), "{:?}", month.batching);
    let writes = 16.0 * 0.625;
    assert!((month.usd.dynamodb_writes - writes).abs() < 1e-9, "{:?}", month.usd);
}

fn profiles() -> impl Strategy<Value = SyncProfile> {
    (1..1500_u64, 1..4_u32, 0..600_usize, 0..50_u32).prop_map(|(seconds, triggers, metadata_bytes, earlier_syncs)| {
        SyncProfile { length: Duration::from_secs(seconds), triggers, metadata_bytes, earlier_syncs }
    })
}

fn deployments() -> impl Strategy<Value = Deployment> {
    (1..=10_u32, 0..20_u64, 2..100_u32, any::<bool>()).prop_map(|(batch_size, window, max_concurrency, is_traced)| {
        let batch_window = Duration::from_secs(window);
        Deployment { batch_size, batch_window, max_concurrency, is_traced, ..Deployment::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn cost_never_falls_with_more_syncs(
        profile in profiles(), deployment in deployments(), syncs in 0.0..2e7_f64, more in 0.0..2e7_f64,
    ) {
        let [few, many] = [syncs, syncs + more].map(|syncs| month(syncs, &profile, &deployment).unwrap());
        prop_assert!(few.total_usd <= many.total_usd * (1.0 + 1e-9), "{few:?}\n{many:?}");
    }

    #[test]
    fn a_longer_sync_never_takes_fewer_calls(
        profile in profiles(), deployment in deployments(), longer in 0..20_000_u64, wait in 0..20_u64,
    ) {
        let long = SyncProfile { length: profile.length + Duration::from_secs(longer), ..profile.clone() };
        let calls = |profile| count(profile, &deployment, Duration::from_secs(wait)).unwrap().calls;
        prop_assert!(calls(&profile) <= calls(&long));
    }

    #[test]
    fn a_longer_wait_never_takes_more_calls(profile in profiles(), deployment in deployments(), wait in 0..20_u64) {
        let calls = |wait| count(&profile, &deployment, Duration::from_secs(wait)).unwrap().calls;
        prop_assert!(calls(wait + 1) <= calls(wait));
    }

    #[test]
    fn larger_batches_never_cost_more(
        profile in profiles(), deployment in deployments(), syncs in 0.0..2e7_f64, larger in 1..=5_u32,
    ) {
        let sizes = [deployment.batch_size.min(larger * 10), larger * 10];
        let [small, large] = sizes.map(|batch_size| {
            month(syncs, &profile, &Deployment { batch_size, ..deployment.clone() }).unwrap()
        });
        // A number's size in an item depends on its trailing zeros, so other times may cost another unit of the table.
        let besides_the_table = |month: &Month| month.total_usd - month.usd.dynamodb_writes - month.usd.dynamodb_rest;
        let [small_usd, large_usd] = [&small, &large].map(besides_the_table);
        prop_assert!(large_usd <= small_usd * (1.0 + 1e-9), "{small:?}\n{large:?}");
    }

    #[test]
    fn an_ending_is_noticed_within_the_last_delay_and_the_wait(profile in profiles(), deployment in deployments()) {
        let noticed = lateness(profile.length, &profile, &deployment).unwrap().unwrap();
        prop_assert!(noticed.mean_seconds <= noticed.worst_seconds, "{noticed:?}");
        prop_assert!(noticed.worst_seconds <= 330.0 + 20.0, "{noticed:?}");
    }
}
