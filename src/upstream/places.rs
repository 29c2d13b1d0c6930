//! In which order the places of a registry are asked for a digest.

use std::time::Duration;

use super::Upstream;
use super::health::Health;
use super::mirror::Mirror;
use super::public::Sources;
use super::site::{Role, Site};
use super::standing::Turn;

/// What one place may take to answer while another may still be asked: a client that waits for the head of a blob gives up
/// after half a minute, and most answer within one second.
pub const HAND_OVER: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The registry itself. Its 401, 403 and 404 are final.
    Authority,
    Mirror(&'a Mirror),
}

impl Upstream {
    /// Everyone who may be asked, the best first; never empty. Those that are suspect, or want fewer requests, come last; a
    /// mirror that sent wrong bytes of late does not come at all.
    pub fn places(&self, sources: &Sources) -> Vec<Place<'_>> {
        let mut places: Vec<(Turn, Place<'_>)> = self
            .preferred(sources)
            .into_iter()
            .map(|place| (self.site_of(place).turn(), place))
            .filter(|(turn, _)| *turn != Turn::Never)
            .collect();
        places.sort_by_key(|(turn, _)| *turn);
        places.into_iter().map(|(_, place)| place).collect()
    }

    /// The same as the operator wants it, whatever their health.
    pub(super) fn preferred(&self, sources: &Sources) -> Vec<Place<'_>> {
        let mirrors: Vec<Place<'_>> = match sources {
            Sources::Anyone(public) if public.name().registry == *self.name() => {
                self.mirrors.iter().map(Place::Mirror).collect()
            }
            Sources::Anyone(_) | Sources::Authority => Vec::new(),
        };
        let authority = [Place::Authority];
        if self.mirrors_first {
            mirrors.into_iter().chain(authority).collect()
        } else {
            authority.into_iter().chain(mirrors).collect()
        }
    }

    pub(super) fn site_of<'a>(&'a self, place: Place<'a>) -> &'a Site {
        match place {
            Place::Authority => &self.authority,
            Place::Mirror(mirror) => mirror.site(),
        }
    }
}

impl Site {
    /// When its turn is among several.
    pub(super) fn turn(&self) -> Turn {
        let standing = match self.role() {
            Role::Authority => Turn::Usual,
            Role::Mirror => self.standing.turn(),
        };
        match self.health() {
            Health::Well => standing,
            Health::Suspect => standing.max(Turn::Late),
        }
    }
}
