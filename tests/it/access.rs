//! Who may pull what through docxy, by what its operator wrote under `[access]`.

mod people;
mod rules;
