//! Faults on the real process: SIGKILL at random moments, repeatedly, while hundreds of chats of two workspaces are synced, at a
//! pace for which messages have to wait.
//!
//! The protocol's promises are then checked against the events, the dead letters, the provider's log and a record of each
//! delivery. For comparison, a worker without a table gets the same traffic and the same kills.
//!
//! ```text
//! traffic.rs           the triggers and their times
//! schedule.rs          sweeps, and the passing of time that they depend on
//! play.rs              the processes, and the deliveries of their messages
//! reckoning.rs         whether each promise was kept
//! restarts.rs          why a sync was restarted
//! stateless_worker.rs  the worker without a table: its own process, an example of the package
//! ```
//!
//! A longer or different soak:
//!
//! ```sh
//! SOAK_CHATS=1000 SOAK_SEED=7 cargo test --locked --test it soak -- --nocapture
//! ```

use std::env;

use postpress_bridge::simulator::Counts;

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

/// A setting of the soak.
fn setting(name: &str, default: u64) -> u64 {
    env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}: not a number")))
}

#[tokio::test]
async fn a_soak_of_kills_breaks_no_promise_and_a_worker_without_a_table_breaks_them_all() {
    let _alone = ONE_CROWD.lock().await;
    let seed = setting("SOAK_SEED", 1);
    let chats = usize::try_from(setting("SOAK_CHATS", 200)).unwrap();
    let traffic = Traffic::new(chats, seed);
    let soak = Soak { seed, max_receive_count: 5, killed: 0.2 };
    // Both at once, since each mostly waits.
    let (soaked, compared) = tokio::join!(
        soak.play(sync_worker(), &traffic, Until::EveryRunIsOver),
        soak.play(stateless_worker(), &traffic, Until::NoTimeIsLeft),
    );
    let reckoning = Reckoning::of(&soaked, &traffic).await;
    let stateless = Stateless::of(&compared, &traffic);
    println!("seed {seed}, {chats} chats\n{soaked}{reckoning}\nwithout a table:\n{compared}{stateless}");

    assert!(reckoning.broken.is_empty(), "{:#?}", reckoning.broken);
    // Few calls are beyond what the keys allow, though a new process may call at once.
    for Counts { calls, over_limit, .. } in soaked.keys.iter().map(|key| key.simulator.stats().total) {
        assert!(over_limit * 20 <= calls, "{soaked}");
    }
    // The faults did occur. Whether a kill hits an answer on its way to the table is random.
    let figures = &soaked.figures;
    assert!(figures.killed >= chats / 30 && figures.repeated >= figures.killed, "{soaked}{reckoning}");
    assert!(soaked.paced.waited > chats / 2 && soaked.paced.deferred > 0, "{soaked}");
    assert!(stateless.restarts > 0 && stateless.ended_twice > 0, "{compared}{stateless}");
}

#[tokio::test]
async fn dead_letters_are_explained_and_a_sweep_recovers_their_runs() {
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
