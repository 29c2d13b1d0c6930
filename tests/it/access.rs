//! Who may pull what through docxy, by what its operator wrote under `[access]`.

mod addresses;
mod limits;
mod people;
mod rules;
