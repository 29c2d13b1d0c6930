//! What the old one says after it gave up the cache.

use std::collections::HashMap;
use std::io;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::channel::{Hearing, Telling};
use super::words::{Changed, FromNew, FromOld, Link, Name};
use crate::cache::{Certainty, Legacy};

/// Tells the successor what the store says, and whoever waits for it that it was heard.
#[derive(Debug)]
pub struct Voice {
    legacy: mpsc::UnboundedReceiver<Legacy>,
    telling: Telling,
    /// Changes that the successor has not heard of yet.
    waiting: HashMap<u64, oneshot::Sender<()>>,
    number: u64,
}

impl Voice {
    pub fn new(legacy: mpsc::UnboundedReceiver<Legacy>, telling: Telling) -> Self {
        Self {
            legacy,
            telling,
            waiting: HashMap::new(),
            number: 0,
        }
    }

    /// The cache is the successor's.
    pub async fn yours(&mut self) -> io::Result<()> {
        self.telling.say(&FromOld::Yours).await
    }

    /// Before it may begin, the successor knows what our downloads may still take.
    pub async fn go(&mut self) -> io::Result<()> {
        while let Ok(next) = self.legacy.try_recv() {
            self.say(next).await?;
        }
        self.telling.say(&FromOld::Go).await
    }

    /// Until it is `over` and all is said, or the successor is gone.
    pub async fn pass_on(mut self, mut hearing: Hearing, over: CancellationToken) {
        loop {
            tokio::select! {
                next = self.legacy.recv() => {
                    let Some(next) = next else { return };
                    if self.say(next).await.is_err() {
                        return;
                    }
                }
                answer = hearing.next() => match answer {
                    Some(FromNew::Heard(number)) => {
                        if let Some(heard) = self.waiting.remove(&number) {
                            let _ = heard.send(());
                        }
                    }
                    Some(_) => {}
                    None => return,
                },
                () = over.cancelled(), if !self.legacy.is_closed() => self.legacy.close(),
            }
        }
    }

    async fn say(&mut self, legacy: Legacy) -> io::Result<()> {
        self.number += 1;
        let (word, heard) = spoken(legacy, self.number);
        self.telling.say(&word).await?;
        if let Some(heard) = heard {
            self.waiting.insert(self.number, heard);
        }
        Ok(())
    }
}

fn spoken(legacy: Legacy, number: u64) -> (FromOld, Option<oneshot::Sender<()>>) {
    match legacy {
        Legacy::Growing(bytes) => (FromOld::Growing(bytes), None),
        Legacy::Stored { digest, size, links } => {
            let links = links.iter().map(|(name, media_type)| Link {
                name: Name::from(name),
                media_type: media_type.clone(),
            });
            let word = FromOld::Stored {
                digest: digest.to_string(),
                size,
                links: links.collect(),
            };
            (word, None)
        }
        Legacy::Withdrawn { name, keep } => {
            let name = Name::from(&name);
            (FromOld::Withdrawn { name, keep }, None)
        }
        Legacy::Changed {
            name,
            change,
            certainty,
            heard,
        } => {
            let word = FromOld::Changed {
                number,
                name: Name::from(&name),
                change: Changed::from(&change),
                done: certainty == Certainty::Done,
            };
            (word, Some(heard))
        }
    }
}
