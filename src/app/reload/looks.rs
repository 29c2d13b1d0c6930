//! What looking at the configuration's file, now and then, comes to.

use crate::config::load::Contents;

/// What was seen until now; `None`: the file was gone, or could not be read.
#[derive(Debug)]
pub struct Looks {
    taken: Option<Contents>,
    last: Option<Contents>,
    /// What was said of there being nothing to be taken.
    told: Option<Absent>,
}

/// What a look comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Nothing,
    /// Another file, which has lain still since the look before.
    Changed(Contents),
    /// There has been none, or an empty one, for two looks: to be told, once.
    Absent(Absent),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Absent {
    #[error("is empty")]
    Empty,
    #[error("is gone or can't be read")]
    Gone,
}

impl Looks {
    pub fn from(taken: Option<Contents>) -> Self {
        Self {
            taken,
            last: taken,
            told: None,
        }
    }

    /// What is there was read for another reason.
    pub fn took(&mut self, taken: Option<Contents>) {
        self.taken = taken;
    }

    /// What is there now. A file that is being written is empty or half there for a moment: it counts when it is the same
    /// at two looks.
    pub fn see(&mut self, now: Option<Contents>) -> Seen {
        let before = std::mem::replace(&mut self.last, now);
        if now != before {
            return Seen::Nothing;
        }
        let absent = match now {
            Some(contents) if contents != Contents::of(b"") => {
                self.told = None;
                if now == self.taken {
                    return Seen::Nothing;
                }
                self.taken = now;
                return Seen::Changed(contents);
            }
            Some(_) => Absent::Empty,
            None => Absent::Gone,
        };
        match self.told.replace(absent) {
            Some(told) if told == absent => Seen::Nothing,
            _ => Seen::Absent(absent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_lies_still_is_taken_and_its_absence_is_told_once() {
        // An editor empties the file, or moves it away, before it writes it anew: taking that would open docxy to all.
        let of = |text: &[u8]| Some(Contents::of(text));
        let (old, new) = (of(b"old"), Contents::of(b"new"));
        let mut looks = Looks::from(old);
        for (now, seen) in [
            (old, Seen::Nothing),
            (of(b""), Seen::Nothing),
            (of(b"ne"), Seen::Nothing),
            (Some(new), Seen::Nothing),
            (Some(new), Seen::Changed(new)),
            (Some(new), Seen::Nothing),
            (of(b""), Seen::Nothing),
            (of(b""), Seen::Absent(Absent::Empty)),
            (of(b""), Seen::Nothing),
            (None, Seen::Nothing),
            (None, Seen::Absent(Absent::Gone)),
            (None, Seen::Nothing),
            (Some(new), Seen::Nothing),
            (Some(new), Seen::Nothing),
            (None, Seen::Nothing),
            (None, Seen::Absent(Absent::Gone)),
            (old, Seen::Nothing),
        ] {
            assert_eq!(looks.see(now), seen, "{now:?}");
        }
        looks.took(old);
        assert_eq!(looks.see(old), Seen::Nothing, "it was taken");
    }
}
