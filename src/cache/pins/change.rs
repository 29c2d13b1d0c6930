//! What operators change. Each change works out anew what all pins hold, so that many are made at once.

use std::collections::{BTreeMap, HashSet};
use std::io;

use super::held::Plan;
use super::{
    LONGEST_BY, MOST_PINS, NewPin, Pin, PinEntry, PinError, Pinned, Turn, entry, file, now, settle_in,
    state_over, take,
};
use crate::cache::{Store, retired};

impl Store {
    /// Pins it, or gives the pin that there is other platforms. It is refused where too little room would be left for
    /// anything else, as far as that is known: of what is not here yet nobody knows the size. Blocking, as all of these.
    pub fn pin(&self, new: NewPin) -> Result<PinEntry, PinError> {
        let _ticket = self.parts.tenure.enter().ok_or_else(retired)?;
        let turn = self.flights.shared.pins.turn();
        let what = new.what.clone();
        self.pin_in(&turn, &[new])?;
        Ok(self.entry_of(&what))
    }

    /// As if one were pinned after the other; for each in its order.
    pub fn pin_all(&self, new: &[NewPin]) -> Vec<Result<PinEntry, PinError>> {
        let Some(_ticket) = self.parts.tenure.enter() else {
            return new.iter().map(|_| Err(retired().into())).collect();
        };
        let turn = self.flights.shared.pins.turn();
        let mut refused = BTreeMap::new();
        // Where not all of some fit, both halves are tried; what fits together fits one after the other, too.
        let mut untried = vec![(0, new.len())];
        while let Some((from, to)) = untried.pop() {
            let tried = new.get(from..to).unwrap_or_default();
            if let Err(error) = self.pin_in(&turn, tried) {
                if tried.len() <= 1 {
                    refused.insert(from, error);
                } else {
                    let middle = from + tried.len() / 2;
                    untried.extend([(middle, to), (from, middle)]);
                }
            }
        }
        let outcomes = new.iter().zip(0..);
        outcomes
            .map(|(new, place)| {
                refused
                    .remove(&place)
                    .map_or_else(|| Ok(self.entry_of(&new.what)), Err)
            })
            .collect()
    }

    /// Would this image, of which all is known by now, fit among the pins?
    pub fn may_pin(&self, new: &NewPin) -> Result<(), PinError> {
        self.plan_with(std::slice::from_ref(new)).map(drop)
    }

    /// False: it was not pinned.
    pub fn unpin(&self, what: &Pinned) -> io::Result<bool> {
        self.unpin_all(std::slice::from_ref(what))
            .pop()
            .unwrap_or(Ok(false))
    }

    /// The same for each.
    pub fn unpin_all(&self, what: &[Pinned]) -> Vec<io::Result<bool>> {
        let Some(_ticket) = self.parts.tenure.enter() else {
            return what.iter().map(|_| Err(retired())).collect();
        };
        let shared = &self.flights.shared;
        let turn = shared.pins.turn();
        let remove = |what: &Pinned| {
            let text = what.to_string();
            let known = shared.pins.state().pins.contains_key(&text);
            if known {
                file::remove(&self.parts, what)?;
                shared.pins.state().pins.remove(&text);
            }
            Ok(known)
        };
        let outcomes: Vec<io::Result<bool>> = what.iter().map(remove).collect();
        if outcomes.iter().any(|outcome| matches!(outcome, Ok(true))) {
            settle_in(&turn, shared);
        }
        outcomes
    }

    /// All of these, or after an error none; after one of the disk perhaps some.
    fn pin_in(&self, turn: &Turn<'_>, new: &[NewPin]) -> Result<(), PinError> {
        let shared = &self.flights.shared;
        let (pins, plan) = self.plan_with(new)?;
        for pin in pins {
            if let Err(error) = file::write(&self.parts, &pin) {
                settle_in(turn, shared);
                return Err(error.into());
            }
            shared.pins.state().pins.insert(pin.what.to_string(), pin);
        }
        take(turn, shared, plan);
        Ok(())
    }

    /// The pins that these make, and what all hold with them.
    fn plan_with(&self, new: &[NewPin]) -> Result<(Vec<Pin>, Plan), PinError> {
        let shared = &self.flights.shared;
        let mut pins: BTreeMap<String, Pin> = shared.pins.state().pins.clone();
        let texts: HashSet<String> = new.iter().map(|new| new.what.to_string()).collect();
        for new in new {
            let text = new.what.to_string();
            let before = pins.remove(&text);
            pins.insert(text, new.pin(before));
        }
        if pins.len() > MOST_PINS
            && texts
                .iter()
                .any(|text| !shared.pins.state().pins.contains_key(text))
        {
            return Err(PinError::TooMany);
        }
        let made = pins.iter().filter(|(text, _)| texts.contains(*text));
        let made = made.map(|(_, pin)| pin.clone()).collect();
        let plan = Plan::of(&self.parts, pins.into_values().collect());
        let over = |text: &String| state_over(&shared.pins.state(), text);
        match plan.too_much(|other| texts.contains(other) || !over(other)) {
            None => Ok((made, plan)),
            Some(too_much) => {
                let first = new.first().map(|new| new.what.to_string());
                Err(too_much.for_the_pin(first.unwrap_or_default()))
            }
        }
    }

    fn entry_of(&self, what: &Pinned) -> PinEntry {
        let text = what.to_string();
        let state = self.flights.shared.pins.state();
        entry(&state, &text, now()).unwrap_or_else(|| PinEntry::lost(text))
    }
}

impl NewPin {
    /// `before`: what was pinned by this name.
    fn pin(&self, before: Option<Pin>) -> Pin {
        let by = self.by.chars().filter(|c| !c.is_control());
        Pin {
            what: self.what.clone(),
            platforms: self.platforms.clone(),
            by: by.take(LONGEST_BY).collect(),
            at: before.as_ref().map_or_else(now, |before| before.at),
            kept: before.map(|before| before.kept).unwrap_or_default(),
        }
    }
}
