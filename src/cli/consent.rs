//! Asks for confirmation on the terminal.

use std::io::{IsTerminal, Write};

use tokio::sync::oneshot;

/// The answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    Refused,
    /// There is no terminal to ask on.
    NoTerminal,
}

/// Asks on the terminal. If `stop` completes first, the answer is no.
pub(super) async fn ask(question: &str, stop: impl Future<Output = ()>) -> Consent {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Consent::NoTerminal;
    }
    anstream::eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let (sender, receiver) = oneshot::channel();
    // A detached thread: after Ctrl-C the read would still block until Enter.
    std::thread::spawn(move || {
        let mut line = String::new();
        // If the read fails, the line is empty, which means no.
        let _ = std::io::stdin().read_line(&mut line);
        let _ = sender.send(line);
    });
    tokio::select! {
        biased;
        () = stop => Consent::Refused,
        line = receiver => answer(&line.unwrap_or_default()),
    }
}

fn answer(line: &str) -> Consent {
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Consent::Given,
        _ => Consent::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_explicit_yes_is_consent() {
        for yes in ["y\n", "Y", " yes \r\n", "YES"] {
            assert_eq!(answer(yes), Consent::Given, "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yep", "yy", "y n"] {
            assert_eq!(answer(no), Consent::Refused, "{no:?}");
        }
    }
}
