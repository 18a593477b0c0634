//! The settings of `send`: the webhook, and the credentials that it accepts.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::webhook_variables::{SECRET, STORED_SECRET, STORED_TOKEN, TOKEN};
use super::{FromEnv, Reader, SecretSource};
use crate::credentials::webhook::{InvalidSecret, SigningSecrets, Tokens};
use crate::postpress::client::is_on_this_machine;
use crate::telemetry::LogFilter;
use crate::webhook::routes::SYNCS;

const URL: &str = "BRIDGE_WEBHOOK_URL";

/// A webhook, and what it accepts.
#[derive(Debug, Clone)]
pub struct WebhookClientSettings {
    /// `BRIDGE_WEBHOOK_URL`: where triggers are posted.
    pub url: Url,
    /// `BRIDGE_WEBHOOK_SECRET`: what requests are signed with.
    pub signing: Option<SecretSource<SigningSecrets>>,
    /// `BRIDGE_WEBHOOK_TOKEN`: the bearer token; during a rotation, the new one.
    pub token: Option<SecretSource<SecretString>>,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

impl FromEnv for WebhookClientSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let url = url(reader);
        let signing = reader.secret(SECRET, STORED_SECRET, SigningSecrets::parse);
        let token = reader.secret(TOKEN, STORED_TOKEN, newest_token);
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { url: url?, signing, token, log_filter })
    }
}

fn url(reader: &mut Reader<'_>) -> Option<Url> {
    let text = reader.required(URL, "the webhook's URL: the stack's output WebhookUrl, or that of `dev`")?;
    let why = match Url::parse(&text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "has a user name or password before an `@`; remove it"
        }
        Ok(url) if url.scheme() == "http" && !is_on_this_machine(&url) => {
            "is http:// to another machine, which would send the token in the clear; use https://"
        }
        Ok(mut url) if matches!(url.scheme(), "https" | "http") => {
            let base = url.path().trim_end_matches('/');
            let path = format!("{}{SYNCS}", base.strip_suffix(SYNCS).unwrap_or(base));
            url.set_path(&path);
            return Some(url);
        }
        // Not shown: it may be the token, set by mistake.
        _ => "is not a URL that begins with https://",
    };
    reader.unusable(URL, why);
    None
}

fn newest_token(text: &SecretString) -> Result<SecretString, InvalidSecret> {
    Tokens::parse(text)?;
    let newest = text.expose_secret().split(' ').next_back().unwrap_or_default();
    Ok(SecretString::from(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read(variables: &[(&str, &str)]) -> Result<WebhookClientSettings, String> {
        let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        WebhookClientSettings::read(&env).map_err(|error| error.to_string())
    }

    #[test]
    fn url_is_the_webhooks_with_or_without_its_path() {
        for (text, url) in [
            ("https://abc.lambda-url.eu-west-1.on.aws/", "https://abc.lambda-url.eu-west-1.on.aws/v1/syncs"),
            ("http://127.0.0.1:4817/v1/syncs", "http://127.0.0.1:4817/v1/syncs"),
            ("http://localhost:4817", "http://localhost:4817/v1/syncs"),
            ("https://example.com/stage", "https://example.com/stage/v1/syncs"),
        ] {
            assert_eq!(read(&[(URL, text)]).unwrap().url.as_str(), url);
        }
        for (text, reason) in [
            ("http://example.com", "in the clear"),
            ("https://user@example.com", "before an `@`"),
            ("a-secret-pasted-here", "not a URL"),
            ("ftp://example.com", "not a URL that begins with https://"),
        ] {
            let refused = read(&[(URL, text)]).unwrap_err();
            assert!(refused.contains(reason) && !refused.contains("pasted"), "{refused}");
        }
    }

    #[test]
    fn newest_credential_is_sent() {
        let url = (URL, "http://127.0.0.1:4817");
        let rotated = read(&[url, (TOKEN, "the-older-token-1 the-newer-token-2"), (SECRET, SIGNING)]).unwrap();
        let Some(SecretSource::Plain(token)) = rotated.token else { panic!("{:?}", rotated.token) };
        assert_eq!(token.expose_secret(), "the-newer-token-2");
        assert!(matches!(rotated.signing, Some(SecretSource::Plain(_))));
        let stored = read(&[url, (STORED_TOKEN, "bridge/token")]).unwrap();
        assert!(matches!(stored.token, Some(SecretSource::Stored(_))));
    }
}
