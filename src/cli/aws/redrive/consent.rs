//! Whether a person agrees: asked on a terminal, or given beforehand.

use std::io::{IsTerminal, Write};

use tokio::sync::oneshot;

/// What became of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// Do it.
    Given,
    /// Don't.
    Refused,
    /// There is no terminal to ask on.
    NobodyToAsk,
}

/// Asks on the terminal; to be asked to `stop` is a no.
pub(super) async fn ask(question: &str, stop: impl Future<Output = ()>) -> Consent {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Consent::NobodyToAsk;
    }
    anstream::eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let (said, hears) = oneshot::channel();
    // A thread of its own, which nobody waits for: after Ctrl-C it would read on until Enter.
    std::thread::spawn(move || {
        let mut line = String::new();
        // What cannot be read is empty, which is no yes.
        let _ = std::io::stdin().read_line(&mut line);
        let _ = said.send(line);
    });
    tokio::select! {
        biased;
        () = stop => Consent::Refused,
        line = hears => answer(&line.unwrap_or_default()),
    }
}

/// Only a plain yes is one.
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
    fn only_a_plain_yes_is_consent() {
        for yes in ["y\n", "Y", " yes \r\n", "YES"] {
            assert_eq!(answer(yes), Consent::Given, "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yep", "yy", "y n"] {
            assert_eq!(answer(no), Consent::Refused, "{no:?}");
        }
    }
}
