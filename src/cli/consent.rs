//! Asks for confirmation on the terminal.
//!
//! A command that was interrupted continues without a question; one that has ended asks before it does the same again.

use std::io::{IsTerminal, Write};

use tokio::sync::oneshot;

use crate::run::Item;

use super::{format, shutdown};

/// The answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    Refused,
    /// There is no terminal to ask on.
    NoTerminal,
}

/// Whether a command may sync chats again: none of their last runs has `ended`, or the user consents.
///
/// # Errors
/// If there is no terminal to ask on.
pub(super) async fn to_sync_again(ended: &[Item]) -> anyhow::Result<bool> {
    let Some(first) = ended.first() else { return Ok(true) };
    let (chat, ending) = (first.subject.label(), format::ending(first).unwrap_or_default());
    let others = match ended.len() - 1 {
        0 => String::new(),
        others => format!(", and {others} more of these chats have ended"),
    };
    to_start_again(&format!("the last sync of {chat} ended in {ending}{others}"), "Sync again from the beginning?")
        .await
}

/// Whether the user consents to do again what has ended, as `found` says.
///
/// # Errors
/// If there is no terminal to ask on.
pub(super) async fn to_start_again(found: &str, question: &str) -> anyhow::Result<bool> {
    match ask(&format!("{found}. {question}"), shutdown::signal()).await {
        Consent::Given => Ok(true),
        Consent::Refused => {
            anstream::eprintln!("nothing was started");
            Ok(false)
        }
        Consent::NoTerminal => {
            anyhow::bail!("{found}; nothing was started. To start again from the beginning, add --again")
        }
    }
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
