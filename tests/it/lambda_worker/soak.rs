//! Faults on the real process: SIGKILL at random moments, again and again, while hundreds of chats are synced.
//!
//! What the protocol promises is then read off the events, the dead letters, the provider's log and a record of each
//! delivery. Beside it, the same traffic and the same kills befall a worker that keeps no table, for comparison.
//!
//! ```text
//! traffic.rs           who asks for what, and when
//! schedule.rs          sweeps, and the time that they wait for
//! play.rs              the processes, and what becomes of their messages
//! reckoning.rs         whether each promise was kept
//! restarts.rs          why a sync was started again
//! stateless_worker.rs  the worker that keeps no table: a process of its own, an example of the package
//! ```
//!
//! A longer soak, or another one:
//!
//! ```sh
//! SOAK_CHATS=1000 SOAK_SEED=7 cargo test --locked --test it soak -- --nocapture
//! ```

use std::env;

use crate::harness::emulator::ONE_CROWD;
use crate::harness::lambda::{stateless_worker, sync_worker};

mod play;
mod reckoning;
mod restarts;
mod schedule;
mod traffic;

use play::{Soak, Until};
use reckoning::{Reckoning, Stateless};
use traffic::Traffic;

/// A setting of the soak itself.
fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}: no number")))
}

#[tokio::test]
async fn a_soak_of_kills_breaks_no_promise_and_a_worker_without_a_table_breaks_them_all() {
    let _alone = ONE_CROWD.lock().await;
    let seed = setting("SOAK_SEED", 1);
    let chats = usize::try_from(setting("SOAK_CHATS", 200)).unwrap();
    let traffic = Traffic::new(chats, seed);
    let soak = Soak { seed, max_receive_count: 5, killed: 0.2 };
    // Both at once, since each waits for most of its time.
    let (soaked, compared) = tokio::join!(
        soak.play(sync_worker(), &traffic, Until::EveryRunIsOver),
        soak.play(stateless_worker(), &traffic, Until::NoTimeIsLeft),
    );
    let reckoning = Reckoning::of(&soaked, &traffic).await;
    let stateless = Stateless::of(&compared, &traffic);
    println!("seed {seed}, {chats} chats\n{soaked}{reckoning}\nwithout a table:\n{compared}{stateless}");

    assert!(reckoning.broken.is_empty(), "{:#?}", reckoning.broken);
    // What was to be withstood was there. Whether a kill hit an answer on its way to the table is chance.
    let figures = &soaked.figures;
    assert!(figures.killed >= chats / 30 && figures.repeated >= figures.killed, "{soaked}{reckoning}");
    assert!(stateless.restarts > 0 && stateless.told_twice > 0, "{compared}{stateless}");
}

#[tokio::test]
async fn what_is_dead_lettered_had_to_come_back_each_time_and_its_run_goes_on_by_a_sweep() {
    let _alone = ONE_CROWD.lock().await;
    let seed = setting("SOAK_SEED", 1);
    let traffic = Traffic::new(30, seed);
    let soak = Soak { seed, max_receive_count: 2, killed: 0.3 };
    let soaked = soak.play(sync_worker(), &traffic, Until::EveryRunIsOver).await;
    let reckoning = Reckoning::of(&soaked, &traffic).await;
    println!("seed {seed}\n{soaked}{reckoning}");

    assert!(reckoning.broken.is_empty(), "{:#?}", reckoning.broken);
    assert!(!soaked.dead_letters.is_empty(), "{soaked}{reckoning}");
}
