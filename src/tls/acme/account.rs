//! docxy's account at an authority: made once, kept, found again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{Account, ExternalAccountKey, NewAccount};

use super::client::Client;
use super::kept::{Kept, KeptAccount};
use super::trouble::{Step, Trouble};
use super::{Binding, Config};

/// The account of this configuration.
///
/// # Errors
/// The authority can't be reached or refuses, or the account can't be kept.
pub async fn open(config: &Config, kept: &Kept, client: &Client) -> Result<Account, Trouble> {
    match known(config, kept, client).await? {
        Some(account) => Ok(account),
        None => register(config, kept, client).await,
    }
}

/// The one that was made before, with today's address.
///
/// # Errors
/// The authority can't be reached, or what is kept can't be read.
pub async fn known(config: &Config, kept: &Kept, client: &Client) -> Result<Option<Account>, Trouble> {
    let (directory, id) = (config.directory.to_string(), config.binding_id());
    let found = kept
        .elsewhere(move |kept| kept.account(&directory, id.as_deref()))
        .await?;
    let Some(mut known) = found else {
        return Ok(None);
    };
    let Ok(credentials) = serde_json::from_value(known.credentials.clone()) else {
        return Ok(None);
    };
    let trouble = |step, error| Trouble::of(config.host(), step, error, client.turned());
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let account = builder.from_credentials(credentials).await;
    let account = account.map_err(|error| trouble(Step::Directory, error))?;
    if known.email != config.email {
        let contact = contact(config);
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let told = account.update_contacts(&contact).await;
        told.map_err(|error| trouble(Step::Account, error))?;
        known.email.clone_from(&config.email);
        keep(config, kept, known).await?;
    }
    Ok(Some(account))
}

async fn keep(config: &Config, kept: &Kept, known: KeptAccount) -> Result<(), Trouble> {
    let id = config.binding_id();
    Ok(kept
        .elsewhere(move |kept| kept.keep_account(&known, id.as_deref()))
        .await?)
}

async fn register(config: &Config, kept: &Kept, client: &Client) -> Result<Account, Trouble> {
    let directory = config.directory.as_str();
    let contact = contact(config);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let binding = config.binding.as_ref().map(Binding::key);
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let made = builder
        .create(&wanted, directory.to_owned(), binding.as_ref())
        .await;
    let (account, credentials) = made.map_err(|error| {
        // Nothing was asked for before the directory was there.
        let step = match &error {
            instant_acme::Error::Api(_) => Step::Account,
            _ => Step::Directory,
        };
        Trouble::of(config.host(), step, error, client.turned())
    })?;
    let known = KeptAccount {
        directory: directory.to_owned(),
        email: config.email.clone(),
        credentials: serde_json::to_value(&credentials).unwrap_or_default(),
    };
    keep(config, kept, known).await?;
    tracing::info!(
        "registered an account at {}; with that its terms of service are agreed to",
        config.host()
    );
    Ok(account)
}

fn contact(config: &Config) -> Option<String> {
    config.email.as_ref().map(|email| format!("mailto:{email}"))
}

impl Binding {
    /// What the authority handed out, in base64url with or without padding.
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).ok()
    }

    fn key(&self) -> ExternalAccountKey {
        ExternalAccountKey::new(self.id.clone(), self.key.expose())
    }
}
