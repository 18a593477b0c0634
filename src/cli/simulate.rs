//! `postpress-bridge simulate`: a simulated provider on this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;

use super::shutdown;
use crate::simulator::script::GRAMMAR;
use crate::simulator::{ChatLists, Faults, Server, Simulator, Stats};

/// Maximum number of restarted chats in the summary.
const NAMED_CHATS: usize = 10;

/// Simulate the provider on loopback: every status and every documented error on demand, with faults
#[derive(Debug, Clone, Args)]
#[command(after_help = GRAMMAR)]
pub struct Simulate {
    /// The port to listen on; 0 for any free port
    #[arg(long, default_value_t = 4807)]
    port: u16,

    /// The loopback address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,

    #[command(flatten)]
    faults: Faults,

    #[command(flatten)]
    lists: ChatLists,

    /// Do not print a line for each call
    #[arg(long)]
    quiet: bool,
}

impl Simulate {
    /// Serves until Ctrl-C.
    ///
    /// # Errors
    /// If the rates are invalid, or the server cannot listen on the address.
    pub async fn run(self) -> anyhow::Result<()> {
        let sum = self.faults.sum_of_rates();
        // Decimals that add up to 1 may add up to slightly more in binary.
        anyhow::ensure!(
            sum <= 1.0 + f64::EPSILON,
            "the rates add up to {sum}; the maximum is 1, since a call has at most one fault"
        );
        let is_quiet = self.quiet;
        let simulator = Simulator::with_chats(self.faults, self.lists, move |record| {
            if !is_quiet {
                eprintln!("{record}");
            }
        });
        let server = Server::bind(SocketAddr::new(self.address, self.port), simulator.clone()).await?;
        print_greeting(&server.base_url());
        server.run(shutdown::signal()).await;
        eprintln!("\n{}", summary(&simulator.stats()));
        Ok(())
    }
}

fn print_greeting(base_url: &str) {
    eprintln!("The simulator is listening. In another terminal:\n");
    eprintln!("  export POSTPRESS_BASE_URL={base_url} POSTPRESS_API_KEY=anything\n");
    eprintln!("A chat's id selects its behaviour (`done`, `error-in-5s`, `resource_not_found`, …; see `--help`).");
    let root = base_url.trim_end_matches("/v1");
    eprintln!("Counts: {root}/stats  Calls: {root}/log  Stop: Ctrl-C\n");
}

fn summary(stats: &Stats) -> String {
    let total = stats.total;
    let mut text = format!(
        "chats: {}  calls: {}  syncs started: {}  restarts: {}  terminal answers: {}  most concurrent calls for one chat: {}",
        stats.subjects.len(),
        total.calls,
        total.syncs_started,
        total.restarts,
        total.terminal_answers,
        stats.max_in_flight_each,
    );
    let restarted = stats.subjects.iter().filter(|(_, counts)| counts.restarts > 0);
    for (chat, counts) in restarted.take(NAMED_CHATS) {
        text.push_str(&format!("\n  restarts of {}: {}", chat.label(), counts.restarts));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::simulator::PageForm;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        simulate: Simulate,
    }

    fn parse(arguments: &str) -> Result<Simulate, String> {
        let arguments = std::iter::once("simulate").chain(arguments.split_whitespace());
        Program::try_parse_from(arguments).map(|program| program.simulate).map_err(|error| error.to_string())
    }

    #[test]
    fn default_has_no_faults() {
        assert_eq!(parse("").unwrap().faults, Faults::default());
    }

    #[test]
    fn options_set_the_faults() {
        let simulate =
            parse("--latency 50ms..2s --drop-reply-rate 0.25 --error-rate 0.75 --seed 7 --chats 9 --page-form data");
        let Simulate { faults, lists, .. } = simulate.unwrap();
        assert_eq!(lists, ChatLists { chats: 9, page_form: PageForm::Data });
        let latency = "50ms..2s".parse().unwrap();
        let expected = Faults { seed: 7, latency, drop_reply_rate: 0.25, error_rate: 0.75, ..Faults::default() };
        assert_eq!(faults, expected);
    }

    #[tokio::test]
    async fn invalid_options_are_rejected() {
        for arguments in ["--error-rate 1.5", "--error-rate NaN", "--late-rate -1", "--latency soon", "--address home"]
        {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
        // Not on loopback, so that it fails afterwards.
        let run = async |arguments| parse(arguments).unwrap().run().await.unwrap_err().to_string();
        let more_than_all = run("--address 0.0.0.0 --error-rate 0.6 --late-rate 0.6").await;
        assert!(more_than_all.starts_with("the rates add up to 1.2;"), "{more_than_all}");
        let all = run("--address 0.0.0.0 --drop-request-rate 0.7 --drop-reply-rate 0.2 --error-rate 0.1").await;
        assert!(all.contains("loopback"), "{all}");
    }

    #[tokio::test]
    async fn other_address_than_loopback_is_rejected() {
        let refused = parse("--address 0.0.0.0").unwrap().run().await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the simulator listens on loopback only, and `0.0.0.0:4807` is not; use 127.0.0.1 or ::1"
        );
    }

    #[test]
    fn summary_names_the_restarted_chats() {
        let mut stats = Stats { max_in_flight_each: 1, ..Stats::default() };
        let done = stats.subjects.entry(crate::ids::Subject::chat("done").unwrap()).or_default();
        (done.calls, done.syncs_started, done.restarts, done.terminal_answers) = (5, 2, 1, 1);
        stats.total = *done;
        assert_eq!(
            summary(&stats),
            "chats: 1  calls: 5  syncs started: 2  restarts: 1  terminal answers: 1  most concurrent calls for one chat: 1\n  \
             restarts of done: 1"
        );
    }
}
