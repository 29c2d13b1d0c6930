//! When the authority wants the certificate to be renewed.

use std::time::Duration;

use super::super::account;
use super::super::issued::Issued;
use super::super::schedule::{self, Window};
use super::super::trouble::{Step, Trouble, one_line};
use super::{Current, Worker};
use crate::tls::authority::Seconds;

impl Worker {
    /// Where the authority has an opinion when to renew, it is asked now and then (RFC 9773, 4.3).
    pub(super) async fn ask_for_window(&mut self, now: Seconds) {
        let is_due =
            |current: &&Current| current.ask_again <= now || !schedule::is_believable(current.ask_again, now);
        let Some(current) = self.current.as_ref().filter(is_due) else {
            return;
        };
        let asked = self.window(&current.issued).await;
        let Some(current) = &mut self.current else { return };
        match asked {
            Ok(Some((window, said))) => {
                current.ask_again = schedule::ask_again(now, said);
                if current.window.replace(window) != Some(window) {
                    tracing::info!(
                        "{} wants the certificate to be renewed between {} and {}; docxy does on {}",
                        self.config.host(),
                        window.start,
                        window.end,
                        current.due()
                    );
                }
            }
            Ok(None) => current.ask_again = schedule::ask_again_after_failure(now),
            Err(trouble) => {
                current.ask_again = schedule::ask_again_after_failure(now);
                tracing::warn!(
                    "{trouble}. The certificate is renewed on {} all the same",
                    current.due()
                );
            }
        }
    }

    async fn window(&self, issued: &Issued) -> Result<Option<(Window, Duration)>, Trouble> {
        let Some(id) = issued.id() else {
            return Ok(None);
        };
        let Some(account) = account::known(&self.config, &self.kept, &self.client).await? else {
            return Ok(None);
        };
        match account.renewal_info(id).await {
            Ok((info, said)) => {
                if let Some(url) = &info.explanation_url {
                    tracing::info!(
                        "{} explains its wish: {}",
                        self.config.host(),
                        one_line(url.as_ref())
                    );
                }
                let window = Window {
                    start: Seconds(info.suggested_window.start.unix_timestamp()),
                    end: Seconds(info.suggested_window.end.unix_timestamp()),
                };
                Ok(Some((window, said)))
            }
            Err(instant_acme::Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(Trouble::of(
                self.config.host(),
                Step::RenewalInfo,
                error,
                self.client.turned(),
            )),
        }
    }
}
