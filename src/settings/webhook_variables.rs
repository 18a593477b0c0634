//! The webhook's own variables, which a build without `aws` knows although it does not read them.

pub(super) const AUTH: &str = "BRIDGE_WEBHOOK_AUTH";
pub(super) const SECRET: &str = "BRIDGE_WEBHOOK_SECRET";
pub(super) const STORED_SECRET: &str = "BRIDGE_WEBHOOK_SECRET_SECRET_ID";
pub(super) const TOKEN: &str = "BRIDGE_WEBHOOK_TOKEN";
pub(super) const STORED_TOKEN: &str = "BRIDGE_WEBHOOK_TOKEN_SECRET_ID";

pub(super) const ALL: [&str; 5] = [AUTH, SECRET, STORED_SECRET, TOKEN, STORED_TOKEN];
